"""The stages of a recipe in a run folder: data, train, report. Same inputs are used again."""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from komt.files import stage_folder, staged_folder, write_atomic
from komt.progress import progress, status
from komt.recipe import Bits, Recipe, load_recipe

if TYPE_CHECKING:
    from komt.evaluate.recorded import RecordedEngine
    from komt.evaluate.run import Answered
    from komt.example import Example
    from komt.mix import Manifest
    from komt.pack.fit import BatchFit

_SHOTS = 5


def add_recipe_arguments(parser: argparse.ArgumentParser) -> None:
    """RECIPE, key=value, --out, --json."""
    parser.add_argument("recipe", metavar="RECIPE", help="a shipped recipe's name, or a YAML file")
    parser.add_argument(
        "overrides", nargs="*", metavar="key=value", help="changed settings, as train.lr=1e-4"
    )
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="the run's folder (default: runs/RECIPE-NAME)"
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def load_from(args: argparse.Namespace) -> tuple[Recipe, Path]:
    """The recipe with its overrides, and the run folder."""
    recipe = recipe_with_own(args.recipe, args.overrides)
    check_metrics(recipe)
    return recipe, args.out or Path("runs") / recipe.name


def recipe_with_own(name_or_path: str, overrides: list[str] | None = None) -> Recipe:
    """A recipe with its overrides; the sources and tasks beside it are known from now on."""
    from komt.tasks import add_folder_beside

    recipe = load_recipe(name_or_path, overrides)
    add_folder_beside(recipe.data.beside)
    check_metrics(recipe)
    return recipe


def check_metrics(recipe: Recipe) -> None:
    """Unknown metrics are found now, not after hours of training.

    Raises:
        UsageError: with the nearest known one.
    """
    from komt.evaluate.metrics import METRICS
    from komt.tasks import load_task

    named = [metric for part in recipe.data.files for metric in part.metrics]
    tasks = (*recipe.data.tasks, *recipe.evaluate.tasks)
    named += [metric for task in tasks for metric in load_task(task, recipe).metrics]
    for metric in named:
        METRICS.get(metric)


def say(text: str) -> None:
    """A line for the person who waits; results alone go to standard output."""
    print(text, file=sys.stderr, flush=True)


def fit_for(recipe: Recipe) -> BatchFit:
    """What keeps a build's examples within `pack.tokens`, by the recipe's own tokenizer."""
    from komt.models.resolve import resolve
    from komt.pack.fit import BatchFit

    model = recipe.model
    resolve(model.name, remote_code=model.remote_code)  # what is wrong with it is told before the work
    return BatchFit(model.name, model.remote_code, recipe.pack.tokens, recipe.data.over_long)


def built(
    recipe: Recipe,
    target: Path,
    *,
    engine: str = "local",
    processes: int = 0,
    also: Callable[[Path, Manifest], None] = lambda folder, manifest: None,
) -> Manifest:
    """Build into a content-addressed stage, or find it there, and copy it to `target`.

    Args:
        recipe: what is built.
        target: folder that is replaced as a whole.
        engine: local or ray.
        processes: of the local engine, as `_engine.engine_for` takes them.
        also: writes more into the folder before it appears.
    """
    from komt.mix import read_manifest

    with status("building") as note:
        stage = built_stage(recipe, note, engine=engine, processes=processes)
        with staged_folder(target) as staged:
            shutil.copytree(stage, staged, dirs_exist_ok=True)
            note("writing formats")
            also(staged, read_manifest(staged))
    return read_manifest(target)


def built_stage(
    recipe: Recipe, note: Callable[[str], None], *, engine: str = "local", processes: int = 0
) -> Path:
    """The content-addressed folder of a recipe's data, built where it is not there yet; only to be read."""
    from komt.commands._engine import engine_for
    from komt.mix import build, stage_key

    stage = stage_folder("build", stage_key(recipe))
    if not (stage / "manifest.json").is_file():
        with engine_for(recipe, engine, processes) as workers:
            build(recipe, stage, fit_for(recipe), note, workers)
    return stage


def build_stage(recipe: Recipe, out: Path) -> Manifest:
    """Leave `out/recipe.yaml` and `out/data`."""
    manifest = built(recipe, out / "data")
    write_atomic(out / "recipe.yaml", recipe.as_yaml())
    rejected = sum(task.read - task.examples for task in manifest.tasks.values())
    shortened = sum(task.shortened for task in manifest.tasks.values())
    say(
        f"data: {manifest.examples:,} examples of {len(manifest.tasks)} tasks; {rejected:,} rows left out, "
        f"{shortened:,} shortened (reasons in {out / 'data' / 'manifest.json'})"
    )
    if manifest.note:
        say(f"{', '.join(manifest.resplit)}: {manifest.note}")
    return manifest


