"""Choices by log-likelihood: komt's engine beside lm-evaluation-harness's own `hf` model, in one run.

    python bench/eval.py [--runs 3] [--limit 0.2] [--json FILE] [--quick]

BoolQ, COPA and HellaSwag of KoBEST (test), by the harness's own task files over the rows of KOMT_DATA, on
the packaged model in fp32. Both ways run inside the harness, on the ids it makes; only the model behind it
differs. Each way is a process of its own; they alternate within each run, and figures are medians. The time
is that of the evaluation: encoding, the model, metrics; not loading. The batch size of `hf` is the
fastest of several on this machine, found before the runs (`auto` begins with 64 sequences, whose logits over
a vocabulary of 262,144 tokens fill tens of GB).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
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

import psutil

MODEL = "gemma-3-270m"
TASKS = ("boolq", "copa", "hellaswag")
WAYS = {"hf": "lm-evaluation-harness, hf, batches of {batch}", "komt": "lm-evaluation-harness, komt's engine"}
BATCHES = (1, 2, 4, 8, 16, 32)
# Logits of a row and their logarithms: the longest has 277 tokens, over a vocabulary of 262,144, in fp32.
_BATCH_ROW_BYTES = 2 * 277 * 262_144 * 4
Figures = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument(
        "--limit", type=float, default=0.2, help="share of each task's rows, the first ones; 1: all"
    )
    parser.add_argument("--batch", type=int, default=0, help="of hf; 0: the fastest of several")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--quick", action="store_true", help="a fiftieth of the rows, one run")
    parser.add_argument("--worker", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.quick:
        args.runs, args.limit = 1, 0.02
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    if args.worker:
        args.out.write_text(json.dumps(work(args.worker, args.limit, args.batch)), encoding="utf-8")
        return
    batch = args.batch or fastest_batch(args.quick)
    found: dict[str, list[Figures]] = {way: [] for way in WAYS}
    for run in range(args.runs):
        for way in list(WAYS)[:: 1 if run % 2 == 0 else -1]:
            found[way].append(in_a_process(way, args.limit, batch))
            print(f"run {run + 1}, {way}: {found[way][-1]['seconds']}", file=sys.stderr, flush=True)
    show(found, batch, args.limit, args.json)


def in_a_process(way: str, limit: float, batch: int) -> Figures:
    """One way's figures, from a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "figures.json"
        words = [sys.executable, __file__, "--worker", way, "--limit", str(limit), "--batch", str(batch)]
        with (Path(folder) / "log").open("w+") as log:
            if subprocess.run([*words, "--out", str(out)], stdout=log, stderr=log).returncode:
                log.seek(0)
                sys.exit(f"{way} failed:\n{log.read()[-4000:]}")
        figures: Figures = json.loads(out.read_text(encoding="utf-8"))
        return figures


def fastest_batch(quick: bool) -> int:
    """The batch size, of those that memory allows, with which hf answers a few questions fastest."""
    seconds = {}
    room = psutil.virtual_memory().available
    for batch in [batch for batch in BATCHES if 1.5 * batch * _BATCH_ROW_BYTES < room]:
        seconds[batch] = sum(in_a_process("hf", 0.005 if quick else 0.01, batch)["seconds"].values())
        print(f"hf in batches of {batch}: {seconds[batch]:.1f} s", file=sys.stderr, flush=True)
    return min(seconds, key=seconds.__getitem__)


