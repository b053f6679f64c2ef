"""Peak memory of training: what `komt check` predicts against what a training process holds.

    python bench/memory.py [--json FILE] [--quick]

For each setting `komt check` runs in a process of its own: four small bins are counted, the peak is
predicted, and then two real steps are trained, the largest bin of the plan among them. The data is the Korean
sample that comes with komt.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
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


def checked(overrides: list[str]) -> dict[str, Any]:
    """What `komt check` predicts, and what it then holds in two real steps, of one setting."""
    words = [sys.executable, "-m", "komt", "check", "sample", *overrides, "--json", "--samples", "0"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(words)}:\n{done.stdout}\n{done.stderr}")
    return json.loads(done.stdout)["outlook"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures as JSON")
    parser.add_argument("--quick", action="store_true", help="two settings only")
    args = parser.parse_args()
    libraries = ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers", "peft"))
    print(f"{date.today()}, {os.cpu_count()} cores, {libraries}\n")
    print("| setting | overrides | largest bin | target rows | predicted GiB | measured GiB | difference |")
    print("|---|---|---|---|---|---|---|", flush=True)
    ratios = {}
    for name in QUICK if args.quick else SETTINGS:
        found = checked(SETTINGS[name])
        predicted, measured = sum(found["estimate"].values()), found["pace"]["peak"]
        ratios[name] = predicted / measured
        size = found["size"]
        print(
            f"| {name} | {' '.join(SETTINGS[name])} | {size['tokens']} | {size['rows']} "
            f"| {predicted / 2**30:.2f} | {measured / 2**30:.2f} | {ratios[name] - 1:+.1%} |",
            flush=True,
        )
    print()
    for name, value in ratios.items():
        print(f"ratio {name.replace(',', '').replace(' ', '_')} {value:.3f}")
    if args.json:
        text = json.dumps({"ratios": ratios}, indent=1, ensure_ascii=False)
        args.json.write_text(f"{text}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
