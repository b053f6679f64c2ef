"""Training on KorQuAD, the same examples in one run: padded, target rows only, TRL, TRL packing, komt.

    KOMT_DATA=... python bench/train_korquad.py [--passages 6] [--runs 3] [--json FILE] [--quick]

Every way makes one optimiser step over all examples (forward, backward, AdamW) in a process of its own, with
the same base model (bf16), the same LoRA (r 8, alpha 32, all linear layers, dropout 0) and the same prompts;
ways alternate, figures are medians. The loss before the first update is compared in fp32 on fewer passages.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

WAYS = ("padded", "head", "trl", "trl-packing", "komt")
TITLES = {
    "padded": "padded batches, full logits",
    "head": "padded batches, target rows only",
    "trl": "TRL SFTTrainer",
    "trl-packing": "TRL SFTTrainer, packing",
    "komt": "komt",
}
LIMIT, BATCH, LEARNING_RATE = 2048, 2, 5e-4


def load_examples(passages: int) -> list[Any]:
    """Passage-first examples of the first KorQuAD passages with at least five questions."""
    from komt.sources import load_source, read_rows
    from komt.sources.readers import Rejected
    from komt.tasks import load_task, render

    task = load_task("korquad.qa")
    template = next(t for t in task.templates if t.kind == "passage_first")
    groups: dict[str, list[Any]] = {}
    for row in read_rows(load_source("korquad"), "dev"):
        if not isinstance(row, Rejected):
            example = render(task, row, 0, template=template)
            groups.setdefault(example.group, []).append(example)
    chosen = [group for group in groups.values() if len(group) >= 5][:passages]
    return [example for group in chosen for example in group]


def worker(way: str, dtype: str, passages: int) -> dict[str, Any]:
    """One way, measured in this process."""
    from komt.models.load import attach_lora, load_model, load_tokenizer
    from komt.models.resolve import resolve
    from komt.pack.encode import encode
    from komt.recipe import LoraPart

    examples = load_examples(passages)
    place = resolve("gemma-3-270m")
    tokenizer = load_tokenizer(place)
    model = load_model(place, 16 if dtype == "bf16" else 32, trainable=True)
    model = attach_lora(model, LoraPart(dropout=0.0), seed=0)
    model.train()
    sequences = encode(tokenizer, examples)
    if way.startswith("trl"):
        result = _trl(model, tokenizer, examples, packing=way == "trl-packing", dtype=dtype)
    elif way == "komt":
        result = _komt(model, sequences, bits=16 if dtype == "bf16" else 32)
    else:
        result = _padded(model, sequences, rows_only=way == "head")
    result["examples_s"] = len(examples) / result["seconds"]
    result["peak_gib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    result["examples"] = len(examples)
    result["flat_tokens"] = sum(map(len, sequences))
    return result


def _optimiser(model: Any) -> Any:
    import torch

    return torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=LEARNING_RATE)


def _padded(model: Any, sequences: list[Any], *, rows_only: bool) -> dict[str, Any]:
    """Right-padded batches in order of length, as a careful plain training loop does it."""
    import numpy as np
    import torch

    optimiser, began = _optimiser(model), time.perf_counter()
    total = float(sum(s.weights[1:].sum() for s in sequences))
    ordered, loss_sum, tokens = sorted(sequences, key=len), 0.0, 0
    for start in range(0, len(ordered), BATCH):
        part = ordered[start : start + BATCH]
        longest = max(map(len, part))
        ids = torch.zeros(len(part), longest, dtype=torch.long)
        mask, labels = torch.zeros_like(ids), torch.full_like(ids, -100)
        for row, sequence in enumerate(part):
            size = len(sequence)
            ids[row, :size] = torch.from_numpy(sequence.ids.astype(np.int64))
            mask[row, :size] = 1
            kept = torch.from_numpy(sequence.weights > 0)
            labels[row, :size][kept] = ids[row, :size][kept]
        targets, keep = labels[:, 1:], {}
        if rows_only:
            columns = torch.nonzero((targets != -100).any(0))[:, 0]
            targets, keep = targets[:, columns], {"logits_to_keep": columns}
        logits = model(input_ids=ids, attention_mask=mask, use_cache=False, **keep).logits
        if not rows_only:
            logits = logits[:, :-1]
        loss = torch.nn.functional.cross_entropy(
            logits.float().flatten(0, 1), targets.flatten(), reduction="sum", ignore_index=-100
        )
        (loss / total).backward()
        loss_sum += float(loss.detach())
        tokens += ids.numel()
    optimiser.step()
    return {
        "seconds": time.perf_counter() - began,
        "loss": loss_sum / total,
        "tokens": tokens,
        "targets": int(total),
        "mask": "answer and end token",
        "cut": 0,
    }


def _komt(model: Any, sequences: list[Any], *, bits: int) -> dict[str, Any]:
    """komt's own plan and loop, one optimiser step over all examples."""
    from komt.pack.plan import plan_steps
    from komt.pack.probe import device_of
    from komt.recipe import Recipe
    from komt.train.loop import make_loop
    from komt.train.run import fill_tokens

    recipe = Recipe.model_validate(
        {
            "name": "bench",
            "data": {},
            "model": {"bits": bits},
            "pack": {"max_share": 1000},
            "train": {"lr": LEARNING_RATE, "warmup": 0.0, "step_examples": len(sequences)},
        }
    )
    began = time.perf_counter()
    steps = plan_steps(sequences, recipe.pack, recipe.train, recipe.seed, fill_tokens(device_of(model)))
    if len(steps) != 1:
        raise SystemExit(f"expected one optimiser step, planned {len(steps)}")
    results: list[Any] = []
    make_loop(recipe, sequences, steps, model, "shared").run(0, lambda result, last: results.append(result))
    return {
        "seconds": time.perf_counter() - began,
        "loss": results[0].loss,
        "tokens": steps[0].tokens,
        "targets": int(steps[0].weight),
        "mask": "answer and end token",
        "cut": 0,
    }


