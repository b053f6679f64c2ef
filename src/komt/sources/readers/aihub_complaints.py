"""AIHub 71844, instructions about civil complaints: `{info, taskinfo}`, one object a file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from komt.sources.readers import Content, Reader, ReaderOptions, Rejected, Row, row_or_rejected, short_hash
from komt.sources.readers.json_objects import json_objects, objects_in, texts


class Options(ReaderOptions):
    """The encoding, when it is not recognised."""

    encoding: str = ""


def read(content: Content, options: Options) -> Iterator[Row | Rejected]:
    """One row an instruction; fields `instruction, input` ("" where the instruction is the question itself),
    `output, case, group` (of the input).

    Raises:
        DataError: broken JSON, or a file of another shape.
    """
    for found in json_objects(content, ("taskinfo",), encoding=options.encoding):
        if isinstance(found, Rejected):
            yield found
            continue
        where, item = found
        for number, task in enumerate(objects_in(item["taskinfo"]), start=1):
            yield _instruction(task, f"{where}.{number}")


def _instruction(task: dict[str, Any], where: str) -> Row | Rejected:
    values = {key: "\n".join(texts(task.get(key))) for key in ("instruction", "input", "output")}
    values["case"] = str(task.get("instruction_case") or "").strip()
    values["group"] = short_hash(values["input"]) if values["input"] else ""
    empty = next((key for key in ("instruction", "output") if not values[key]), "")
    return Rejected(f"empty_{empty}", where, values) if empty else row_or_rejected(values, where)


READER = Reader(Options, read)
