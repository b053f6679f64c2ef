"""The ways that `build.py` compares: rows by `datasets.map`, and by komt; and what each of them reads."""

from __future__ import annotations

import gzip
import importlib
import json
import resource
import threading
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import psutil

MIXTURE = "mixture.jsonl"
# NSMC has the other table.
LEFT_OUT = "nsmc-raw"
REVIEW = {
    "prompt": "다음 영화평을 읽고 10점 만점에 몇 점인지 숫자로만 답하세요.\n\n{{ review }}",
    "answer": "{{ rating }}",
}


def write_rows(path: Path, count: int) -> int:
    """The first NSMC reviews as JSON Lines; returns how many there are."""
    from komt.files import data_root

    source = data_root() / "nsmc_raw" / "reviews.jsonl.gz"
    with gzip.open(source, "rt", encoding="utf-8") as lines, path.open("w", encoding="utf-8") as file:
        written = 0
        for line in islice(lines, count):
            file.write(line if line.endswith("\n") else f"{line}\n")
            written += 1
    return written


def mixture_recipe() -> Any:
    """Every task of `multitask` that has rows here, but those of NSMC, as many rows as there are."""
    from komt.mix.named import training_tasks
    from komt.recipe import load_recipe, parse_recipe

    chosen = training_tasks(load_recipe("multitask")).tasks
    names = [name for name, task in chosen.items() if task.rows_from.name != LEFT_OUT]
    return parse_recipe({"name": "mixture", "data": {"tasks": names, "resplit": True}}, "bench")


def write_mixture(path: Path) -> int:
    """The training rows of `mixture_recipe`, with the templates that komt would fill; how many there are."""
    from komt.mix.named import training_tasks

    # The package has a function of that name, too.
    rendering: Any = importlib.import_module("komt.tasks.render")
    seen: list[tuple[str, dict[str, Any]]] = []
    fill = rendering.fill

    def noted(text: str, values: dict[str, Any], where: str) -> str:
        seen.append((text, values))
        return fill(text, values, where)

    recipe, written = mixture_recipe(), 0
    rendering.fill = noted
    try:
        with path.open("w", encoding="utf-8") as file:
            for task in training_tasks(recipe).tasks.values():
                for _ in rendered(task, recipe.seed, seen):
                    (prompt, values), (answer, _) = seen[-2:]
                    row = {
                        "prompt": prompt,
                        "answer": answer,
                        "values": json.dumps(values, ensure_ascii=False, default=str),
                    }
                    file.write(json.dumps(row, ensure_ascii=False) + "\n")
                    written += 1
    finally:
        rendering.fill = fill
    return written


def rendered(task: Any, seed: int, seen: list[Any]) -> Iterator[Any]:
    """Examples of a task's training rows; `seen` is cleared before each."""
    from komt.sources import Rejected, read_rows
    from komt.tasks import UnusableRow, render

    for row in read_rows(task.rows_from, "train", resplit=True):
        seen.clear()
        if not isinstance(row, Rejected):
            try:
                yield render(task, row, seed)
            except UnusableRow:
                continue


def run_peer(data: Path, batched: bool, processes: int) -> dict[str, Any]:
    """Templates, chat template and tokenizer by `datasets.map`; no cache is used."""
    import datasets
    import jinja2
    from datasets import load_dataset

    from komt.korean import josa
    from komt.models.load import load_tokenizer
    from komt.models.resolve import resolve

    datasets.disable_caching()
    datasets.disable_progress_bars()
    began = time.perf_counter()
    tokenizer = load_tokenizer(resolve("gemma-3-270m"))
    compiled: dict[str, Any] = {}  # by each process for itself: compiled templates cannot be sent to another

    def filled(text: str, values: dict[str, Any]) -> str:
        if text not in compiled:
            environment = jinja2.Environment()
            environment.filters["josa"] = josa
            compiled[text] = environment.from_string(text)
        return str(compiled[text].render(values))

    def text_of(row: dict[str, Any]) -> str:
        values = json.loads(row["values"]) if "values" in row else row
        messages = [
            {"role": "user", "content": filled(row.get("prompt", REVIEW["prompt"]), values)},
            {"role": "assistant", "content": filled(row.get("answer", REVIEW["answer"]), values)},
        ]
        return str(tokenizer.apply_chat_template(messages, tokenize=False))

    def one(row: dict[str, Any]) -> dict[str, Any]:
        return {"input_ids": tokenizer(text_of(row), add_special_tokens=False)["input_ids"]}

    def many(rows: dict[str, Any]) -> dict[str, Any]:
        texts = [text_of(dict(zip(rows, row, strict=True))) for row in zip(*rows.values(), strict=True)]
        return {"input_ids": tokenizer(texts, add_special_tokens=False)["input_ids"]}

    table = load_dataset("json", data_files=str(data), split="train", cache_dir=str(data.parent / "cache"))
    made = table.map(many if batched else one, batched=batched, num_proc=processes if processes > 1 else None)
    seconds = time.perf_counter() - began
    return {"seconds": seconds, "rows": len(table), "tokens": sum(map(len, made["input_ids"]))}


