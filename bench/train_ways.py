"""The ways of training that `train_korquad.py` and `train_multitask.py` compare, and their tables.

Every way makes one optimiser step over all examples (forward, backward, AdamW) in a process of its own, with
the same base model (bf16), the same LoRA (r 8, alpha 32, all linear layers, dropout 0) and the same prompts.
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
    "komt-unshared": "komt, nothing shared",
    "komt": "komt",
}
LIMIT, BATCH, LEARNING_RATE = 2048, 2, 5e-4
# Sides of the square bf16 product whose speed is called the peak.
_PEAK_SIDE = 2048


def worker(way: str, dtype: str, file: Path) -> dict[str, Any]:
    """One way over the examples of a JSON file, measured in this process."""
    from komt.example import Example
    from komt.models.load import attach_lora, load_model, load_tokenizer
    from komt.models.resolve import resolve
    from komt.pack.encode import encode
    from komt.recipe import LoraPart

    examples = [Example.from_record(record) for record in json.loads(file.read_text(encoding="utf-8"))]
    place = resolve("gemma-3-270m")
    tokenizer = load_tokenizer(place)
    model = load_model(place, 16 if dtype == "bf16" else 32, trainable=True)
    model = attach_lora(model, LoraPart(dropout=0.0), seed=0)
    model.train()
    sequences = encode(tokenizer, examples)
    if way.startswith("trl"):
        result = _trl(model, tokenizer, examples, packing=way == "trl-packing", dtype=dtype)
    elif way.startswith("komt"):
        result = _komt(model, sequences, bits=16 if dtype == "bf16" else 32, share=way == "komt")
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


def _komt(model: Any, sequences: list[Any], *, bits: int, share: bool) -> dict[str, Any]:
    """komt's own plan and loop, one optimiser step over all examples."""
    from torch.utils.flop_counter import FlopCounterMode

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
            "pack": {"max_share": 1000, "share": share},
            "train": {"lr": LEARNING_RATE, "warmup": 0.0, "step_examples": len(sequences)},
        }
    )
    began = time.perf_counter()
    steps = plan_steps(sequences, recipe.pack, recipe.train, recipe.seed, fill_tokens(device_of(model)))
    if len(steps) != 1:
        raise SystemExit(f"expected one optimiser step, planned {len(steps)}")
    results: list[Any] = []
    loop = make_loop(recipe, sequences, steps, model, "shared" if share else "packed")
    loop.run(0, lambda result, last: results.append(result))
    seconds, counted = time.perf_counter() - began, {}
    if bits == 16:
        with FlopCounterMode(display=False) as counter:  # once more, since counting takes time itself
            loop.run(0, lambda result, last: None)
        counted = {"gflop": counter.get_total_flops() / 1e9, "peak_gflop_s": _gemm_peak()}
    return {
        **counted,
        "seconds": seconds,
        "loss": results[0].loss,
        "tokens": steps[0].tokens,
        "targets": int(steps[0].weight),
        "mask": "answer and end token",
        "cut": 0,
    }


def _gemm_peak() -> float:
    """GFLOP/s of a large bf16 matrix product, the best of ten."""
    import torch

    one, other = (torch.randn(_PEAK_SIDE, _PEAK_SIDE).bfloat16() for _ in range(2))
    seconds = []
    for _ in range(10):
        began = time.perf_counter()
        torch.mm(one, other)
        seconds.append(time.perf_counter() - began)
    return float(2 * _PEAK_SIDE**3 / min(seconds) / 1e9)


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


def measure(way: str, dtype: str, file: Path) -> dict[str, Any]:
    """Run a worker process and read its line."""
    command = [sys.executable, __file__, way, dtype, str(file)]
    # The same for all ways: without it each is several times slower as soon as anything else runs.
    environment = {"OMP_WAIT_POLICY": "PASSIVE", **os.environ}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        raise SystemExit(f"{way} failed:\n{done.stderr[-3000:]}")
    return dict(json.loads(done.stdout.strip().splitlines()[-1]))


