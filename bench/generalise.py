"""Does training on many tasks help with families of tasks that were never trained on?

    KOMT_DATA=... python bench/generalise.py --cpu  --out DIR [--md FILE] [--json FILE]
    KOMT_DATA=... python bench/generalise.py --full --out DIR [--md FILE] [--json FILE]

A panel is a family of tasks over two or more sources. Models are trained on the mixture without the
panel's family (and without families so near that they would teach it), on equally many examples of 1, 2, 4
or all other families, and score the panel without having seen it. They are compared with the base model,
with the base model after five solved examples, and with a model trained on the same prompts with the answers
shuffled within each task: it can learn what answers look like, but not what is right. Every row is asked
twice, with the instruction before the text and after it. What has been finished in DIR is not done again.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import random
import sys
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from generalise_data import evaluation_examples, shuffled
from generalise_table import show

FORMAT, ALL, BASE, SHOTS = "format-only", "all", "base", "base-5shot"
SHOT_COUNT = 5
_ALIKE = ("paraphrase", "paraphrase_generation", "similarity")


@dataclass(frozen=True)
class Panel:
    """Tasks that are scored together, and the families that are held out for them."""

    name: str
    tasks: tuple[str, ...]
    hold_out: tuple[str, ...]


@dataclass(frozen=True)
class Settings:
    """The size of a run.

    Attributes:
        panels: what is scored; tasks: what is trained on, less what is held out (empty: every public task).
        together: one training with all panels held out at once, instead of one for each panel.
        counts: numbers of families in training, ALL for all others.
        examples: that each training sees; maximum: of a task, as `data.mixing` takes it.
        rows: of each task that are scored, each asked in both orders.
    """

    panels: tuple[Panel, ...]
    tasks: tuple[str, ...] = ()
    together: bool = False
    counts: tuple[int | str, ...] = (1, 2, 4, ALL)
    seeds: tuple[int, ...] = (0,)
    examples: int = 600
    maximum: int = 300
    rows: int = 32
    max_new_tokens: int = 8
    step_tokens: int = 2048
    tokens: int = 2048
    model: str = "gemma-3-270m"


_INFERENCE = Panel("inference", ("klue-nli.label", "kornli.label"), ("inference",))
_PARAPHRASE = Panel("paraphrase", ("question-pair.same", "paws-ko.same", "parakqc-pairs.same"), _ALIKE)
PANELS = (
    _INFERENCE,
    _PARAPHRASE,
    Panel("similarity", ("klue-sts.similar", "korsts.similar"), _ALIKE),
    Panel("sentiment", ("kobest-sentineg.sentiment", "nsmc-raw.sentiment"), ("sentiment",)),
    Panel("intent", ("3i4k.act", "parakqc.act", "sae4k.type"), ("intent",)),
    Panel("hate", ("curse.profanity", "korean-hate-speech.hate"), ("hate",)),
    Panel("entities", ("klue-ner.of_type", "naver-ner.of_type"), ("entities",)),
)
# Short prompts and answers: two cores train on hundreds in minutes. NSMC, long to read, is not among them.
_SHORT = (
    *("kobest-sentineg.sentiment", "parakqc.topic", "kochat-intent.domain", "3i4k.act", "parakqc.act"),
    *("sae4k.type", "curse.profanity", "korean-hate-speech.hate", "korean-hate-speech.gender_bias"),
    *("kobest-boolq.answer", "kobest-copa.choose", "kobest-wic.same", "kobest-hellaswag.choose"),
    *("klue-ner.of_type", "naver-ner.of_type", "sae4k.phrase", "kommongen.sentence", "chatbot-data.reply"),
)
# Trained on, so that the table says how much was learnt of what was trained.
_SEEN = Panel("seen in training", ("kobest-sentineg.sentiment",), ())

CPU = Settings(panels=(_INFERENCE, _PARAPHRASE, _SEEN), tasks=_SHORT, together=True)
FULL = Settings(
    panels=PANELS,
    seeds=(0, 1, 2),
    examples=20_000,
    maximum=3000,
    rows=500,
    max_new_tokens=24,
    step_tokens=8192,
)


@dataclass(frozen=True)
class Condition:
    """One model to score.

    Attributes:
        name: as in the table; group: the panels that one training serves.
        families: trained on; () for the base model.
    """

    name: str
    group: tuple[str, ...]
    seed: int = 0
    families: tuple[str, ...] = ()

    @property
    def folder(self) -> str:
        """Where its results are kept."""
        return "+".join([*self.group, self.name, f"seed{self.seed}"]).replace(" ", "-")


def plan(settings: Settings, families: dict[tuple[str, ...], Sequence[str]]) -> list[Condition]:
    """Every model to score, in an order in which an early end leaves the most telling ones.

    Families of a smaller number are among those of a larger one; which come first is drawn by the seed.

    Args:
        settings: of the run.
        families: what may be trained on, for each group of panels.
    """
    conditions = []
    for group, known in families.items():
        conditions += [Condition(BASE, group), Condition(SHOTS, group)]
        for seed in settings.seeds:
            order = sorted(known)
            random.Random(f"families {seed}").shuffle(order)
            wanted = {str(n): order if n == ALL else order[: int(n)] for n in settings.counts}
            if ALL in wanted:
                wanted[FORMAT] = order
            names = sorted(wanted, key=lambda name: (name != ALL, name != FORMAT, -len(wanted[name])))
            conditions += [Condition(name, group, seed, tuple(wanted[name])) for name in names]
    return conditions


def groups_of(settings: Settings) -> list[tuple[Panel, ...]]:
    """The panels that share their trainings."""
    return [settings.panels] if settings.together else [(panel,) for panel in settings.panels]


def recipe_for(settings: Settings, panels: Sequence[Panel], families: Iterable[str] | None, seed: int) -> Any:
    """The recipe of one training; families None for all that are not held out."""
    from komt.mix.named import tasks_of
    from komt.recipe import parse_recipe
    from komt.tasks import load_task

    parts = {name: {} for name in settings.tasks} or {n: p.model_dump() for n, p in tasks_of("public")}
    if families is not None:
        allowed = set(families)
        parts = {name: part for name, part in parts.items() if load_task(name).family in allowed}
    data = {
        "tasks": parts,
        "hold_out": sorted({family for panel in panels for family in panel.hold_out}),
        "mixing": {"maximum": settings.maximum, "examples": settings.examples},
        "resplit": True,
        "missing": "skip",
        "over_long": "drop",
    }
    values = {
        "name": "generalise",
        "seed": seed,
        "model": {"name": settings.model},
        "data": data,
        "pack": {"tokens": settings.tokens},
        "train": {"step_tokens": settings.step_tokens, "save_steps": 20, "keep": 1},
        "evaluate": {"tasks": [task for panel in panels for task in panel.tasks]},
    }
    return parse_recipe(values, "bench/generalise.py")


def families_of(settings: Settings, panels: Sequence[Panel]) -> list[str]:
    """The families that can be trained on here while these panels are held out."""
    from komt.mix.named import training_tasks

    chosen = training_tasks(recipe_for(settings, panels, None, 0))
    return sorted({task.family for task in chosen.tasks.values()})


def run(condition: Condition, settings: Settings, out: Path) -> dict[str, Any]:
    """Train and score one model, or read what it scored before."""
    from komt.files import hash_of, write_json

    panels = [panel for panel in settings.panels if panel.name in condition.group]
    sizes = {k: v for k, v in asdict(settings).items() if k not in {"counts", "seeds", "panels"}}
    if not condition.families:
        sizes = {k: sizes[k] for k in ("rows", "max_new_tokens", "model")}
    key = hash_of([asdict(condition), sizes, [asdict(panel) for panel in panels]])
    folder = out / f"{condition.folder}-{key[:8]}"
    record = folder / "scored.json"
    if record.is_file():
        return dict(json.loads(record.read_text(encoding="utf-8")))
    began, trained = time.perf_counter(), {}
    if condition.families:
        trained = _train(condition, settings, panels, folder)
    scored = _score(condition, settings, panels, str(folder) if condition.families else settings.model)
    result = {"condition": asdict(condition), "train": trained, "scored": scored}
    result["seconds"] = round(time.perf_counter() - began, 1)
    write_json(record, result)
    return result


def _train(condition: Condition, settings: Settings, panels: Sequence[Panel], folder: Path) -> dict[str, Any]:
    import pyarrow.parquet as pq

    from komt.commands._stages import build_stage, train_stage
    from komt.example import examples_table
    from komt.mix import read_examples

    recipe = recipe_for(settings, panels, condition.families, condition.seed)
    if not (folder / "train" / "checkpoints").is_dir():
        build_stage(recipe, folder)
        if condition.name == FORMAT:
            path = folder / "data" / "train.parquet"
            pq.write_table(examples_table(shuffled(read_examples(path), condition.seed)), path)
    summary = train_stage(recipe, folder, resume=True)
    examples = read_examples(folder / "data" / "train.parquet")
    tasks: dict[str, int] = defaultdict(int)
    for example in examples:
        tasks[example.task] += 1
    kept = ("trained", "steps", "flat_tokens", "packed_tokens", "seconds")
    return {**{name: summary[name] for name in kept}, "tasks": dict(sorted(tasks.items()))}


def _score(
    condition: Condition, settings: Settings, panels: Sequence[Panel], model: str
) -> list[dict[str, Any]]:
    from komt.evaluate import score
    from komt.serve.loading import load_engine
    from komt.tasks import few_shot, load_task

    engine, scored = load_engine(model), []
    for panel in panels:
        for name in panel.tasks:
            task, began = load_task(name), time.perf_counter()
            answered = score(
                engine,
                evaluation_examples(name, settings.rows),
                name=condition.name,
                metrics=task.metrics,
                shots=few_shot(task, SHOT_COUNT, condition.seed) if condition.name == SHOTS else (),
                max_new_tokens=settings.max_new_tokens,
            )
            took = f"{len(answered)} answers, {time.perf_counter() - began:.0f} s"
            print(f"{condition.name}: {name}, {took}", file=sys.stderr, flush=True)
            scored += [_record(panel, one) for one in answered]
    del engine
    gc.collect()
    return scored


def _record(panel: Panel, one: Any) -> dict[str, Any]:
    example = one.example
    return {
        "panel": panel.name,
        "task": example.task,
        "id": example.id,
        "group": example.group,
        "order": example.id.rpartition("#")[2],
        "answer": one.answer,
        "ended": one.ended,
        "scores": {metric: asdict(found) for metric, found in one.scores.items()},
    }


def main() -> None:
    """Run what is not done yet, print the tables and the ratios."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--cpu", action="store_true", help="two families, the embedded model (the default)")
    size.add_argument("--full", action="store_true", help="seven families, more data, three seeds: for a GPU")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: whether it runs, not what it finds")
    parser.add_argument(
        "--out", type=Path, default=Path("runs/generalise"), help="where finished models are kept"
    )
    parser.add_argument("--model")
    for name in ("examples", "rows", "step-tokens"):
        parser.add_argument(f"--{name}", type=int)
    parser.add_argument("--counts", help="numbers of families, as 1,4,all")
    parser.add_argument("--seeds", help="as 0,1,2")
    parser.add_argument("--panels", help="names of panels, as inference,hate")
    parser.add_argument("--separate", action="store_true", help="with --cpu: one training for each panel")
    parser.add_argument("--md", type=Path)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    settings = settings_from(args)
    groups = {tuple(p.name for p in panels): families_of(settings, panels) for panels in groups_of(settings)}
    began, results = time.time(), []
    for condition in plan(settings, groups):
        results.append(run(condition, settings, args.out))
        print(f"{condition.folder}: {results[-1]['seconds']:.0f} s", file=sys.stderr, flush=True)
        show(results, asdict(settings), began, args.md, args.json)


def settings_from(args: argparse.Namespace) -> Settings:
    """The settings that the options ask for."""
    settings = FULL if args.full else CPU
    if args.quick:
        settings = replace(settings, examples=24, rows=2, counts=(1, ALL), seeds=(0,))
    named = {name: getattr(args, name) for name in ("examples", "rows", "step_tokens", "model")}
    changes: dict[str, Any] = {name: value for name, value in named.items() if value is not None}
    if args.counts:
        changes["counts"] = tuple(n if n == ALL else int(n) for n in args.counts.split(","))
    if args.seeds:
        changes["seeds"] = tuple(map(int, args.seeds.split(",")))
    if args.panels:
        known = {panel.name: panel for panel in (*PANELS, _SEEN)}
        changes["panels"] = tuple(known[name] for name in args.panels.split(","))
    if args.separate:
        changes["together"] = False
    return replace(settings, **changes)


if __name__ == "__main__":
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the command line does
    main()
