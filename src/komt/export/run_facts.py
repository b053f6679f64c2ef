"""What a run folder says of a model: recipe, data, training, scores. What it does not say stays unknown."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from komt.encodings import read_text
from komt.mix import Manifest, read_manifest
from komt.models.place import Place
from komt.recipe import Recipe, parse_recipe


@dataclass(frozen=True)
class Run:
    """A run folder's own words.

    Attributes:
        folder: the run's.
        recipe: resolved.
        manifest: of its data, or None where that was removed.
        training: train.json; loss: of the last logged step, or None.
        scores: rows of report/scores.json, as komt's contract has them.
    """

    folder: Path
    recipe: Recipe
    manifest: Manifest | None = None
    training: dict[str, Any] = field(default_factory=dict)
    loss: float | None = None
    scores: list[dict[str, Any]] = field(default_factory=list)

    @property
    def data(self) -> Path:
        """The folder of its data."""
        return self.folder / "data"


def run_of(place: Place) -> Run | None:
    """The run that a model lies in, or None where it lies elsewhere.

    Raises:
        UsageError: the run's recipe is not one that this version of komt reads.
    """
    trained = place.adapter or place.folder
    folder = trained.parent.parent
    path = folder / "recipe.yaml"
    if trained.parent.name != "train" or not path.is_file():
        return None
    return Run(
        folder,
        parse_recipe(yaml.safe_load(read_text(path)), str(path)),
        read_manifest(folder / "data") if (folder / "data" / "manifest.json").is_file() else None,
        _json(folder / "train" / "train.json", {}),
        _last_loss(folder / "train" / "log.jsonl"),
        _json(folder / "report" / "scores.json", []),
    )


def _json(path: Path, default: Any) -> Any:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else default


def _last_loss(path: Path) -> float | None:
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    return float(json.loads(lines[-1])["loss"]) if lines else None