def _trl(model: Any, tokenizer: Any, examples: list[Any], *, packing: bool, dtype: str) -> dict[str, Any]:
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    data = Dataset.from_list(
        [
            {
                "prompt": [message.as_chat() for message in example.prompt],
                "completion": [example.messages[-1].as_chat()],
            }
            for example in examples
        ]
    )
    with tempfile.TemporaryDirectory() as folder:
        config = SFTConfig(
            output_dir=folder,
            per_device_train_batch_size=BATCH if not packing else 1,
            gradient_accumulation_steps=len(examples),
            num_train_epochs=1,
            learning_rate=LEARNING_RATE,
            lr_scheduler_type="constant",
            weight_decay=0.0,
            max_length=LIMIT,
            packing=packing,
            bf16=dtype == "bf16",
            gradient_checkpointing=False,
            use_cpu=True,
            logging_steps=1,
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
            seed=0,
        )
        trainer = SFTTrainer(model=model, args=config, train_dataset=data, processing_class=tokenizer)
        rows = list(trainer.train_dataset)
        began = time.perf_counter()
        trainer.train()
        seconds = time.perf_counter() - began
        losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    if len(losses) != 1:
        raise SystemExit(f"expected one optimiser step, TRL made {len(losses)}")
    masks = [row.get("completion_mask") or row.get("labels") for row in rows]
    return {
        "seconds": seconds,
        "loss": losses[0],
        "tokens": sum(len(row["input_ids"]) for row in rows),
        "targets": sum(sum(1 for flag in mask if flag not in (0, -100)) for mask in masks if mask),
        "mask": "completion only",
        "cut": sum(len(row["input_ids"]) >= LIMIT for row in rows) if not packing else 0,
    }


