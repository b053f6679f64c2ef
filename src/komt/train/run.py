"""The training stage: a data folder and a recipe in, an adapter or a model out."""

from __future__ import annotations

import json
import shutil
import sys
import time
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

import psutil
import torch

from komt import __version__
from komt.errors import DataError, UsageError
from komt.files import hash_of, sha256, staged_folder, write_json
from komt.mix import read_examples
from komt.models.load import attach_lora, load_model, load_tokenizer, save_adapter, save_full
from komt.models.resolve import resolve
from komt.pack.encode import TokenSequence, encode
from komt.pack.plan import Step, plan_steps
from komt.pack.probe import Parity, device_of, probe
from komt.recipe import Recipe
from komt.train.checkpoint import INPUTS, checkpoints, load_newest, save_checkpoint
from komt.train.log import TrainLog
from komt.train.loop import Interrupted, Loop, StepResult, make_loop

VERSION = 1
# About a passage with its questions: matrix products are large enough, and attention costs a bin's square.
CPU_FILL = 768


def train(
    recipe: Recipe, data: Path, out: Path, *, resume: bool = False, quiet: bool = False
) -> dict[str, Any]:
    """Train on `data/train.parquet` and leave `out/adapter` or `out/model`, `log.jsonl`, `train.json`.

    Args:
        recipe: the whole recipe.
        data: what `build` made.
        out: the run's `train` folder; checkpoints live in it while it runs.
        resume: go on from the newest valid checkpoint, if there is one.
        quiet: no progress line.

    Returns:
        The summary also written to `train.json`.

    Raises:
        UsageError: an unfinished run stands there and `resume` is not set, or it is another run.
    """
    _check_present(data / "train.parquet")
    place = resolve(recipe.model.name, remote_code=recipe.model.remote_code)
    key = stage_key(recipe, data, place.base_revision)
    if finished(out, key):
        return dict(json.loads((out / "train.json").read_text(encoding="utf-8")))
    _check_unfinished(out, resume)
    tokenizer = load_tokenizer(place)
    sequences = encode(tokenizer, read_examples(data / "train.parquet"))
    _check_sequences(sequences, recipe)
    model = _trainable_model(recipe, place)
    parity = probe(model)
    way = parity.way if recipe.pack.share or parity.way == "single" else "packed"
    pack = recipe.pack.model_copy(update={"share": way == "shared"})
    steps = plan_steps(sequences, pack, recipe.train, recipe.seed, fill_tokens(model))
    loop = make_loop(recipe, sequences, steps, model, way)
    print(_opening(sequences, steps, parity, way), file=sys.stderr)
    start, seconds = _run(loop, out, _state(recipe, key), resume=resume, quiet=quiet)
    summary = _summary(key, sequences, steps, parity, way, start, seconds)
    if loop.accelerator.is_main_process:
        name = "adapter" if recipe.train.method == "lora" else "model"
        with staged_folder(out / name) as staged:
            save = save_adapter if recipe.train.method == "lora" else save_full
            save(loop.accelerator.unwrap_model(loop.model), tokenizer, place, staged)
        write_json(out / "train.json", summary)
    loop.accelerator.wait_for_everyone()
    return summary


def fill_tokens(model: Any) -> int:
    """How far bins are filled: on a CPU attention costs the square of a bin, so little bins are faster."""
    return CPU_FILL if device_of(model).type == "cpu" else 0


def stage_key(recipe: Recipe, data: Path, model_revision: str) -> str:
    """Hash of all that decides the trained weights: recipe, data, model."""
    parts = recipe.model_dump(mode="json", include={"seed", "model", "pack", "train"})
    parts["train"] = {k: v for k, v in parts["train"].items() if k not in {"save_steps", "keep"}}
    return hash_of([VERSION, parts, model_revision, sha256(data / "train.parquet")])