def run_komt(data: Path, processes: int) -> dict[str, Any]:
    """The whole build, then the tokens of every example it keeps."""
    from komt.mix import build, engine_named
    from komt.pack.fit import BatchFit
    from komt.recipe import parse_recipe

    if data.name == MIXTURE:
        recipe = mixture_recipe()
    else:
        own = {"path": str(data), **REVIEW, "evaluate": 0.01}
        recipe = parse_recipe({"name": "bench", "data": {"files": [own]}}, "bench")
    out = data.parent / "built"
    fit = BatchFit(recipe.model.name, False, recipe.pack.tokens, recipe.data.over_long)
    engine = engine_named("local", processes, processes)
    began = time.perf_counter()
    manifest = build(recipe, out, fit, engine=engine)
    groups = [(out / "train.parquet", group) for group in range(_groups(out / "train.parquet"))]
    tokens = sum(engine.map(_encode, groups))
    seconds = time.perf_counter() - began
    engine.close()
    tasks = manifest.tasks.values()
    held = sum(task.evaluation.read for task in tasks if task.evaluation) if data.name != MIXTURE else 0
    rejected: dict[str, int] = {}
    for task in tasks:
        for reasons in task.rejected.values():
            for reason, count in reasons.items():
                rejected[reason] = rejected.get(reason, 0) + count
    return {
        "seconds": seconds,
        # An own file's rows are read once for both parts; a set's evaluation rows are read besides.
        "rows": sum(task.read for task in tasks) + held,
        "tokens": tokens,
        "kept": manifest.examples,
        "rejected": rejected,
    }


def _groups(path: Path) -> int:
    import pyarrow.parquet as pq

    return int(pq.read_metadata(path).num_row_groups)


def _encode(job: tuple[Path, int]) -> int:
    """Tokens of the examples of a row group."""
    import pyarrow.parquet as pq

    from komt.pack import encode
    from komt.pack.fit import tokenizer_named
    from komt.pack.shards import conversations

    path, group = job
    table = pq.ParquetFile(path).read_row_group(group, columns=["id", "task", "group", "messages"])
    return sum(map(len, encode(tokenizer_named("gemma-3-270m", False), conversations(table))))


def build_multitask(out: Path, examples: int) -> None:
    """The multitask mixture without caps, in so many examples."""
    from komt.mix import build, engine_named
    from komt.pack.fit import BatchFit
    from komt.recipe import load_recipe

    recipe = load_recipe("multitask", ["data.mixing.maximum=null", f"data.mixing.examples={examples}"])
    fit = BatchFit(recipe.model.name, False, recipe.pack.tokens, recipe.data.over_long)
    engine = engine_named("local", 2, 2)
    build(recipe, out, fit, engine=engine)
    engine.close()


def first_groups(data: Path, out: Path, share: float) -> None:
    """A data folder with the first row groups of another one's train.parquet."""
    import pyarrow.parquet as pq

    out.mkdir()
    file = pq.ParquetFile(data / "train.parquet")
    with pq.ParquetWriter(out / "train.parquet", file.schema_arrow, compression="zstd") as writer:
        for group in range(max(1, round(share * file.metadata.num_row_groups))):
            writer.write_table(file.read_row_group(group))


def run_shards(data: Path, processes: int) -> dict[str, Any]:
    """A data folder to shards of packed steps."""
    import pyarrow.parquet as pq

    from komt.mix import engine_named
    from komt.pack.shards import write_shards
    from komt.recipe import load_recipe

    recipe, engine = load_recipe("multitask"), engine_named("local", processes, processes)
    began = time.perf_counter()
    shards = write_shards(recipe, data, engine)
    seconds = time.perf_counter() - began
    engine.close()
    full = shards.fullness(recipe.pack.tokens)
    return {
        "seconds": seconds,
        "rows": pq.read_metadata(data / "train.parquet").num_rows,
        "tokens": shards.flat_tokens,
        "packed": shards.tokens,
        "places": shards.bins * recipe.pack.tokens,
        "but_last": full.but_last,
        "level": full.level,
        "gib": sum(path.stat().st_size for path in shards.paths) / 2**30,
    }


def worker(way: str, data: Path) -> dict[str, Any]:
    """One way, in this process; `peak_gib` is that of this process and its children together."""
    kind, processes = way.split("-")
    peak = [0]
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.2):
            family = [psutil.Process(), *psutil.Process().children(recursive=True)]
            total = 0
            for process in family:
                try:
                    total += process.memory_info().rss
                except psutil.Error:
                    continue
            peak[0] = max(peak[0], total)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    if kind == "shards":
        found = run_shards(data, int(processes))
    elif kind == "komt":
        found = run_komt(data, int(processes))
    else:
        found = run_peer(data, kind == "batches", int(processes))
    done.set()
    thread.join()
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {**found, "peak_gib": max(peak[0], own) / 2**30}
