"""The ways of training that `gpu.py` compares, on a model of random weights: seconds, loss, memory."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from gpu_model import now, release

from komt.pack.encode import TokenSequence
from komt.recipe import Recipe

TITLES = {
    "padded": "padded batches, full logits",
    "head": "padded batches, target rows only",
    "trl-packing": "TRL SFTTrainer, packing",
    "unshared": "komt, nothing shared",
    "komt": "komt",
}
BATCH, STEPS, LEARNING_RATE = 2, 3, 1e-4
Result = dict[str, Any]


def examples(
    passages: int, sharing: int, prefix: int, vocabulary: int, question: int, answer: int
) -> list[TokenSequence]:
    """Random tokens: passages, each before `sharing` questions; the answers are supervised."""
    random = np.random.default_rng(0)
    made = []
    for passage in range(passages):
        start = random.integers(4, vocabulary, prefix)
        for number in range(sharing):
            ids = np.concatenate([start, random.integers(4, vocabulary, question + answer)]).astype(np.int32)
            weights = np.zeros(len(ids), np.float32)
            weights[len(ids) - answer :] = 1.0
            made.append(TokenSequence(ids, weights, f"{passage}.{number}", "bench", str(passage)))
    return made


def recipe_for(bits: int, *, checkpointing: bool, tokens: int, examples: int) -> Recipe:
    """The settings that all ways have."""
    return Recipe.model_validate(
        {
            "name": "bench",
            "data": {},
            "model": {"bits": bits},
            "pack": {"tokens": tokens, "max_share": 1000},
            "train": {
                "lr": LEARNING_RATE,
                "warmup": 0.0,
                "step_examples": examples,
                "gradient_checkpointing": checkpointing,
                "lora": {"dropout": 0.0},
            },
        }
    )


def run(
    way: str, model: Any, sequences: list[TokenSequence], bits: int, device: str, checkpointing: bool
) -> Result:
    """One way; the adapter is afterwards as it was before. Too little memory is a result too."""
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    before = {name: p.detach().clone() for name, p in trained.items()}
    tokens = max(4096, max(map(len, sequences)))
    recipe = recipe_for(bits, checkpointing=checkpointing, tokens=tokens, examples=len(sequences))
    try:
        if way in {"komt", "unshared"}:
            return komt(model, sequences, recipe, device, share=way == "komt", steps=STEPS + 1)
        if way == "trl-packing":
            return _trl(model, sequences, device, tokens=tokens, checkpointing=checkpointing)
        return _padded(model, sequences, device, rows_only=way == "head")
    except torch.OutOfMemoryError:
        return {"failed": "out of memory"}
    finally:
        model.zero_grad(set_to_none=True)
        with torch.no_grad():
            for name, parameter in trained.items():
                parameter.copy_(before[name])
        release(device)


def _timed(step: Callable[[], float], device: str) -> tuple[float, float, int | None]:
    """Median seconds of STEPS steps after one to warm up, the first loss, and the most bytes held."""
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    loss, seconds = step(), []
    for _ in range(STEPS):
        began = now(device)
        step()
        seconds.append(now(device) - began)
    return statistics.median(seconds), loss, _peak(device)


def _peak(device: str) -> int | None:
    return torch.cuda.max_memory_allocated() if device == "cuda" else None


def _padded(model: Any, sequences: list[TokenSequence], device: str, *, rows_only: bool) -> Result:
    """Right-padded batches in order of length, as a careful plain training loop does it."""
    optimiser = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=LEARNING_RATE)
    total = float(sum(one.weights[1:].sum() for one in sequences))
    ordered, counts = sorted(sequences, key=len), {"tokens": 0, "rows": 0}
    batches = [_batch(ordered[at : at + BATCH], device) for at in range(0, len(ordered), BATCH)]

    def step() -> float:
        found = 0.0
        counts.update(tokens=0, rows=0)
        for ids, mask, labels in batches:
            targets, keep = labels[:, 1:], {}
            if rows_only:
                columns = torch.nonzero((targets != -100).any(0))[:, 0]
                targets, keep = targets[:, columns], {"logits_to_keep": columns}
            with torch.autocast(device, dtype=torch.bfloat16):
                logits = model(input_ids=ids, attention_mask=mask, use_cache=False, **keep).logits
                logits = logits if rows_only else logits[:, :-1]
                loss = torch.nn.functional.cross_entropy(
                    logits.float().flatten(0, 1), targets.flatten(), reduction="sum", ignore_index=-100
                )
            (loss / total).backward()
            found += loss.item()
            counts["tokens"] += ids.numel()
            counts["rows"] += logits.shape[0] * logits.shape[1]
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        return found / total

    seconds, loss, peak = _timed(step, device)
    return {"seconds": seconds, "loss": loss, "peak_bytes": peak, **counts}


def _batch(part: list[TokenSequence], device: str) -> tuple[Any, Any, Any]:
    longest = max(map(len, part))
    ids = torch.zeros(len(part), longest, dtype=torch.long)
    mask, labels = torch.zeros_like(ids), torch.full_like(ids, -100)
    for row, one in enumerate(part):
        ids[row, : len(one)] = torch.from_numpy(one.ids.astype(np.int64))
        mask[row, : len(one)] = 1
        kept = torch.from_numpy(one.weights > 0)
        labels[row, : len(one)][kept] = ids[row, : len(one)][kept]
    return ids.to(device), mask.to(device), labels.to(device)


def komt(
    model: Any, sequences: list[TokenSequence], recipe: Recipe, device: str, *, share: bool, steps: int
) -> Result:
    """komt's own probe, plan and loop; the same step again and again."""
    from komt.pack.flex import leave_flex
    from komt.pack.plan import plan_steps
    from komt.pack.probe import device_of, probe
    from komt.train.loop import make_loop
    from komt.train.run import fill_tokens, used_way

    pack = recipe.pack.model_copy(update={"share": share})
    recipe = recipe.model_copy(update={"pack": pack})
    try:
        way = used_way(recipe, probe(model))
        plan = plan_steps(sequences, pack, recipe.train, recipe.seed, fill_tokens(device_of(model)))
        if len(plan) != 1:
            raise SystemExit(f"expected one optimiser step, planned {len(plan)}")
        if device == "cuda":
            torch.cuda.reset_peak_memory_stats()
        times, losses = [now(device)], []

        def on_step(result: Any, last: bool) -> None:
            times.append(now(device))
            losses.append(result.loss)

        make_loop(recipe, sequences, plan * steps, model, way).run(0, on_step)
    finally:
        leave_flex(model)
    seconds = [later - earlier for earlier, later in pairwise(times[1:])]
    return {
        "seconds": statistics.median(seconds),
        "loss": losses[0],
        "peak_bytes": _peak(device),
        "tokens": plan[0].tokens if way == "shared" else plan[0].flat_tokens,
        "rows": int(plan[0].weight),
        "packing": way,
    }


