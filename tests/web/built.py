"""A small run, made with komt's own functions, for the tests of what the page shows."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from komt.example import Evidence, Example, Message, examples_table
from komt.mix.manifest import Evaluation, Manifest, TaskCounts
from komt.train.log import TrainLog

PASSAGE = "세종대왕은 1443년에 훈민정음을 만들었다."


def example(number: int, task: str = "my.qa", answer: str = "1443년") -> Example:
    start = PASSAGE.index(answer) if answer in PASSAGE else 0
    prompt = (
        f"{PASSAGE}\n\n{number}번 질문: 언제 만들었나요? <script>alert({number})</script> {{{{x}}}} ${{y}}"
    )
    return Example(
        id=f"{task}-{number}",
        task=task,
        family="extractive_qa",
        kind="passage_first",
        source="my-source",
        licence="CC0-1.0",
        origin="native",
        split="train",
        template="formal",
        group="",
        messages=(Message("user", prompt), Message("assistant", answer, True)),
        references=(answer, "1443"),
        evidence=Evidence(0, start, start + len(answer)),
    )


def build(folder: Path) -> Path:
    """A data folder: 20 training examples of two tasks, 3 for evaluation, 12 rows left out."""
    folder.mkdir(parents=True)
    train = [example(number) for number in range(16)]
    train += [example(number, "my.title", "훈민정음") for number in range(4)]
    pq.write_table(examples_table(train), folder / "train.parquet", row_group_size=7)
    pq.write_table(examples_table(train[:3]), folder / "evaluate.parquet")
    row = json.dumps({"질문": "누가 <b>만들었나요?", "번호": 3}, ensure_ascii=False)
    left = [("my.qa", "train", "filter", "duplicate", f"row {n}", row) for n in range(9)]
    left += [("my.qa", "train", "source", "empty_answer", f"row {n}", "") for n in range(3)]
    names = ("task", "split", "stage", "reason", "where", "row")
    columns = {name: [item[place] for item in left] for place, name in enumerate(names)}
    pq.write_table(pa.table(columns), folder / "rejects.parquet")
    counts: dict[str, Any] = {"source": "my-source", "family": "extractive_qa", "licence": "CC0-1.0"}
    tasks = {
        "my.qa": TaskCounts(
            examples=16,
            read=28,
            origin="native",
            kinds={"passage_first": 16},
            rejected={"filter": {"duplicate": 9}, "source": {"empty_answer": 3}},
            evaluation=Evaluation(split="test", read=3, examples=3),
            **counts,
        ),
        "my.title": TaskCounts(examples=4, read=4, origin="native", kinds={"passage_first": 4}, **counts),
    }
    manifest = Manifest(
        examples=20,
        tasks=tasks,
        seed=0,
        resplit=["my-source"],
        comparable=False,
        licences=["CC0-1.0"],
        inputs={},
        version=1,
    )
    (folder / "manifest.json").write_text(manifest.as_json(), encoding="utf-8")
    return folder


def log(path: Path, steps: range) -> Path:
    """A training log; steps that it holds already are kept."""
    with TrainLog(path, steps.start - 1, 100, quiet=True) as file:
        for step in steps:
            file.step(step, 4.0 / step, 1e-4 * step, {"my.qa": 5.0 / step, "my.title": 3.0 / step}, 2.5)
    return path


def beside(folder: Path, steps: Iterable[int]) -> None:
    """Held-out figures and live samples beside a training log."""
    steps = list(steps)
    lines = [
        {
            "step": step,
            "task": task,
            "loss": 4.0 - step / 10,
            "accuracy": step / 20,
            "perplexity": 9.5,
            "targets": 7,
        }
        for step in steps
        for task in ("", "my.qa", "my.title")
    ]
    answers = [
        {
            "step": step,
            "task": "my.qa",
            "prompt": f"물음 {n} <b>",
            "answer": f"답 {step}",
            "reference": "서울",
        }
        for step in steps
        for n in range(2)
    ]
    for name, rows in (("held_out", lines), ("samples", answers)):
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        (folder / f"{name}.jsonl").write_text(text, encoding="utf-8")


def scores(path: Path) -> Path:
    """A report of a base model and a tuned one."""
    row = {"task": "my.qa", "split": "test", "shots": 0, "n": 80, "unscored": 0, "comparable": True}
    interval = {"value": 0.3, "low": 0.2, "high": 0.4, "n": 80}
    rows: list[dict[str, Any]] = [
        {**row, "model": "base", "metric": "f1", "value": 0.1, "low": 0.05, "high": 0.15},
        {
            **row,
            "model": "tuned",
            "metric": "f1",
            "value": 0.4,
            "low": 0.3,
            "high": 0.5,
            "gain": {"base": interval},
        },
        {
            **row,
            "model": "tuned",
            "metric": "judge",
            "value": None,
            "low": None,
            "high": None,
            "unscored": 80,
        },
        {**row, "model": "tuned", "metric": "perplexity", "value": 12.5, "low": 11.0, "high": 14.0},
    ]
    rows[1]["off_label"] = 2
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(rows), encoding="utf-8")
    return path


def run(folder: Path) -> Path:
    """A whole run."""
    build(folder / "data")
    log(folder / "train" / "log.jsonl", range(1, 11))
    scores(folder / "report" / "scores.json")
    return folder
