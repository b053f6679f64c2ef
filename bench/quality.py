"""What sharing does to quality: shared against unshared training on equal examples, `pack.max_share` swept.

    KOMT_DATA=... python bench/quality.py --out DIR [--seeds 0,1,2] [--md FILE] [--json FILE] [--quick]

KorQuAD questions (the recipe `korquad`), the same in every way of one seed, one epoch, equally many optimiser
steps. `unshared` computes every question with its passage, in shuffled steps; `shared M` computes
a passage once for at most M questions in a step. Loss is that of questions on articles never trained on, the
same for all. What has been finished in DIR is not done again.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import platform
import statistics
import sys
from collections.abc import Sequence
from dataclasses import asdict
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

from generalise_table import machine

WAYS: dict[str, dict[str, Any]] = {
    "unshared": {"share": False, "max_share": 1},
    "shared 1": {"share": True, "max_share": 1},
    "shared 4": {"share": True, "max_share": 4},
    "shared 12": {"share": True, "max_share": 12},
}
BASE = "base"
Result = dict[str, Any]


def recipe_for(way: str, seed: int, args: argparse.Namespace) -> Any:
    """The recipe `korquad` in one way."""
    from komt.recipe import load_recipe

    settings = [f"seed={seed}", f"data.tasks.korquad.qa.cap={args.cap}", f"model.name={args.model}"]
    settings += [f"train.step_tokens={args.step_tokens}"]
    settings += [f"pack.{name}={str(value).lower()}" for name, value in WAYS.get(way, {}).items()]
    return load_recipe("korquad", settings)


def run(way: str, seed: int, args: argparse.Namespace) -> Result:
    """Train in one way and measure the held-out loss, or read what was measured before."""
    from komt.commands._stages import build_stage, train_stage
    from komt.files import hash_of, write_json

    recipe = recipe_for(way, seed, args)
    key = hash_of([recipe.model_dump(mode="json"), args.held_out])[:8]
    folder = args.out / f"{way.replace(' ', '-')}-seed{seed}-{key}"
    record = folder / "measured.json"
    if record.is_file():
        return dict(json.loads(record.read_text(encoding="utf-8")))
    trained: Result = {}
    if way != BASE:
        build_stage(recipe, folder)
        summary = train_stage(recipe, folder, resume=True)
        trained = {name: summary[name] for name in ("trained", "steps", "flat_tokens", "packed_tokens")}
        trained["seconds"] = summary["seconds"]
    losses = held_out_losses(str(folder) if way != BASE else recipe.model.name, held_out(args))
    result = {"way": way, "seed": seed, **trained, "held_out": losses}
    write_json(record, result)
    return result


def held_out(args: argparse.Namespace) -> list[Any]:
    """The held-out questions, in the phrasings of seed 0 whatever seed is trained with."""
    from komt.commands._stages import build_stage
    from komt.evaluate import choose_examples
    from komt.mix import read_examples

    folder = args.out / f"held-out-{args.cap}"
    if not (folder / "data" / "manifest.json").is_file():
        build_stage(recipe_for(BASE, 0, args), folder)
    return choose_examples(read_examples(folder / "data" / "evaluate.parquet"), args.held_out)


def held_out_losses(model_name: str, examples: Sequence[Any]) -> list[Result]:
    """For each question its passage, the summed loss of its answer, and the number of targets."""
    import torch

    from komt.models.load import load_model, load_tokenizer
    from komt.models.resolve import resolve
    from komt.pack import encode, pack_sequences, target_losses

    place = resolve(model_name)
    model = load_model(place, 16).eval()
    device = next(model.parameters()).device
    groups = {example.id: example.group for example in examples}
    sequences = encode(load_tokenizer(place), examples)
    found: list[Result] = []
    with torch.no_grad():
        for group in dict.fromkeys(groups.values()):
            members = [one for one in sequences if groups[one.example] == group]
            batch = pack_sequences(members).to(device)
            weighted = (target_losses(model, batch) * batch.weights).double().cpu()
            for index, member in enumerate(members):
                own = batch.sequence.cpu() == index
                targets = float(batch.weights.cpu()[own].sum())
                found.append(
                    {
                        "id": member.example,
                        "group": group,
                        "loss": float(weighted[own].sum()),
                        "targets": targets,
                    }
                )
    del model
    gc.collect()
    return found


def _statistic(runs: Sequence[Result]) -> Any:
    """Nats per target over the questions, the seeds' runs taken together."""
    import numpy as np

    losses = np.sum([[one["loss"] for one in run["held_out"]] for run in runs], axis=0)
    targets = np.sum([[one["targets"] for one in run["held_out"]] for run in runs], axis=0)
    return lambda weights: (weights @ losses) / (weights @ targets)


