"""Peak memory and time of training: what `komt check` predicts against what a training process takes.

    python bench/memory.py [--json FILE] [--quick] [--only TEXT]
    python bench/memory.py --whole [--json FILE] [--quick] [--only TEXT]

For each setting `komt check` runs in a process of its own: four small bins are counted, the peak is
predicted, and then two real steps are trained, the largest bin of the plan among them. With `--whole` the
whole training runs besides, in a process of its own, as `komt train`: its seconds between the first step and
the last, and its peak from the first import to the end. The data is the Korean sample that comes with komt.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

SETTINGS = {
    "LoRA, 16 bits": [],
    "the same, checkpointing": ["train.gradient_checkpointing=true"],
    "LoRA, 32 bits": ["model.bits=32"],
    "full, 16 bits": ["train.method=full"],
    "LoRA, 4 bits": ["model.bits=4"],
    "LoRA, 16 bits, unshared": ["pack.share=false"],
    "LoRA, 16 bits, r = 64, dropout": ["train.lora.r=64", "train.lora.dropout=0.05"],
    "LoRA, 16 bits, bins of 512": ["pack.tokens=512"],
    "LoRA, 8 bits": ["model.bits=8"],
    "full, 32 bits": ["train.method=full", "model.bits=32"],
}
QUICK = ("LoRA, 16 bits", "the same, checkpointing")
# A recipe, and what of it is trained in whole: short, so that a step is a larger part than it mostly is.
WHOLE = {
    "LoRA, 16 bits, whole": ("sample", ["train.epochs=0.5"]),
    "LoRA, 4 bits, whole": ("sample", ["train.epochs=0.25", "model.bits=4"]),
    "LoRA, 8 bits, whole": ("sample", ["train.epochs=0.25", "model.bits=8"]),
    "checkpointing, whole": ("sample", ["train.epochs=0.25", "train.gradient_checkpointing=true"]),
    "DPO, 16 bits, whole": ("sample_dpo", ["train.epochs=0.5"]),
}


def checked(recipe: str, overrides: list[str]) -> dict[str, Any]:
    """What `komt check` predicts, and what it then holds in two real steps, of one setting."""
    words = [sys.executable, "-m", "komt", "check", recipe, *overrides, "--json", "--samples", "0"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(words)}:\n{done.stdout}\n{done.stderr}")
    return json.loads(done.stdout)["outlook"]


def trained(recipe: str, overrides: list[str]) -> tuple[float, float]:
    """Seconds that the steps of a whole training took, and the most bytes that its process held."""
    with tempfile.TemporaryDirectory() as folder:
        for verb in ("build", "train"):  # data of its own process, so that its memory does not count
            out = Path(folder) / ("run/data" if verb == "build" else "run")
            words = [sys.executable, "-m", "komt", verb, recipe, *overrides, "--out", str(out)]
            process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            if process.returncode:
                raise SystemExit(f"{' '.join(words)}: exit status {process.returncode}")
        summary = json.loads((out / "train" / "train.json").read_text(encoding="utf-8"))
    return summary["seconds"], usage.ru_maxrss * 1024.0


def steps_table(only: str, quick: bool) -> dict[str, float]:
    """Print what two steps hold, of each setting; returns predicted over measured."""
    print("| setting | overrides | largest bin | target rows | predicted GiB | measured GiB | difference |")
    print("|---|---|---|---|---|---|---|", flush=True)
    ratios = {}
    for name in QUICK if quick else SETTINGS:
        if only not in name:
            continue
        found = checked("sample", SETTINGS[name])
        predicted, measured = sum(found["estimate"].values()), found["pace"]["peak"]
        ratios[name] = predicted / measured
        size = found["size"]
        print(
            f"| {name} | {' '.join(SETTINGS[name])} | {size['tokens']} | {size['rows']} "
            f"| {predicted / 2**30:.2f} | {measured / 2**30:.2f} | {ratios[name] - 1:+.1%} |",
            flush=True,
        )
    return ratios


def whole_table(only: str, quick: bool) -> dict[str, float]:
    """Print what whole trainings take; returns predicted over measured, of memory and of time."""
    names = ("training", "steps", "predicted s", "measured s", "difference", "predicted GiB", "measured GiB")
    print(f"| {' | '.join(names)} | difference |")
    print("|---|---|---|---|---|---|---|---|", flush=True)
    ratios = {}
    for name, (recipe, overrides) in list(WHOLE.items())[: 1 if quick else None]:
        if only not in name:
            continue
        found = checked(recipe, overrides)
        seconds, peak = trained(recipe, overrides)
        pace, held = found["pace"], sum(found["estimate"].values())
        predicted = (
            pace["seconds"] - pace["reference_seconds"]
        )  # pairs' passes without gradients are no steps
        ratios |= {f"{name}, time": predicted / seconds, f"{name}, memory": held / peak}
        print(
            f"| `{recipe} {' '.join(overrides)}` | {found['steps']} | {predicted:.0f} | {seconds:.0f} "
            f"| {predicted / seconds - 1:+.0%} | {held / 2**30:.2f} | {peak / 2**30:.2f} "
            f"| {held / peak - 1:+.1%} |",
            flush=True,
        )
    return ratios


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures as JSON")
    parser.add_argument("--quick", action="store_true", help="two settings only, one training")
    parser.add_argument("--whole", action="store_true", help="whole trainings, their time too")
    parser.add_argument("--only", default="", metavar="TEXT", help="settings whose names hold this")
    args = parser.parse_args()
    libraries = ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers", "peft"))
    print(f"{date.today()}, {os.cpu_count()} cores, {libraries}\n")
    ratios = (whole_table if args.whole else steps_table)(args.only, args.quick)
    print()
    for name, value in ratios.items():
        print(f"ratio {name.replace(',', '').replace(' ', '_')} {value:.3f}")
    if args.json:
        text = json.dumps({"ratios": ratios}, indent=1, ensure_ascii=False)
        args.json.write_text(f"{text}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
