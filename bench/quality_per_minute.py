"""Held-out loss over wall-clock time: komt against TRL packing, the same examples, model, LoRA and rate.

    KOMT_DATA=... python bench/quality_per_minute.py [--recipe korquad] [--md FILE] [--json FILE] [--quick]

Both train one epoch, with equally many examples an optimiser step, on the device that is there. Every so many
steps the clock stands still while the loss on questions about passages never trained on is measured, by the
same code for both. `time` is how many times as long TRL takes as komt to the lowest loss that both reach.
"""

from __future__ import annotations

import argparse
import gc
import json
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import date
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import Any

from gpu_model import now
from gpu_ways import check_targets, rows_of

WAYS = {"trl": "TRL SFTTrainer, packing", "komt": "komt"}
Curve = list[dict[str, float]]


class Clock:
    """Seconds of training, without those of measuring; the loss at each measurement."""

    def __init__(self, device: str, measure: Callable[[], float]) -> None:
        self.device, self.measure = device, measure
        self.curve: Curve = []
        self.seconds, self.began = 0.0, 0.0

    def start(self, step: int) -> None:
        """Measure, and let the clock run."""
        if self.began:
            self.seconds += now(self.device) - self.began
        self.curve.append({"step": step, "seconds": self.seconds, "loss": self.measure()})
        self.began = now(self.device)


def examples_of(recipe: Any, held_out: int) -> tuple[list[Any], list[Any]]:
    """Examples to train on, and others to measure on."""
    from komt.commands._stages import built_stage
    from komt.evaluate import choose_examples
    from komt.mix import read_examples

    data = built_stage(recipe, lambda note: None)
    evaluated = read_examples(data / "evaluate.parquet")
    return read_examples(data / "train.parquet"), choose_examples(evaluated, held_out)


def fresh(recipe: Any) -> tuple[Any, Any]:
    """The base with LoRA as training begins, and its tokenizer."""
    from komt.models.load import load_tokenizer
    from komt.models.resolve import resolve
    from komt.train.run import trainable_model

    place = resolve(recipe.model.name)
    return trainable_model(recipe, place), load_tokenizer(place)


def loss_of(model: Any, sequences: list[Any]) -> float:
    """Nats per target on held-out sequences, one by one."""
    import torch

    from komt.pack import pack_sequences, target_losses
    from komt.pack.probe import device_of

    training, total, weight = model.training, 0.0, 0.0
    model.eval()
    with torch.no_grad():
        for one in sequences:
            batch = pack_sequences([one]).to(device_of(model))
            total += float((target_losses(model, batch) * batch.weights).sum())
            weight += float(batch.weights.sum())
    model.train(training)
    return total / weight


def komt_curve(recipe: Any, train: list[Any], held: list[Any], every: int) -> Curve:
    """komt's own probe, plan and loop."""
    from komt.pack import encode
    from komt.pack.plan import plan_steps
    from komt.pack.probe import device_of, probe
    from komt.train.loop import make_loop
    from komt.train.run import fill_tokens, used_way

    model, tokenizer = fresh(recipe)
    sequences, held_out = encode(tokenizer, train), encode(tokenizer, held)
    device = device_of(model)
    way = used_way(recipe, probe(model))
    pack = recipe.pack.model_copy(update={"share": way == "shared"})
    steps = plan_steps(sequences, pack, recipe.train, recipe.seed, fill_tokens(device))
    clock = Clock(device.type, lambda: loss_of(model, held_out))
    clock.start(0)

    def on_step(result: Any, last: bool) -> None:
        if last or result.step % every == 0:
            clock.start(result.step)

    make_loop(recipe, sequences, steps, model, way).run(0, on_step)
    return clock.curve


