"""Message and Example: the one currency between stages."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from operator import attrgetter
from typing import Any

import pyarrow as pa

_as_json = json.JSONEncoder(ensure_ascii=False, sort_keys=True).encode


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation.

    Attributes:
        role: system, user or assistant.
        content: the text, NFC.
        supervised: whether the model is trained on this turn (assistant turns only).
    """

    role: str
    content: str
    supervised: bool = False

    def as_chat(self) -> dict[str, str]:
        """The form chat templates take."""
        return {"role": self.role, "content": self.content}


@dataclass(frozen=True, slots=True)
class Evidence:
    """Where the answer's support stands: `messages[message].content[start:end]`, in characters."""

    message: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Example:
    """One instruction example, from rendering to packing and scoring.

    Attributes:
        id: unique and stable: task, row and template.
        task: catalogue name of the task; family: its kind of work, such as extractive_qa.
        kind: kind of template: plain, passage_first, instruction_first, options, closed_book, inverted.
        source: catalogue name of the source; licence and origin (native, translated, generated): its own.
        split: train, dev or test, as the source says, or after `resplit`.
        template: the phrasing's id within its task.
        group: id of the passage that examples share, or "".
        messages: the conversation; supervised assistant turns are trained on.
        references: all right answers, the first being the one trained on.
        choices: the answers to choose from, in the order shown, or ().
        answer_index: place of the right one in `choices`, or None.
        evidence: the passage part that an over-long passage is shortened around, or None.
        chosen, rejected: answers of a preference pair, or "".
        metadata: anything else worth keeping, JSON values only.
    """

    id: str
    task: str
    family: str
    kind: str
    source: str
    licence: str
    origin: str
    split: str
    template: str
    group: str
    messages: tuple[Message, ...]
    references: tuple[str, ...] = ()
    choices: tuple[str, ...] = ()
    answer_index: int | None = None
    evidence: Evidence | None = None
    chosen: str = ""
    rejected: str = ""
    metadata: dict[str, Any] = field(default_factory=dict)

    @property
    def prompt(self) -> tuple[Message, ...]:
        """The messages before the last supervised turn: what serving would be given."""
        last = max((i for i, m in enumerate(self.messages) if m.supervised), default=len(self.messages))
        return self.messages[:last]

    def as_record(self) -> dict[str, Any]:
        """The Parquet row (see SCHEMA)."""
        record = {name: getattr(self, name) for name in SCHEMA.names}
        record["messages"] = [
            {"role": m.role, "content": m.content, "supervised": m.supervised} for m in self.messages
        ]
        record["references"], record["choices"] = list(self.references), list(self.choices)
        if self.evidence is not None:
            at = self.evidence
            record["evidence"] = {"message": at.message, "start": at.start, "end": at.end}
        record["metadata"] = _as_json(self.metadata)
        return record

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> Example:
        """The inverse of `as_record`; unknown columns are ignored."""
        values = {name: record[name] for name in SCHEMA.names if name in record}
        values["messages"] = tuple(Message(**message) for message in record["messages"])
        values["references"], values["choices"] = tuple(record["references"]), tuple(record["choices"])
        values["evidence"] = Evidence(**record["evidence"]) if record["evidence"] else None
        values["metadata"] = json.loads(record["metadata"])
        return cls(**values)


SCHEMA = pa.schema(
    [
        *[(name, pa.string()) for name in ("id", "task", "family", "kind", "source", "licence", "origin")],
        *[(name, pa.string()) for name in ("split", "template", "group")],
        (
            "messages",
            pa.list_(
                pa.struct([("role", pa.string()), ("content", pa.string()), ("supervised", pa.bool_())])
            ),
        ),
        ("references", pa.list_(pa.string())),
        ("choices", pa.list_(pa.string())),
        ("answer_index", pa.int32()),
        ("evidence", pa.struct([("message", pa.int32()), ("start", pa.int32()), ("end", pa.int32())])),
        ("chosen", pa.string()),
        ("rejected", pa.string()),
        ("metadata", pa.string()),
    ]
)


def examples_table(examples: Sequence[Example]) -> pa.Table:
    """Examples as a table of SCHEMA: the columns of their `as_record`, built column by column for speed."""
    messages = [message for example in examples for message in example.messages]
    offsets = pa.array([0, *accumulate(len(example.messages) for example in examples)], pa.int32())
    parts = pa.StructArray.from_arrays(
        [
            pa.array([message.role for message in messages], pa.string()),
            pa.array([message.content for message in messages], pa.string()),
            pa.array([message.supervised for message in messages], pa.bool_()),
        ],
        fields=list(SCHEMA.field("messages").type.value_type),
    )
    evidence = [
        {"message": at.message, "start": at.start, "end": at.end} if (at := example.evidence) else None
        for example in examples
    ]
    special = {
        "messages": pa.ListArray.from_arrays(offsets, parts),
        "evidence": pa.array(evidence, SCHEMA.field("evidence").type),
        "metadata": pa.array(
            [_as_json(example.metadata) if example.metadata else "{}" for example in examples],
            pa.string(),
        ),
    }
    columns = [
        special[field.name]
        if field.name in special
        else pa.array(list(map(attrgetter(field.name), examples)), field.type)
        for field in SCHEMA
    ]
    return pa.Table.from_arrays(columns, schema=SCHEMA)
