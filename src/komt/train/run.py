"""The training stage: a data folder and a recipe in, an adapter or a model out."""

from __future__ import annotations

import contextlib
import json
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import torch

from komt.errors import DataError, ModelError, UsageError
from komt.files import remove_stale, staged_folder, write_json
from komt.models.load import attach_lora, load_model, load_tokenizer, save_adapter, save_full
from komt.models.resolve import resolve
from komt.pack.probe import Parity, Way, probe
from komt.recipe import Recipe
from komt.train.alone import alone_in
from komt.train.bad_batch import keeping_bad_batch
from komt.train.checkpoint import (
    State,
    best,
    checkpoints,
    find_newest,
    load_snapshot,
    save_checkpoint,
)
from komt.train.identity import run_settings, stage_key
from komt.train.log import TrainLog
from komt.train.loop import Interrupted, Loop, StepResult, make_loop
from komt.train.numerics import changed, numerics, reuse_threads
from komt.train.pairs import prefer, write_held_out
from komt.train.prepare import prepared
from komt.train.processes import by_main, is_main
from komt.train.samples import Answer
from komt.train.snapshot import is_divided, restore, take_snapshot, trainable
from komt.train.summary import opening, summary_of
from komt.train.trackers import tracked_accelerator
from komt.train.watch import Watch, make_watch

# About a passage with its questions: matrix products are large enough, and activations still near the caches.
CPU_FILL = 768


def train(
    recipe: Recipe,
    data: Path,
    out: Path,
    *,
    resume: bool = False,
    quiet: bool = False,
    answer: Answer | None = None,
) -> dict[str, Any]:
    """Train on `data/train.parquet` and leave `out/adapter` or `out/model`, `log.jsonl`, `train.json`.

    `held_out.jsonl` and `samples.jsonl` stand beside, where the recipe asks for them.

    Args:
        recipe: the whole recipe.
        data: what `build` made.
        out: the run's `train` folder; checkpoints live in it while it runs.
        resume: go on from the newest valid checkpoint, if there is one.
        quiet: no progress line.
        answer: what answers prompts with a model, for `train.generate`.

    Returns:
        The summary also written to `train.json`.

    Raises:
        UsageError: an unfinished run stands there and `resume` is not set, it is another run, or another
            process trains there now.
    """
    with alone_in(out):
        return _train(recipe, data, out, resume, quiet, answer)