def show(results: Sequence[Result], args: argparse.Namespace) -> None:
    """Print the table and one `ratio NAME VALUE` line per comparison; write both files."""
    ways: dict[str, list[Result]] = {}
    for result in results:
        ways.setdefault(result["way"], []).append(result)
    # What is compared has the same seeds.
    seeds = set.intersection(*({run["seed"] for run in runs} for way, runs in ways.items() if way != BASE))
    ways = {w: runs if w == BASE else [r for r in runs if r["seed"] in seeds] for w, runs in ways.items()}
    lines = _heading(args, sorted(seeds))
    rows, ratios = {}, {}
    for way, runs in ways.items():
        rows[way] = _row(runs, ways.get("unshared") if way not in {BASE, "unshared"} else None)
        lines.append(_line(way, rows[way]))
        if way not in {BASE, "unshared"} and "unshared" in ways:
            name = way.replace(" ", "_")
            ratios[f"{name}_speed"] = rows["unshared"]["seconds"] / rows[way]["seconds"]
            ratios[f"{name}_loss"] = rows[way]["loss"]["value"] / rows["unshared"]["loss"]["value"]
    lines += ["", "```text", *(f"ratio {name} {value:.3f}" for name, value in ratios.items()), "```"]
    text = "\n".join(lines) + "\n"
    print(text)
    if args.md:
        args.md.write_text(text, encoding="utf-8")
    if args.json:
        args.json.write_text(json.dumps({"ratios": ratios, "ways": rows, "runs": results}, indent=1) + "\n")


def _row(runs: Sequence[Result], unshared: Sequence[Result] | None) -> Result:
    from komt.evaluate.intervals import bootstrap, paired_bootstrap

    held = runs[0]["held_out"]
    groups, own = [one["group"] for one in held], _statistic(runs)
    each = [sum(o["loss"] for o in r["held_out"]) / sum(o["targets"] for o in r["held_out"]) for r in runs]
    row: Result = {"loss": asdict(bootstrap(own, len(held), groups=groups)), "seeds": each}
    if unshared:
        row["minus"] = asdict(paired_bootstrap(own, _statistic(unshared), len(held), groups=groups))
    for name in ("trained", "steps", "flat_tokens", "packed_tokens", "seconds"):
        if name in runs[0]:
            row[name] = statistics.median(run[name] for run in runs)
    return row


def _line(way: str, row: Result) -> str:
    loss, each = row["loss"], row["seeds"]
    spread = f"{min(each):.4f} to {max(each):.4f}" if len(each) > 1 else "–"
    minus = "–"
    if "minus" in row:
        minus = f"{row['minus']['value']:+.4f} [{row['minus']['low']:+.4f}, {row['minus']['high']:+.4f}]"
    numbers = ["–"] * 4
    if "seconds" in row:
        numbers = [f"{row['trained']:,.0f}", f"{row['steps']:.0f}", f"{row['packed_tokens']:,.0f}"]
        numbers.append(f"{row['seconds']:.0f}")
    cells = [f"{loss['value']:.4f} [{loss['low']:.4f}, {loss['high']:.4f}]", spread, minus, *numbers]
    return f"| {way} | {' | '.join(cells)} |"


def _heading(args: argparse.Namespace, seeds: Sequence[int]) -> list[str]:
    packages = ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers", "peft"))
    words = sys.argv[1:]
    if "--out" in words:
        at = words.index("--out")
        del words[at : at + 2]
    return [
        "# Quality of shared training at equal examples",
        "",
        f"`KOMT_DATA=… python bench/quality.py {' '.join(words)}`",
        "",
        f"{date.today()}, {machine()}, Python {platform.python_version()}, {packages}; {args.model}, LoRA,",
        f"bf16, {args.cap:,} KorQuAD questions, {args.step_tokens:,} tokens a step counted unshared, seeds",
        f"{', '.join(map(str, seeds))}. Loss in nats per target on {args.held_out} questions of articles",
        "never trained on, over all seeds, with 95 % bootstrap intervals over passages; − unshared: paired.",
        f"Seconds and tokens are medians. Load average at the end {os.getloadavg()[0]:.1f}.",
        "",
        "| way | held-out loss | seeds | − unshared | examples | steps | tokens computed | s |",
        "|---|---|---|---|---|---|---|---|",
    ]


def main() -> None:
    """Run what is not done yet, print the table and the ratios."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("runs/quality"), help="where finished ones are kept")
    parser.add_argument("--cap", type=int, help="questions to train on (400)")
    parser.add_argument("--held-out", type=int, help="questions that the loss is measured on (200)")
    parser.add_argument("--step-tokens", type=int, help="of an optimiser step (4096)")
    parser.add_argument("--seeds", help="(0,1,2)")
    parser.add_argument("--ways", default=",".join(WAYS))
    parser.add_argument("--model", default="gemma-3-270m")
    parser.add_argument("--md", type=Path)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--quick", action="store_true", help="one seed, tiny caps: whether it runs")
    args = parser.parse_args()
    sizes = (24, 12, 2048, "0") if args.quick else (400, 200, 4096, "0,1,2")
    for name, size in zip(("cap", "held_out", "step_tokens", "seeds"), sizes, strict=True):
        setattr(args, name, getattr(args, name) or size)
    results = [run(BASE, 0, args)]
    for seed in map(int, args.seeds.split(",")):
        for way in args.ways.split(","):
            results.append(run(way, seed, args))
            print(f"{way}, seed {seed}: {results[-1]['seconds']:.0f} s", file=sys.stderr, flush=True)
    show(results, args)


if __name__ == "__main__":
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the command line does
    main()
