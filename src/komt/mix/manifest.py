"""The manifest: what a build read, kept and rejected, by task, stage and reason."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from komt.errors import DataError
from komt.mix.parts import about_part


class Evaluation(BaseModel):
    """The evaluation rows of a task: examples + rejected = read."""

    split: str
    read: int = 0
    examples: int = 0
    shortened: int = 0
    rejected: dict[str, dict[str, int]] = Field(default_factory=dict)


class TaskCounts(BaseModel):
    """The training rows of a task: examples + rejected = read.

    Attributes:
        splits: examples in the data, by split; templates: training examples by phrasing.
        rejected: stage -> reason -> number; cleaned: what was mended -> number of rows.
        conflicts: inputs that are given several labels.
        evaluation: the evaluation rows, or None where the source has none here.
    """

    examples: int = 0
    read: int = 0
    shortened: int = 0
    source: str
    family: str = ""
    licence: str
    origin: str
    splits: dict[str, int] = Field(default_factory=dict)
    templates: dict[str, int] = Field(default_factory=dict)
    kinds: dict[str, int] = Field(default_factory=dict)
    rejected: dict[str, dict[str, int]] = Field(default_factory=dict)
    cleaned: dict[str, int] = Field(default_factory=dict)
    conflicts: int = 0
    evaluation: Evaluation | None = None


class Manifest(BaseModel):
    """What `manifest.json` says; readers ignore keys they do not know.

    Attributes:
        examples: training examples; tasks: counts by task.
        resplit: sources whose official evaluation set was redivided; comparable: whether scores may be
            compared with published results (False once a source is redivided).
        terms: source -> terms that bar handing its data on.
        held_out: task -> why it does not train though it is named; absent: task -> why its rows are not here.
        inputs: file, as `source/path`, -> SHA-256; version: of the build stage.
    """

    model_config = ConfigDict(extra="ignore")

    examples: int
    tasks: dict[str, TaskCounts]
    seed: int
    resplit: list[str]
    comparable: bool
    note: str = ""
    licences: list[str]
    terms: dict[str, str] = Field(default_factory=dict)
    held_out: dict[str, str] = Field(default_factory=dict)
    absent: dict[str, str] = Field(default_factory=dict)
    inputs: dict[str, str]
    version: int

    def as_json(self) -> str:
        """The file's text."""
        return json.dumps(self.model_dump(mode="json"), ensure_ascii=False, indent=1) + "\n"


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a data folder.

    Raises:
        DataError: no data folder, with what makes one.
    """
    path = folder / "manifest.json"
    if not path.is_file():
        raise DataError(
            f"no manifest.json in {folder}", cure="build the data first: komt build RECIPE --out DIR"
        )
    return Manifest.model_validate_json(path.read_text(encoding="utf-8"))


def counted(parts: Iterable[Path]) -> dict[str, dict[str, dict[str, int]]]:
    """What the final parts say they hold: task -> what is counted -> name -> number."""
    sums: dict[str, dict[str, dict[str, int]]] = {}
    for part in parts:
        for task, kinds in about_part(part)["tasks"].items():
            for kind, counts in kinds.items():
                total = sums.setdefault(task, {}).setdefault(kind, {})
                for name, n in counts.items():
                    total[name] = total.get(name, 0) + n
    return {
        task: {kind: dict(sorted(n.items())) for kind, n in kinds.items()} for task, kinds in sums.items()
    }