def _train(
    recipe: Recipe, data: Path, out: Path, resume: bool, quiet: bool, answer: Answer | None
) -> dict[str, Any]:
    _check_present(data / "train.parquet")
    place = resolve(recipe.model.name, remote_code=recipe.model.remote_code)
    key = stage_key(recipe, data, place.revision)
    if by_main(lambda: finished(out, key) or _make_room(out, resume)):
        return dict(json.loads((out / "train.json").read_text(encoding="utf-8")))
    accelerator = tracked_accelerator(recipe, out)
    tokenizer = load_tokenizer(place)
    rows = prepared(recipe, tokenizer, place, data, check=not checkpoints(out / "checkpoints"))
    model = trainable_model(recipe, place)
    parity = probe(model, max(map(len, rows.sequences), default=0))
    way, fill = used_way(recipe, parity), fill_tokens(accelerator.device)
    steps = rows.plan(recipe, way, fill)
    loop = make_loop(recipe, rows.sequences, steps, model, way, accelerator)
    held = prefer(loop, rows.pairs, out, place.revision, fill) if rows.pairs else None
    watch = make_watch(loop, data, out, tokenizer, fill, answer, held)
    if is_main():
        print(opening(rows.sequences, steps, parity, way, fill or recipe.pack.tokens), file=sys.stderr)
    settings = run_settings(recipe, key, steps)
    with keeping_bad_batch(loop, tokenizer, out):
        start, done, seconds = _run(loop, watch, out, settings, resume, quiet)
    summary = summary_of(key, rows.sequences, steps[:done], parity, way, start, seconds, loop.together)
    summary |= watch.finish(out / "checkpoints")
    _take_best(loop, out, settings, summary)
    if held:
        write_held_out(loop, held, out)
        summary |= {"pairs": len(rows.sequences) // 2, "held_out_pairs": len(held.pairs)}
    _save_result(loop, tokenizer, place, out, summary)
    return summary


def _take_best(loop: Loop, out: Path, settings: dict[str, Any], summary: dict[str, Any]) -> None:
    """With `keep_best`: give the model the weights of the best checkpoint, and name it in the summary."""
    train = loop.recipe.train
    if train.keep_best and not train.stop and (path := by_main(lambda: best(out / "checkpoints", settings))):
        restore(load_snapshot(path), loop.accelerator.unwrap_model(loop.model), loop.optimizer)
        summary["best"] = path.name


def _save_result(loop: Loop, tokenizer: Any, place: Any, out: Path, summary: dict[str, Any]) -> None:
    """The adapter or the model, then `train.json`, which says that it is there."""
    accelerator, train = loop.accelerator, loop.recipe.train
    model = accelerator.unwrap_model(loop.model)
    weights = trainable(model) if is_divided(model) else None  # all processes give their parts
    if accelerator.is_main_process:
        with staged_folder(out / ("adapter" if train.method == "lora" else "model")) as staged:
            save = save_adapter if train.method == "lora" else save_full
            save(model, tokenizer, place, staged, weights)
        write_json(out / "train.json", summary)
    accelerator.wait_for_everyone()


def used_way(recipe: Recipe, parity: Parity) -> Way:
    """How bins are packed: as much as the probe allows and the recipe wants."""
    return parity.way if recipe.pack.share or parity.way == "single" else "packed"


def fill_tokens(device: torch.device) -> int:
    """How far bins are filled: a CPU gains nothing from large ones, and they take more memory."""
    return CPU_FILL if device.type == "cpu" else 0


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


def _make_room(out: Path, resume: bool) -> bool:
    """A finished run of other settings is moved aside; an interrupted one is never thrown away unasked."""
    if out.is_dir():
        remove_stale(out)
        remove_stale(out / "checkpoints")
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
    return False


def trainable_model(recipe: Recipe, place: Any) -> Any:
    """The model as it is trained: with LoRA on it, or with gradients for all weights.

    Raises:
        UsageError: a base in 4 or 8 bits cannot be fine-tuned in full.
    """
    full = recipe.train.method == "full"
    if full and recipe.model.bits < 16:
        raise UsageError(
            f"a base in {recipe.model.bits} bits cannot be fine-tuned in full",
            cure="model.bits=16 (or 32), or train.method=lora",
        )
    if full and place.adapter:
        raise UsageError(
            f"{recipe.model.name} is an adapter, and cannot be fine-tuned in full",
            cure="komt export MODEL --format merged, and train that; or train.method=lora",
        )
    if recipe.train.lora.dora and recipe.model.bits == 8:
        raise UsageError(
            "DoRA cannot be trained on a base in 8 bits: bitsandbytes loses the layers' scales",
            cure="model.bits=4 (or 16, 32), or train.lora.dora=false",
        )
    torch.manual_seed(recipe.seed)
    model = load_model(place, 32 if full else recipe.model.bits, trainable=True)
    if full:
        model.requires_grad_(True)
    elif not place.adapter:  # training goes on with an adapter as it is, whatever train.lora says
        model = attach_lora(model, recipe.train.lora, recipe.seed)
    if recipe.train.gradient_checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        model.enable_input_require_grads()
    return model


def _run(
    loop: Loop, watch: Watch, out: Path, settings: dict[str, Any], resume: bool, quiet: bool
) -> tuple[int, int, float]:
    """Run the steps; returns after how many it started and ended, and the seconds it took between."""
    folder, train = out / "checkpoints", loop.recipe.train
    model = loop.accelerator.unwrap_model(loop.model)
    figures = numerics(loop.recipe, model, loop.way, loop.accelerator)
    start = _resume(loop, watch, folder, settings, figures) if resume else 0
    began, done = time.perf_counter(), start
    with _log_of_main(out, start, len(loop.steps), quiet=quiet) as log:

        def on_step(result: StepResult, last: bool) -> bool:
            nonlocal done
            done = result.step
            if log:
                speed = result.examples / result.seconds
                log.step(result.step, result.loss, result.lr, result.task_loss, speed, result.measures)
            seen = watch.after(result)
            in_turn = result.step % train.save_steps == 0 or result.step == len(loop.steps)
            if not (last or in_turn or seen.save or seen.stop):
                return False
            snapshot = take_snapshot(result.step, model, loop.optimizer, keep=is_main())
            if log:
                log.sync()
                losses = {"train": log.recent_loss(train.save_steps)}
                if seen.loss is not None:
                    losses["evaluation"] = seen.loss
                rates = tuple(loop.scheduler.get_last_lr())
                state = State(settings, figures, rates, losses if in_turn else {}, watch.state())
                keep, spare = train.keep, watch.best_step
                save_checkpoint(folder, snapshot, state, keep=keep, keep_best=train.keep_best, spare=spare)
            loop.accelerator.wait_for_everyone()  # a process that left early would have the others ended
            return seen.stop

        try:
            watch.begin(start, log.say if log else None)
            if not watch.over:
                loop.run(start, on_step)
        except Interrupted as stop:
            stop.cure = "the same command with --resume goes on (komt run goes on by itself)"
            raise
        finally:
            watch.close()
    return start, done, time.perf_counter() - began


def _log_of_main(
    out: Path, start: int, total: int, *, quiet: bool
) -> contextlib.AbstractContextManager[TrainLog | None]:
    """The log in the first process, None in the others; where it cannot be opened, all of them say so."""
    logs: list[TrainLog] = []
    by_main(lambda: logs.append(TrainLog(out / "log.jsonl", start, total, quiet=quiet)))
    return logs[0] if logs else contextlib.nullcontext()


def _resume(loop: Loop, watch: Watch, folder: Path, settings: dict[str, Any], figures: dict[str, Any]) -> int:
    """Put the newest valid checkpoint in place, if there is one; returns its step, and says what it found."""
    model = loop.accelerator.unwrap_model(loop.model)
    found = by_main(lambda: find_newest(folder, settings, model))
    if not found:
        return 0
    restore(load_snapshot(found.path), model, loop.optimizer)
    loop.start_schedule(found.step)
    watch.restore(found.state.watch)
    if found.state.rates != tuple(loop.scheduler.get_last_lr()):
        raise ModelError(
            f"the learning rate after step {found.step} was {found.state.rates}, and is "
            f"{tuple(loop.scheduler.get_last_lr())} by this version's schedule",
            where=str(found.path),
            cure="go on with the version of komt that it was started with, or train from the start",
        )
    reuse_threads(found.state.numerics, figures)
    if is_main():
        for line in found.skipped:
            print(f"skipped checkpoint {line}", file=sys.stderr)
        if other := changed(found.state.numerics, figures):
            print(f"the same training but for rounding: {'; '.join(other)}", file=sys.stderr)
        print(f"going on after step {found.step} of {len(loop.steps)}", file=sys.stderr)
    return found.step