def work(way: str, limit: float, batch: int) -> Figures:
    """Evaluate the three tasks, one after another, in this process."""
    from lm_eval import simple_evaluate
    from lm_eval.tasks import TaskManager

    from komt.evaluate.harness_kobest import write_kobest

    model = hf_model(batch) if way == "hf" else komt_model()
    ids = hashlib.sha256()
    watch(model, ids)
    figures: Figures = {"seconds": {}, "cpu_seconds": 0.0, "samples": {}, "scores": {}}
    with tempfile.TemporaryDirectory() as folder:
        write_kobest(Path(folder))
        manager = TaskManager(include_path=folder, include_defaults=False)
        for warm in (True, False):
            for task in TASKS:
                loaded = list(manager.load([f"kobest_{task}"])["tasks"].values())
                began, busy = time.perf_counter(), time.process_time()
                result = simple_evaluate(
                    model=model,
                    tasks=loaded,
                    limit=2 if warm else (limit if limit < 1 else None),
                    bootstrap_iters=0,
                    task_manager=manager,
                )
                if warm:
                    continue
                figures["seconds"][task] = time.perf_counter() - began
                figures["cpu_seconds"] += time.process_time() - busy
                samples = result["samples"][f"kobest_{task}"]
                samples.sort(key=lambda one: one["doc_id"])
                figures["samples"][task] = [[one[0] for one in row["filtered_resps"]] for row in samples]
                figures["scores"][task] = result["results"][f"kobest_{task}"]["acc,none"]
    figures["ids"] = ids.hexdigest()
    figures["peak_gb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20)
    return figures


def hf_model(batch: int) -> Any:
    """The harness's own model over transformers."""
    from lm_eval.models.huggingface import HFLM

    from komt.models.resolve import resolve

    folder = str(resolve(MODEL).folder)
    return HFLM(pretrained=folder, device="cpu", dtype="float32", batch_size=batch)


def komt_model() -> Any:
    """The harness over komt's engine."""
    from komt.evaluate.harness_model import EngineLM
    from komt.serve.loading import load_engine

    return EngineLM(load_engine(MODEL, 32))


def watch(model: Any, ids: Any) -> None:
    """Add the ids that the harness asks the model about to a hash."""
    tell = model._loglikelihood_tokens

    def watching(requests: Any, **options: Any) -> Any:
        ids.update(json.dumps([[context, continuation] for _, context, continuation in requests]).encode())
        return tell(requests, **options)

    model._loglikelihood_tokens = watching


def show(found: dict[str, list[Figures]], batch: int, limit: float, target: Path | None) -> None:
    """The table, what is equal, then one `ratio NAME VALUE` line per comparison."""
    counts = {task: len(found["hf"][0]["samples"][task]) for task in TASKS}
    total = sum(counts.values())
    names = ("lm_eval", "transformers", "torch")
    print(f"{date.today()}, {os.cpu_count()} cores, {', '.join(f'{n} {version(n)}' for n in names)}\n")
    rows = ", ".join(f"{task} {count:,}" for task, count in counts.items())
    print(f"Questions: {rows}. {MODEL} in fp32; medians of {len(found['hf'])}.\n")
    print(
        f"| way | {' | '.join(f'{task}, questions/s' for task in TASKS)} | together | s | CPU s | peak GB |"
    )
    print(f"|---|{'---|' * (len(TASKS) + 4)}")
    speeds: dict[str, dict[str, float]] = {}
    for way, title in WAYS.items():
        runs = found[way]
        speeds[way] = {
            task: counts[task] / statistics.median(run["seconds"][task] for run in runs) for task in TASKS
        }
        seconds = statistics.median(sum(run["seconds"].values()) for run in runs)
        speeds[way]["together"] = total / seconds
        cells = " | ".join(f"{value:.2f}" for value in speeds[way].values())
        peak, busy = (statistics.median(run[key] for run in runs) for key in ("peak_gb", "cpu_seconds"))
        print(f"| {title.format(batch=batch)} | {cells} | {seconds:.1f} | {busy:.1f} | {peak:.1f} |")
    equal = compare(found)
    ratios = {name: speeds["komt"][name] / speeds["hf"][name] for name in (*TASKS, "together")}
    for name, value in ratios.items():
        print(f"ratio {name} {value:.2f}")
    if target:
        slim = {
            way: [{key: value for key, value in run.items() if key != "samples"} for run in runs]
            for way, runs in found.items()
        }
        values = {"ratios": ratios, "speeds": speeds, "equal": equal, "limit": limit, "runs": slim}
        target.write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")
    if not (equal["ids"] and equal["same_predictions"] == equal["questions"]):
        sys.exit("the two ways differ")


def compare(found: dict[str, list[Figures]]) -> Figures:
    """Whether ids and predictions are the same, and how far log-likelihoods are apart."""
    own, other = found["hf"][0], found["komt"][0]
    pairs = [
        pair for task in TASKS for pair in zip(own["samples"][task], other["samples"][task], strict=True)
    ]
    same = sum(a.index(max(a)) == b.index(max(b)) for a, b in pairs)
    apart = max(abs(x - y) for a, b in pairs for x, y in zip(a, b, strict=True))
    equal = {
        "ids": len({run["ids"] for runs in found.values() for run in runs}) == 1,
        "questions": len(pairs),
        "same_predictions": same,
        "largest_difference": apart,
    }
    scores = ", ".join(f"{task} {other['scores'][task]:.4f}" for task in TASKS)
    print(
        f"\nIds equal: {'yes' if equal['ids'] else 'no'}. Equal predictions: {same:,} of {len(pairs):,}; "
        f"log-likelihoods differ by {apart:.1e} at most. Accuracy: {scores}.\n"
    )
    return equal


if __name__ == "__main__":
    main()
