"""Examples within the model's length, in columns: only what may be too long, or changes, is taken out."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from komt.example import SCHEMA, Example, examples_table
from komt.mix.parts import write_part
from komt.mix.rendering import REJECTS

# What keeps examples within the model's length: for each the example that fits or None, and "", "shortened"
# or "over_long".
Fit = Callable[[Sequence[Example]], list[tuple[Example | None, str]]]
COUNTED = ("rejected", "shortened", "templates", "kinds")
FINGERPRINTS = pa.schema([(name, pa.string()) for name in ("fingerprint", "task", "id")])

Ints = npt.NDArray[np.int64]


@runtime_checkable
class Bounded(Protocol):
    """A fit that knows of most examples that they are short enough, without encoding them."""

    def surely(self, sizes: Ints, messages: Ints) -> npt.NDArray[np.bool_]:
        """Which examples fit in any case, by the bytes of their messages together, and their number."""


@dataclass
class _Fitted:
    """What becomes of the rows of a table, by place: another example, or why there is none."""

    replaced: dict[int, Example] = field(default_factory=dict)
    rejected: dict[int, tuple[Example, str]] = field(default_factory=dict)
    shortened: list[int] = field(default_factory=list)


def write_fitting(table: pa.Table, changed: Mapping[int, Example], fit: Fit | None, out: Path) -> None:
    """Write the examples that fit, their fingerprints, and what is too long; counts by task in the metadata.

    Args:
        table: examples, in columns of example.SCHEMA.
        changed: by place in the table, what stands there instead.
        fit: or None where everything fits.
        out: the part to write; `beside` it come its prints and its rejects.
    """
    table = table.select(SCHEMA.names).replace_schema_metadata(None).combine_chunks()
    fitted = _fitted(table, changed, fit)
    tasks = table["task"].to_pylist()
    counts: dict[str, dict[str, dict[str, int]]] = {task: {key: {} for key in COUNTED} for task in tasks}
    for place in fitted.shortened:
        _count(counts[tasks[place]]["shortened"], "")
    for place, (_, reason) in fitted.rejected.items():
        _count(counts[tasks[place]]["rejected"], reason)
    kept = _kept(table, fitted)
    for column, key in (("template", "templates"), ("kind", "kinds")):
        groups = kept.group_by(["task", column]).aggregate([([], "count_all")]).to_pydict()
        for task, name, count in zip(groups["task"], groups[column], groups["count_all"], strict=True):
            counts[task][key][name] = count
    rejects = [_over_long(*fitted.rejected[place]) for place in sorted(fitted.rejected)]
    prints = [pa.array(fingerprints(kept), pa.string()), kept["task"], kept["id"]]
    if rejects:
        write_part(beside(out, "rejects"), pa.Table.from_pylist(rejects, schema=REJECTS), {})
    write_part(beside(out, "prints"), pa.Table.from_arrays(prints, schema=FINGERPRINTS), {})
    write_part(out, kept, {"kept": len(kept), "tasks": counts})


def beside(part: Path, what: str) -> Path:
    """The file beside a part: its rejects, if there are any, or its prints."""
    return part.with_name(part.name.replace("part-", f"{what}-"))


def examples_at(table: pa.Table, places: Sequence[int] | Ints) -> list[Example]:
    """The examples of some rows."""
    rows = table.take(pa.array(places, pa.int64())).to_pylist()
    return [Example.from_record(row) for row in rows]


def prompt_text(example: Example) -> str:
    """The messages before the answer, as one text."""
    return "\n".join(message.content for message in example.prompt)


def fingerprint(example: Example) -> str:
    """Hash of an example's prompt and answer, white space collapsed: the same words, the same hash."""
    return _print(f"{prompt_text(example)}\n{example.messages[-1].content}")


def fingerprints(table: pa.Table) -> list[str]:
    """`fingerprint` of each row of a table of example.SCHEMA."""
    ends, messages = _messages(table)
    contents, supervised = messages.field("content").to_pylist(), messages.field("supervised").to_pylist()
    prints, start = [], 0
    for end in ends.tolist():
        answer = end
        if not supervised[end - 1]:
            answer = max((at + 1 for at in range(start, end) if supervised[at]), default=end + 1)
        prints.append(_print("\n".join([*contents[start : answer - 1], contents[end - 1]])))
        start = end
    return prints


def _print(text: str) -> str:
    return hashlib.sha256(" ".join(text.split()).encode()).hexdigest()


def _messages(table: pa.Table) -> tuple[Ints, pa.StructArray]:
    """Where the messages of each row end, and the messages of all rows one after the other."""
    column = table["messages"].combine_chunks()
    if isinstance(column, pa.ChunkedArray):  # of an empty table
        column = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
    ends = np.cumsum(pc.list_value_length(column).to_numpy(zero_copy_only=False).astype(np.int64))
    return ends, column.flatten()


def _fitted(table: pa.Table, changed: Mapping[int, Example], fit: Fit | None) -> _Fitted:
    fitted = _Fitted(replaced=dict(changed))
    if fit is None or not len(table):
        return fitted
    unsure = ~fit.surely(*_sizes(table)) if isinstance(fit, Bounded) else np.ones(len(table), bool)
    unsure[list(changed)] = True
    places = np.flatnonzero(unsure)
    read = examples_at(table, places)
    examples = [changed.get(place, example) for place, example in zip(places.tolist(), read, strict=True)]
    for place, example, (fitting, reason) in zip(places.tolist(), examples, fit(examples), strict=True):
        if fitting is None:
            fitted.rejected[place] = example, reason
            fitted.replaced.pop(place, None)
        elif fitting is not example:
            fitted.replaced[place] = fitting
        if fitting is not None and reason:
            fitted.shortened.append(place)
    return fitted


def _sizes(table: pa.Table) -> tuple[Ints, Ints]:
    """Bytes of the messages and the rejected answer of each row together, and the number of its messages."""
    ends, messages = _messages(table)
    total = np.zeros(len(messages) + 1, np.int64)
    np.cumsum(pc.binary_length(messages.field("content")).to_numpy(zero_copy_only=False), out=total[1:])
    starts = np.concatenate([[0], ends[:-1]])
    rejected = pc.binary_length(table["rejected"]).to_numpy().astype(np.int64)
    return total[ends] - total[starts] + rejected, ends - starts


def _kept(table: pa.Table, fitted: _Fitted) -> pa.Table:
    """The rows that are kept, with what replaces some of them."""
    if not fitted.replaced and not fitted.rejected:
        return table
    index, keep = np.arange(len(table)), np.ones(len(table), bool)
    index[list(fitted.replaced)] = len(table) + np.arange(len(fitted.replaced))
    keep[list(fitted.rejected)] = False
    both = pa.concat_tables([table, examples_table(list(fitted.replaced.values()))])
    return both.take(pa.array(index[keep])).combine_chunks()


def _count(counts: dict[str, int], name: str) -> None:
    counts[name] = counts.get(name, 0) + 1


def _over_long(example: Example, reason: str) -> dict[str, str]:
    text = {"prompt": prompt_text(example), "answer": example.messages[-1].content}
    values = (
        example.task,
        example.split,
        "length",
        reason,
        example.id,
        json.dumps(text, ensure_ascii=False),
    )
    return dict(zip(REJECTS.names, values, strict=True))