def measure(way: str, dtype: str, passages: int) -> dict[str, Any]:
    """Run a worker process and read its line."""
    command = [sys.executable, __file__, "--worker", way, "--dtype", dtype, "--passages", str(passages)]
    # The same for all ways: without it each is several times slower as soon as anything else runs.
    environment = {"OMP_WAIT_POLICY": "PASSIVE", **os.environ}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        raise SystemExit(f"{way} failed:\n{done.stderr[-3000:]}")
    return dict(json.loads(done.stdout.strip().splitlines()[-1]))


def main() -> None:
    """Measure, print the table and the ratios."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--passages", type=int, default=6)
    parser.add_argument("--loss-passages", type=int, default=2, help="passages of the fp32 comparison")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--ways", default=",".join(WAYS))
    parser.add_argument("--json", type=Path)
    parser.add_argument("--quick", action="store_true", help="two passages, one of them for fp32")
    parser.add_argument("--worker", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--dtype", choices=("bf16", "fp32"), default="bf16", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        print(json.dumps(worker(args.worker, args.dtype, args.passages)))
        return
    if args.quick:
        args.passages, args.loss_passages = 2, 1
    ways = args.ways.split(",")
    runs: dict[str, list[dict[str, Any]]] = {way: [] for way in ways}
    for turn in range(args.runs):
        for way in ways:
            runs[way].append(measure(way, "bf16", args.passages))
            print(f"run {turn + 1}, {way}: {runs[way][-1]['seconds']:.1f} s", file=sys.stderr, flush=True)
    losses = {way: measure(way, "fp32", args.loss_passages) for way in ways}
    show(ways, runs, losses, args.json)


def show(
    ways: list[str], runs: dict[str, list[dict[str, Any]]], losses: dict[str, Any], target: Path | None
) -> None:
    """The table, then one `ratio NAME VALUE` line per comparison."""
    packages = ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers", "peft", "trl"))
    print(f"{date.today()}, {platform.processor() or platform.machine()}, {cpu()}, {packages}")
    first = runs[ways[0]][0]
    print(
        f"{first['examples']} examples, {first['flat_tokens']} tokens one by one, bf16, one optimiser step\n"
    )
    print("| way | s | examples/s | peak RSS GiB | tokens computed | targets | mask | loss fp32 |")
    print("|---|---|---|---|---|---|---|---|")
    speed, ratios = {}, {}
    for way in ways:
        seconds = statistics.median(r["seconds"] for r in runs[way])
        speed[way] = statistics.median(r["examples_s"] for r in runs[way])
        peak = statistics.median(r["peak_gib"] for r in runs[way])
        one = runs[way][0]
        cut = f", {one['cut']} cut at {LIMIT}" if one["cut"] else ""
        print(
            f"| {TITLES[way]} | {seconds:.1f} | {speed[way]:.2f} | {peak:.1f} | {one['tokens']} "
            f"| {one['targets']} | {one['mask']}{cut} | {losses[way]['loss']:.6f} |"
        )
    print()
    if {"padded", "head"} <= set(ways):
        ratios["head"] = speed["head"] / speed["padded"]
    if {"head", "komt"} <= set(ways):
        ratios["sharing"] = speed["komt"] / speed["head"]
    peers = [way for way in ways if way.startswith("trl")]
    if peers and "komt" in ways:
        ratios["trl"] = speed["komt"] / max(speed[way] for way in peers)
    if "komt" in ways:
        ratios["bound"] = runs["komt"][0]["flat_tokens"] / runs["komt"][0]["tokens"]
        exact = [losses[way]["loss"] for way in ways if way != "trl-packing"]
        ratios["loss_difference"] = (max(exact) - min(exact)) / min(exact)
    for name, value in ratios.items():
        print(f"ratio {name} {value:.3g}" if name == "loss_difference" else f"ratio {name} {value:.2f}")
    if target:
        target.write_text(json.dumps({"ratios": ratios, "runs": runs, "losses": losses}, indent=1) + "\n")


def cpu() -> str:
    """Model name and number of cores of the CPU."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else 'unknown CPU'} x {os.cpu_count()}"


if __name__ == "__main__":
    main()