def trl_curve(recipe: Any, train: list[Any], held: list[Any], every: int) -> Curve:
    """TRL's packing of the same tokens, so many packed rows a step that a step holds as many examples."""
    import torch
    from datasets import Dataset
    from transformers import TrainerCallback
    from trl import SFTConfig, SFTTrainer

    from komt.pack import encode
    from komt.pack.probe import device_of

    model, tokenizer = fresh(recipe)
    held_out = encode(tokenizer, held)
    device = device_of(model).type
    sequences = encode(tokenizer, train)
    clock = Clock(device, lambda: loss_of(model, held_out))

    class Watch(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
            if state.global_step % every == 0:
                clock.start(state.global_step)

    tokens = sum(map(len, sequences))
    packed_rows = -(-tokens // recipe.pack.tokens)
    wanted = -(-len(sequences) // recipe.train.step_examples)
    with tempfile.TemporaryDirectory() as folder:
        config = SFTConfig(
            output_dir=folder,
            per_device_train_batch_size=1,
            gradient_accumulation_steps=max(1, round(packed_rows / wanted)),
            num_train_epochs=1,
            learning_rate=recipe.train.lr,
            lr_scheduler_type="cosine",
            warmup_steps=max(1, round(recipe.train.warmup * wanted)),
            weight_decay=0.0,
            max_grad_norm=recipe.train.clip,
            max_length=recipe.pack.tokens,
            packing=True,
            # Of rows of ids TRL does not look at the mask unless it is told to.
            completion_only_loss=True,
            bf16=recipe.model.bits != 32,
            gradient_checkpointing=False,
            use_cpu=device == "cpu",
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
            seed=recipe.seed,
        )
        trainer = SFTTrainer(
            model=model,
            args=config,
            train_dataset=Dataset.from_list(rows_of(sequences)),
            processing_class=tokenizer,
            callbacks=[Watch()],
        )
        check_targets(trainer.train_dataset, sequences)
        clock.start(0)
        trainer.train()
        if clock.curve[-1]["step"] != trainer.state.global_step:
            clock.start(trainer.state.global_step)
    del trainer
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return clock.curve


def seconds_to(curve: Curve, loss: float) -> float | None:
    """Seconds until a curve first falls to a loss, between two measurements on a straight line."""
    for before, after in pairwise(curve):
        if after["loss"] <= loss:
            share = (before["loss"] - loss) / (before["loss"] - after["loss"])
            return before["seconds"] + max(0.0, share) * (after["seconds"] - before["seconds"])
    return None


def ratios_of(curves: dict[str, Curve]) -> dict[str, float]:
    """How much sooner komt is at the lowest loss that both reach; both lowest losses, and all seconds."""
    ratios = {f"{way}_loss": min(point["loss"] for point in curve) for way, curve in curves.items()}
    if {"komt", "trl"} <= curves.keys():
        reached = max(ratios["trl_loss"], ratios["komt_loss"])
        theirs, ours = (seconds_to(curves[way], reached) for way in ("trl", "komt"))
        if theirs and ours:
            ratios["time"] = theirs / ours
        ratios["seconds"] = curves["trl"][-1]["seconds"] / curves["komt"][-1]["seconds"]
    return ratios


def table(curves: dict[str, Curve], args: argparse.Namespace, count: int) -> list[str]:
    """Heading and curves in Markdown."""
    from gpu import device_name

    packages = ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers", "peft", "trl"))
    lines = [
        f"{date.today()}, {device_name(args.device)}, {packages}",
        f"recipe {args.recipe}, {count} examples, {args.step_examples} a step; loss on {args.held_out}",
        "",
        "| way | step | minutes | held-out loss |",
        "|---|---|---|---|",
    ]
    for way, curve in curves.items():
        lines += [f"| {WAYS[way]} | {p['step']} | {p['seconds'] / 60:.2f} | {p['loss']:.4f} |" for p in curve]
    return lines


def main(words: list[str]) -> int:
    """Measure the ways one after another, print table and ratios, write both files."""
    import torch

    from komt.commands._stages import recipe_with_own

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--recipe", default="korquad")
    parser.add_argument("--set", action="append", default=[], metavar="key=value", help="of the recipe")
    parser.add_argument("--ways", default=",".join(WAYS))
    parser.add_argument("--step-examples", type=int, default=24)
    parser.add_argument("--every", type=int, default=5, help="steps between two measurements")
    parser.add_argument("--held-out", type=int, default=100)
    parser.add_argument("--quick", action="store_true", help="24 examples")
    parser.add_argument("--md", type=Path)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args(words)
    args.device = "cuda" if torch.cuda.is_available() else "cpu"
    if args.quick:
        args.step_examples, args.every, args.held_out = 8, 1, 8
    recipe = recipe_with_own(args.recipe, [*args.set, f"train.step_examples={args.step_examples}"])
    train, held = examples_of(recipe, args.held_out)
    train = train[:24] if args.quick else train
    began, curves = time.perf_counter(), {}
    for way in args.ways.split(","):
        curves[way] = (komt_curve if way == "komt" else trl_curve)(recipe, train, held, args.every)
        print(f"{way}: {time.perf_counter() - began:.0f} s in all", file=sys.stderr)
    ratios = ratios_of(curves)
    lines = [*table(curves, args, len(train)), ""]
    lines += [f"ratio {name} {value:.4g}" for name, value in ratios.items()]
    print("\n".join(lines))
    if args.md:
        args.md.write_text("\n".join(lines) + "\n", encoding="utf-8")
    if args.json:
        args.json.write_text(
            json.dumps({"ratios": ratios, "curves": curves}, indent=1) + "\n", encoding="utf-8"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
