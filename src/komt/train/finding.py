"""What a check finds: an error that would spoil the training, or a warning."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from komt.errors import DataError, KomtError, ModelError


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that a person should know before training.

    Attributes:
        level: "error" (it would spoil the training) or "warning".
        what, where, cure: as in `KomtError`.
        about: "data" or "model".
    """

    level: Literal["error", "warning"]
    what: str
    where: str = ""
    cure: str = ""
    about: Literal["data", "model"] = "data"


def stop_if_spoiled(findings: Sequence[Finding]) -> None:
    """One message with everything that would spoil the training.

    Raises:
        DataError: the rows are at fault.
        ModelError: the tokenizer or its template is.
    """
    errors = [finding for finding in findings if finding.level == "error"]
    if not errors:
        return
    kind: type[KomtError] = DataError if errors[0].about == "data" else ModelError
    if len(errors) == 1:
        raise kind(errors[0].what, where=errors[0].where, cure=errors[0].cure)
    lines = [f"  - {error.what}" + (f" ({error.where})" if error.where else "") for error in errors]
    cures = dict.fromkeys(error.cure for error in errors if error.cure)
    raise kind("the training would be spoiled:\n" + "\n".join(lines), cure="; ".join(cures))


def first_row(task: str, example: str) -> str:
    """Where the first of the rows at fault is."""
    return f"task {task}, example {example}, the first"


def rows_that(count: int, one: str, many: str) -> str:
    """`1 row holds`, `2 rows hold`."""
    return f"{count:,} row {one}" if count == 1 else f"{count:,} rows {many}"