def options(doc: str | None, ways: tuple[str, ...]) -> argparse.ArgumentParser:
    """The options that both benches have."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--ways", default=",".join(ways))
    parser.add_argument("--json", type=Path)
    parser.add_argument("--md", type=Path, help="also write the table and the ratios there")
    parser.add_argument("--quick", action="store_true", help="fewer examples")
    return parser


def compare(examples: list[Any], few: list[Any], args: argparse.Namespace) -> None:
    """Measure all ways in turn, and the loss of the few in fp32; print table and ratios."""
    ways = args.ways.split(",")
    runs: dict[str, list[dict[str, Any]]] = {way: [] for way in ways}
    with tempfile.TemporaryDirectory() as folder:
        files = Path(folder) / "all.json", Path(folder) / "few.json"
        for file, chosen in zip(files, (examples, few), strict=True):
            file.write_text(json.dumps([example.as_record() for example in chosen]), encoding="utf-8")
        for turn in range(args.runs):
            for way in ways:
                runs[way].append(measure(way, "bf16", files[0]))
                print(f"run {turn + 1}, {way}: {runs[way][-1]['seconds']:.1f} s", file=sys.stderr, flush=True)
        losses = {way: measure(way, "fp32", files[1]) for way in ways}
    lines, ratios = table(ways, runs, losses)
    lines += ["", *(f"ratio {name} {value:.3g}" for name, value in ratios.items())]
    print("\n".join(lines))
    if args.md:
        args.md.write_text("\n".join(lines) + "\n", encoding="utf-8")
    if args.json:
        args.json.write_text(json.dumps({"ratios": ratios, "runs": runs, "losses": losses}, indent=1) + "\n")


def table(
    ways: list[str], runs: dict[str, list[dict[str, Any]]], losses: dict[str, Any]
) -> tuple[list[str], dict[str, float]]:
    """The table in Markdown, and the ratios."""
    packages = ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers", "peft", "trl"))
    first = runs[ways[0]][0]
    lines = [
        f"{date.today()}, {platform.processor() or platform.machine()}, {cpu()}, {packages}",
        f"{first['examples']} examples, {first['flat_tokens']} tokens one by one, bf16, one optimiser step",
        "",
        "| way | s | examples/s | peak RSS GiB | tokens | of peak | targets | mask | loss fp32 |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    speed, shares = {}, {}
    for way in ways:
        seconds = statistics.median(r["seconds"] for r in runs[way])
        speed[way] = statistics.median(r["examples_s"] for r in runs[way])
        peak = statistics.median(r["peak_gib"] for r in runs[way])
        one = runs[way][0]
        cut = f", {one['cut']} cut at {LIMIT}" if one["cut"] else ""
        share = "–"
        if "gflop" in one:
            shares[way] = statistics.median(r["gflop"] / r["seconds"] / r["peak_gflop_s"] for r in runs[way])
            share = f"{shares[way]:.0%}"
        lines.append(
            f"| {TITLES[way]} | {seconds:.1f} | {speed[way]:.2f} | {peak:.1f} | {one['tokens']} | {share} "
            f"| {one['targets']} | {one['mask']}{cut} | {losses[way]['loss']:.6f} |"
        )
    return lines, _ratios(ways, speed, shares, runs, losses)


def _ratios(
    ways: list[str],
    speed: dict[str, float],
    shares: dict[str, float],
    runs: dict[str, list[dict[str, Any]]],
    losses: dict[str, Any],
) -> dict[str, float]:
    ratios = {}
    if {"padded", "head"} <= set(ways):
        ratios["head"] = speed["head"] / speed["padded"]
    if {"head", "komt"} <= set(ways):
        ratios["sharing"] = speed["komt"] / speed["head"]
    peers = [way for way in ways if way.startswith("trl")]
    if peers and "komt" in ways:
        ratios["trl"] = speed["komt"] / max(speed[way] for way in peers)
    if {"komt", "komt-unshared"} <= set(ways):
        ratios["trie"] = speed["komt"] / speed["komt-unshared"]
    if "komt" in ways:
        ratios["bound"] = runs["komt"][0]["flat_tokens"] / runs["komt"][0]["tokens"]
        ratios["gemm_share"] = shares["komt"]
        exact = [losses[way]["loss"] for way in ways if way != "trl-packing"]
        ratios["loss_difference"] = (max(exact) - min(exact)) / min(exact)
    return ratios


def cpu() -> str:
    """Model name and number of cores of the CPU."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else 'unknown CPU'} x {os.cpu_count()}"


if __name__ == "__main__":
    print(json.dumps(worker(sys.argv[1], sys.argv[2], Path(sys.argv[3]))))