def train_stage(recipe: Recipe, out: Path, *, resume: bool) -> dict[str, Any]:
    """Leave `out/train`."""
    from komt.commands._samples import answers_of
    from komt.train.processes import is_main
    from komt.train.run import train

    before = _read(out / "train" / "train.json")
    summary = train(recipe, out / "data", out / "train", resume=resume, answer=answers_of)
    if not is_main():
        return summary
    if before != _read(out / "train" / "train.json") and (out / "report").is_dir():
        shutil.rmtree(out / "report.previous", ignore_errors=True)
        (out / "report").rename(out / "report.previous")  # its scores are of another model
    speed = f" ({summary['examples_s']} examples/s)" if summary["examples_s"] else ""
    after = f" since step {summary['resumed_after']}" if summary["resumed_after"] else ""
    say(
        f"trained on {summary['trained']:,} examples, {summary['steps']} steps; "
        f"{summary['seconds']:.0f} s{after}{speed}"
    )
    if summary.get("best_step"):
        say(f"the weights are those of step {summary['best_step']}, the best on the held-out examples")
    return summary


def _read(path: Path) -> bytes:
    return path.read_bytes() if path.is_file() else b""


def evaluate_stage(recipe: Recipe, out: Path) -> list[dict[str, Any]]:
    """Score base, base with five examples, the tuned model, and held-out pairs; leave `out/report`."""
    from komt.evaluate import scores_of, write_answers, write_scores
    from komt.mix import read_manifest

    manifest = read_manifest(out / "data")
    comparable = {name: task.source not in manifest.resplit for name, task in manifest.tasks.items()}
    most = recipe.evaluate.limit
    held = {name: task.evaluation.examples for name, task in manifest.tasks.items() if task.evaluation}
    limits = {name: most for name, count in held.items() if most and count > most}
    rows: list[dict[str, Any]] = []
    every: dict[str, list[Answered]] = {}
    no_limits: dict[str, int] = {}
    for answers, limited in ((_task_answers(recipe, out), limits), (_pair_answers(recipe, out), no_limits)):
        for name, own in answers.items():
            against = [of for other, of in answers.items() if name == "tuned" and other != name]
            rows += scores_of(own, against=against, comparable=comparable, limits=limited)
            every.setdefault(name, []).extend(own)
    for own in every.values():
        write_answers(out / "report", own)
    write_scores(out / "report" / "scores.json", rows)
    return rows


def _task_answers(recipe: Recipe, out: Path) -> dict[str, list[Answered]]:
    models = [*recipe.evaluate.compare, "tuned"] if recipe.evaluate.tasks else []
    return {
        name: [one for task in recipe.evaluate.tasks for one in _score_task(recipe, out, task, name)]
        for name in models
    }


def _pair_answers(recipe: Recipe, out: Path) -> dict[str, list[Answered]]:
    from komt.evaluate.preferring import trained_pairs
    from komt.mix import read_examples

    if recipe.train.objective == "sft":
        return {}
    examples = read_examples(out / "data" / "evaluate.parquet")
    return trained_pairs(out / "train" / "pairs.json", examples, recipe.train)


def _score_task(recipe: Recipe, out: Path, task: str, name: str) -> list[Answered]:
    from komt.evaluate import choose_examples
    from komt.evaluate.choose import group_of
    from komt.evaluate.run import score
    from komt.mix import read_examples
    from komt.tasks import few_shot, load_task, shown_groups

    settings = recipe.evaluate
    held = read_examples(out / "data" / "evaluate.parquet")
    examples = choose_examples([one for one in held if one.task == task], settings.limit)
    owner = load_task(task, recipe)
    shots: list[Example] = []
    if name == "base-5shot":
        shots = few_shot(owner, _SHOTS, recipe.seed)
        shown = shown_groups(owner, shots, examples[0].split if examples else "")
        examples = [one for one in examples if group_of(one) not in shown][: settings.shot_limit]
    with progress(f"{name}: {task}", len(examples)) as advance:
        return score(
            _engine(
                str(out) if name == "tuned" else recipe.model.name,
                recipe.model.bits,
                recipe.model.remote_code,
            ),
            examples,
            name=name,
            metrics=owner.metrics,
            shots=shots,
            max_new_tokens=settings.max_new_tokens,
            batch_tokens=settings.batch_tokens,
            on_done=lambda place: advance(),
        )


@lru_cache(maxsize=1)  # base and base-5shot share one; it is dropped before the tuned model is loaded
def _engine(model: str, bits: Bits, remote_code: bool) -> RecordedEngine:
    from komt.evaluate.identity import model_key
    from komt.evaluate.record import Record
    from komt.evaluate.recorded import RecordedEngine
    from komt.serve.loading import load_engine

    key = model_key(model, bits, remote_code=remote_code)
    return RecordedEngine(lambda: load_engine(model, bits, remote_code=remote_code), Record(), key)


def report(rows: list[dict[str, Any]], out: Path, *, as_json: bool, seconds: float) -> None:
    """Print the scores, what they took, and what to do next."""
    import json
    import os
    import resource

    from komt.evaluate.table import table

    if as_json:
        print(json.dumps(rows, ensure_ascii=False))
        return
    table(rows)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{seconds / 60:.1f} minutes on {os.cpu_count()} CPU cores, peak memory {peak:.1f} GiB")
    print(f"report: {out / 'report'}\ntry it: komt chat {out} --prompt '고양이는 왜 물을 싫어하나요?'")