def _trl(
    model: Any, sequences: list[TokenSequence], device: str, *, tokens: int, checkpointing: bool
) -> Result:
    """TRL's packing over the same tokens with the best attention there is; an epoch is one optimiser step."""
    from datasets import Dataset
    from transformers import TrainerCallback
    from trl import SFTConfig, SFTTrainer

    from komt.testing import tiny_tokenizer

    times: list[float] = []

    class Clock(TrainerCallback):
        def on_step_end(self, *args: Any, **kwargs: Any) -> None:
            times.append(now(device))

    config, before = model.config.get_text_config(), model.config.get_text_config()._attn_implementation
    config._attn_implementation = _best_attention(device)
    try:
        with tempfile.TemporaryDirectory() as folder:
            settings = SFTConfig(
                output_dir=folder,
                per_device_train_batch_size=1,
                gradient_accumulation_steps=len(
                    sequences
                ),  # of packed rows there are fewer: an epoch is a step
                num_train_epochs=STEPS + 1,
                learning_rate=LEARNING_RATE,
                lr_scheduler_type="constant",
                max_length=tokens,
                packing=True,
                # Of rows of ids TRL does not look at the mask unless it is told to.
                completion_only_loss=True,
                bf16=True,
                gradient_checkpointing=checkpointing,
                use_cpu=device == "cpu",
                logging_steps=1,
                save_strategy="no",
                report_to=[],
                disable_tqdm=True,
                seed=0,
            )
            trainer = SFTTrainer(
                model=model,
                args=settings,
                train_dataset=Dataset.from_list(rows_of(sequences)),
                processing_class=tiny_tokenizer(),
                callbacks=[Clock()],
            )
            check_targets(trainer.train_dataset, sequences)
            if device == "cuda":
                torch.cuda.reset_peak_memory_stats()
            trainer.train()
            losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
            packed = list(trainer.train_dataset)
    finally:
        attention, config._attn_implementation = config._attn_implementation, before
    computed = sum(len(row["input_ids"]) for row in packed)
    return {
        "seconds": statistics.median(later - earlier for earlier, later in pairwise(times)),
        "loss": losses[0],
        "peak_bytes": _peak(device),
        "tokens": computed,
        "rows": computed,
        "packing": attention,
    }


def rows_of(sequences: list[TokenSequence]) -> list[dict[str, list[int]]]:
    """The rows that TRL is given: ids, and which of them are the answer's."""
    return [
        {"input_ids": one.ids.tolist(), "completion_mask": (one.weights > 0).astype(int).tolist()}
        for one in sequences
    ]


def check_targets(packed: Any, sequences: list[TokenSequence]) -> None:
    """Stop where TRL would train on other tokens than komt: such losses and times compare nothing."""
    theirs = sum(label != -100 for row in packed for label in row["labels"])
    ours = sum(int((one.weights > 0).sum()) for one in sequences)
    if theirs != ours:
        raise SystemExit(f"TRL would train on {theirs:,} tokens, komt trains on {ours:,}")


def _best_attention(device: str) -> str:
    """FlashAttention where it is installed; it alone keeps packed examples apart without a mask."""
    from transformers.utils import is_flash_attn_2_available

    if device == "cuda" and is_flash_attn_2_available():
        return "flash_attention_2"
    return "sdpa"
