"""Evaluation examples as tasks of lm-evaluation-harness: a YAML and a JSON Lines file for each.

The folder can be moved: `lm_eval --include_path FOLDER --tasks komt`. Written for lm_eval 0.4.9 and later, in
whose YAML `custom_dataset` names a function that loads the rows.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

import yaml

Record = dict[str, Any]
_SHARED = "_komt_yaml"
_SHARED_TEXT = """\
# What all tasks of this folder share; no task by itself.
custom_dataset: !function rows.load
test_split: test
doc_to_text: prompt
target_delimiter: "\\n"
"""
_ROWS_PY = '''\
"""The rows of a task: a JSON Lines file beside this one, wherever the folder lies."""

from pathlib import Path

import datasets


def load(file, **_):
    """What lm_eval's `custom_dataset` expects: datasets by split."""
    path = Path(__file__).parent / file
    return datasets.load_dataset("json", data_files={"test": str(path)})
'''
_MOST_TOKENS = 1024


@dataclass
class _Rows:
    """The rows of one task and of one kind, as they are written."""

    task: str
    family: str
    choice: bool
    name: str
    file: TextIO
    count: int = 0
    longest: int = 0
    paragraphs: bool = False
    sources: set[str] = field(default_factory=set)

    def write(self, record: Record) -> None:
        answer = record["messages"][-1]["content"]
        row = {"id": record["id"], "template": record["template"], "prompt": _prompt(record)}
        if self.choice:
            row |= {"choices": _shown(record), "answer_index": record["answer_index"]}
        else:
            row |= {"answer": answer, "references": record["references"] or [answer]}
            self.longest = max(self.longest, len(answer))
            self.paragraphs |= "\n\n" in answer
        self.file.write(json.dumps(row, ensure_ascii=False) + "\n")
        self.count += 1
        self.sources.add(record["source"])


def write_lm_eval(
    batches: Iterable[Sequence[Record]], folder: Path, metrics: Mapping[str, Sequence[str]]
) -> Path:
    """Write every task that has evaluation examples.

    Where the answer is one of the choices shown, the task is multiple_choice, scored by likelihood; otherwise
    generate_until, scored by exact match with any reference, and by chrF where the task is scored so here.
    A task with answers of both kinds becomes two.

    Args:
        batches: records of evaluation examples.
        folder: to fill; made when missing.
        metrics: of each task, as komt scores it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / _SHARED).write_text(_SHARED_TEXT, encoding="utf-8")
    (folder / "rows.py").write_text(_ROWS_PY, encoding="utf-8")
    rows: dict[tuple[str, bool], _Rows] = {}
    with ExitStack() as files:
        for record in (record for batch in batches for record in batch):
            key = (record["task"], _is_choice(record))
            if key not in rows:
                name = _name(*key, taken={item.name for item in rows.values()})
                file = files.enter_context((folder / f"{name}.jsonl").open("w", encoding="utf-8"))
                rows[key] = _Rows(key[0], record["family"], key[1], name, file)
            rows[key].write(record)
    for item in rows.values():
        values = _choice_task() if item.choice else _generation_task(item, metrics.get(item.task, ()))
        (folder / f"{item.name}.yaml").write_text(_task_yaml(item, values), encoding="utf-8")
    return folder


def _is_choice(record: Record) -> bool:
    """Whether the answer is the right choice as shown; an inverted prompt has choices, too, but asks else."""
    at, answer = record["answer_index"], record["messages"][-1]["content"]
    return at is not None and len(record["choices"]) > 1 and _shown(record)[at] == answer


def _shown(record: Record) -> list[str]:
    """The answers to choose from: the numbers or letters of the choices where the prompt gives them some."""
    marks = json.loads(record["metadata"] or "{}").get("marks")
    return list(marks or record["choices"])


def _prompt(record: Record) -> str:
    return "\n\n".join(message["content"] for message in record["messages"][:-1])


def _name(task: str, choice: bool, taken: set[str]) -> str:
    """A name that lm_eval's command line takes: no dots, commas or glob characters."""
    stem = "komt_" + re.sub(r"\W+", "_", task)
    names = [stem, stem + ("_choose" if choice else "_write")]
    names += [f"{names[1]}_{n}" for n in range(2, len(taken) + 3)]
    return next(name for name in names if name not in taken)


def _choice_task() -> Record:
    return {
        "output_type": "multiple_choice",
        "doc_to_choice": "choices",
        "doc_to_target": "answer_index",
        "metric_list": [_metric("acc"), _metric("acc_norm")],
    }


def _generation_task(rows: _Rows, metrics: Sequence[str]) -> Record:
    match = {**_metric("exact_match"), "ignore_case": True, "ignore_punctuation": True}
    # lm_eval's chrF takes one reference.
    chrf = [{"metric": "chrf", "aggregation": "chrf", "higher_is_better": True}] if "chrf" in metrics else []
    return {
        "output_type": "generate_until",
        "doc_to_target": "answer" if chrf else "references",
        "metric_list": [match, *chrf],
        "filter_list": [{"name": "trimmed", "filter": [{"function": "remove_whitespace"}, _FIRST]}],
        "generation_kwargs": {
            # Without a paragraph break in any answer, one ends it; chat models end by their own token.
            "until": ["### instruction:"] if rows.paragraphs else ["\n\n"],
            "do_sample": False,
            "max_gen_toks": min(_MOST_TOKENS, max(32, 2 * rows.longest)),
        },
    }


_FIRST = {"function": "take_first"}


def _metric(name: str) -> Record:
    return {"metric": name, "aggregation": "mean", "higher_is_better": True}


def _task_yaml(rows: _Rows, values: Record) -> str:
    head = (
        f"# {rows.count} examples of {rows.task}, from {', '.join(sorted(rows.sources))}\n"
        f"# lm_eval --model hf --model_args pretrained=MODEL --include_path . --tasks {rows.name}\n"
    )
    task = {
        "include": _SHARED,
        "task": rows.name,
        "task_alias": rows.task,
        "tag": ["komt", f"komt_{rows.family}"],
        "dataset_kwargs": {"file": f"{rows.name}.jsonl"},
        **values,
        "metadata": {"version": 1.0},
    }
    return head + yaml.safe_dump(task, allow_unicode=True, sort_keys=False)
