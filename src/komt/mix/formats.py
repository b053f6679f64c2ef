"""A build's examples in the shapes that other programs read. ADD A FORMAT: a function, and a line in FORMATS.

Each is written from the Parquet files a batch at a time, so that memory does not grow with their length.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from komt.errors import UsageError, did_you_mean
from komt.mix.formats_lm_eval import write_lm_eval

Messages = Sequence[Mapping[str, Any]]
Record = dict[str, Any]
_BATCH_ROWS = 2048
_SHAREGPT_ROLES = {"system": "system", "user": "human", "assistant": "gpt"}


def batches(path: Path, columns: Sequence[str] | None = None) -> Iterator[list[Record]]:
    """The rows of a Parquet file, some at a time."""
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(_BATCH_ROWS, columns=columns):
            yield batch.to_pylist()


def chat_rows(messages: Messages) -> Iterator[Record]:
    """{messages: [{role, content}]}: what TRL, Axolotl and the chat templates of transformers take."""
    yield {"messages": [{"role": turn["role"], "content": turn["content"]} for turn in messages]}


def sharegpt_rows(messages: Messages) -> Iterator[Record]:
    """{conversations: [{from, value}]}, from being system, human or gpt: LLaMA-Factory, Axolotl, FastChat."""
    yield {
        "conversations": [
            {"from": _SHAREGPT_ROLES[turn["role"]], "value": turn["content"]} for turn in messages
        ]
    }


def alpaca_rows(messages: Messages) -> Iterator[Record]:
    """{instruction, input, output} of every turn that is trained on.

    The form knows one prompt and one answer: all that stands before an answer, the system's words and solved
    examples included, is its instruction, a blank line between turns.
    """
    for place, turn in enumerate(messages):
        if turn["supervised"]:
            before = "\n\n".join(earlier["content"] for earlier in messages[:place])
            yield {"instruction": before, "input": "", "output": turn["content"]}


def write_chat(folder: Path) -> Path:
    """Write chat.jsonl, a JSON object a line."""
    return _write_lines(folder / "chat.jsonl", _rows(folder, chat_rows))


def write_sharegpt(folder: Path) -> Path:
    """Write sharegpt.jsonl, a JSON object a line."""
    return _write_lines(folder / "sharegpt.jsonl", _rows(folder, sharegpt_rows))


def write_alpaca(folder: Path) -> Path:
    """Write alpaca.json, one JSON list, a row a line."""
    path = folder / "alpaca.json"
    with path.open("w", encoding="utf-8") as file:
        before = "[\n"
        for row in _rows(folder, alpaca_rows):
            file.write(before + _json(row))
            before = ",\n"
        file.write("\n]\n" if before != "[\n" else "[]\n")
    return path


Writer = Callable[[Path], Path]
FORMATS: dict[str, Writer] = {"chat": write_chat, "alpaca": write_alpaca, "sharegpt": write_sharegpt}
NAMES = ("parquet", *FORMATS, "lm-eval")


def parse_formats(values: Iterable[str]) -> list[str]:
    """The formats that are asked for, each once: names, or lists of names with commas.

    Raises:
        UsageError: an unknown name.
    """
    names = [name.strip() for value in values for name in value.split(",") if name.strip()]
    for name in names:
        if name not in NAMES:
            raise UsageError(
                f"unknown format '{name}'{did_you_mean(name, NAMES)}", cure=f"known: {', '.join(NAMES)}"
            )
    return list(dict.fromkeys(names))


def write_formats(
    folder: Path, names: Collection[str], metrics: Mapping[str, Sequence[str]] | None = None
) -> list[Path]:
    """Write a build's training examples in other formats, and with `lm-eval` its evaluation examples.

    Args:
        folder: of the build, in which they are written; it should be a staged one, which appears as a whole.
        names: of NAMES; parquet is there already.
        metrics: of each task, for lm-eval.

    Returns:
        The files or folders written.
    """
    written = [write(folder) for name, write in FORMATS.items() if name in names]
    if "lm-eval" in names:
        written.append(write_lm_eval(batches(folder / "evaluate.parquet"), folder / "lm-eval", metrics or {}))
    return written


def _rows(folder: Path, rows_of: Callable[[Messages], Iterator[Record]]) -> Iterator[Record]:
    for records in batches(folder / "train.parquet", ["messages"]):
        for record in records:
            yield from rows_of(record["messages"])


def _write_lines(path: Path, rows: Iterable[Record]) -> Path:
    with path.open("w", encoding="utf-8") as file:
        file.writelines(f"{_json(row)}\n" for row in rows)
    return path


def _json(row: Record) -> str:
    return json.dumps(row, ensure_ascii=False)