def finished(out: Path, key: str) -> bool:
    """Whether the same training has been completed there before."""
    try:
        done = json.loads((out / "train.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return bool(done.get("key") == key and any((out / name).is_dir() for name in ("adapter", "model")))


def _check_present(path: Path) -> None:
    if not path.is_file():
        raise DataError(f"no training data: {path} is missing", cure="komt build RECIPE makes it")


def _check_unfinished(out: Path, resume: bool) -> None:
    """A finished run of other settings is moved aside; an interrupted one is never thrown away unasked."""
    if (out / "train.json").exists():
        # Never left in place: should the new run be killed, its folder must not answer with the old weights.
        former = out.with_name(f"{out.name}.previous")
        shutil.rmtree(former, ignore_errors=True)
        out.rename(former)
        print(f"settings or data have changed: the former result is kept in {former}", file=sys.stderr)
    elif checkpoints(out / "checkpoints") and not resume:
        raise UsageError(
            f"an unfinished training stands in {out}",
            cure="add --resume to go on with it, choose another --out, or remove that folder",
        )


def _check_sequences(sequences: list[TokenSequence], recipe: Recipe) -> None:
    if not sequences:
        raise DataError("the training data holds no supervised turn", cure="komt build RECIPE --show-rejects")
    longest = max(sequences, key=len)
    if len(longest) > recipe.pack.tokens:
        raise DataError(
            f"an example of {len(longest)} tokens is longer than pack.tokens ({recipe.pack.tokens})",
            where=f"task {longest.task}, example {longest.example}",
            cure="build again with data.over_long shorten or drop, or raise pack.tokens",
        )


def _trainable_model(recipe: Recipe, place: Any) -> Any:
    full = recipe.train.method == "full"
    if full and recipe.model.bits < 16:
        raise UsageError(
            f"a base in {recipe.model.bits} bits cannot be fine-tuned in full",
            cure="model.bits=16 (or 32), or train.method=lora",
        )
    torch.manual_seed(recipe.seed)
    model = load_model(place, 32 if full else recipe.model.bits, trainable=True)
    if full:
        model.requires_grad_(True)
    else:
        model = attach_lora(model, recipe.train.lora, recipe.seed)
    if recipe.train.gradient_checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        model.enable_input_require_grads()
    return model


def _state(recipe: Recipe, key: str) -> dict[str, Any]:
    """What a checkpoint must agree on with the run that resumes it."""
    parts = recipe.model_dump(mode="json", include={"model", "pack", "train"})
    flat = {f"{part}.{name}": value for part, values in parts.items() for name, value in values.items()}
    for name in ("train.save_steps", "train.keep"):
        flat.pop(name)
    return {"seed": recipe.seed, **flat, INPUTS: key, "threads": torch.get_num_threads()}


def _run(loop: Loop, out: Path, state: dict[str, Any], *, resume: bool, quiet: bool) -> tuple[int, float]:
    """Run the steps; returns after how many it started, and the seconds it took from there."""
    folder, start = out / "checkpoints", 0
    train, model = loop.recipe.train, loop.accelerator.unwrap_model(loop.model)
    if resume and (found := load_newest(folder, model, loop.optimizer, state)):
        start = found.step
        for line in found.skipped:
            print(f"skipped checkpoint {line}", file=sys.stderr)
        print(f"going on after step {start} of {len(loop.steps)}", file=sys.stderr)
        rates = [group["lr"] for group in loop.optimizer.param_groups]
        loop.scheduler.load_state_dict(
            {**loop.scheduler.state_dict(), "last_epoch": start, "_last_lr": rates}
        )
    began = time.perf_counter()
    main = loop.accelerator.is_main_process
    with TrainLog(out / "log.jsonl", start, len(loop.steps), quiet=quiet) if main else nullcontext() as log:

        def on_step(result: StepResult, last: bool) -> None:
            if log:
                speed = result.examples / result.seconds
                log.step(result.step, result.loss, result.lr, result.task_loss, speed)
                if last or result.step % train.save_steps == 0:
                    save_checkpoint(folder, result.step, model, loop.optimizer, state, train.keep)

        try:
            loop.run(start, on_step)
        except Interrupted as stop:
            stop.cure = "the same command with --resume goes on (komt run goes on by itself)"
            raise
    return start, time.perf_counter() - began


def _opening(sequences: list[TokenSequence], steps: list[Step], parity: Parity, way: str) -> str:
    flat, packed = (sum(getattr(step, name) for step in steps) for name in ("flat_tokens", "tokens"))
    lines = [str(parity)]
    if parity.way != "shared":
        lines.append("this model's passages are not shared: training is exact, but slower")
    lines.append(
        f"{len(sequences):,} sequences, {len(steps)} steps, {flat:,} tokens, "
        f"{packed:,} after packing ({way}): {flat / packed:.2f} times fewer"
    )
    return "\n".join(lines)


def _summary(
    key: str,
    sequences: list[TokenSequence],
    steps: list[Step],
    parity: Parity,
    way: str,
    start: int,
    seconds: float,
) -> dict[str, Any]:
    since = sum(len(step.sequences) for step in steps[start:])
    return {
        "key": key,
        "version": __version__,
        "sequences": len(sequences),
        "trained": sum(len(step.sequences) for step in steps),
        "resumed_after": start,
        "steps": len(steps),
        "flat_tokens": sum(step.flat_tokens for step in steps),
        "packed_tokens": sum(step.tokens for step in steps),
        "way": way,
        "parity": asdict(parity),
        "seconds": round(seconds, 2),
        "examples_s": round(since / seconds, 3) if since else None,
        "rss_gib": round(psutil.Process().memory_info().rss / 2**30, 3),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
    }
