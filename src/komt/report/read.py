"""Folders of runs, evaluations and judges, read side by side."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from komt.errors import DataError, MissingExtra
from komt.evaluate.show import has_answers, read_answers
from komt.evaluate.table import told_apart
from komt.judge.findings import Findings, findings

Row = dict[str, Any]
_SCORE_KEYS = {"model", "task", "metric", "value", "low", "high", "n"}
_JUDGED_KEYS = {"question": str, "model": str, "rubric": str, "judge": str}
_ASKED_KEYS = {"id": str, "model": str, "turns": list, "answers": list}
_VOTE_KEYS = {"prompt": str, "chosen": str, "rejected": str}
_HELD_OUT_KEYS = {"step": int, "task": object, "loss": float, "accuracy": float}


@dataclass(frozen=True)
class Folder:
    """What one folder holds.

    Attributes:
        label: its name, unlike all others.
        scores: rows of scores.json; answers: lines of answers-MODEL.jsonl, each with its `model`.
        judgements: lines of judgements.jsonl; judged: of answers.jsonl, the answers that were judged.
        log: lines of a training's log.jsonl; held_out: of its held_out.jsonl.
        manifest: of the training data, or None.
    """

    label: str
    path: Path
    scores: list[Row] = field(default_factory=list)
    answers: list[Row] = field(default_factory=list)
    judgements: list[Row] = field(default_factory=list)
    judged: list[Row] = field(default_factory=list)
    log: list[Row] = field(default_factory=list)
    held_out: list[Row] = field(default_factory=list)
    manifest: Row | None = None


@dataclass(frozen=True)
class Report:
    """Several folders; models of one name in two of them are called `LABEL: NAME`.

    A model whose same answers several judges scored keeps its name: that is how judges are compared.

    Attributes:
        scores, answers, judgements, judged: of all folders, under the names that tell models apart.
        votes: of people, `{prompt, chosen, rejected}`.
    """

    folders: tuple[Folder, ...]
    scores: list[Row]
    answers: list[Row]
    judgements: list[Row]
    judged: list[Row] = field(default_factory=list)
    votes: list[Row] = field(default_factory=list)

    @cached_property
    def findings(self) -> Findings | None:
        """Ranks, biases and agreement of judges; None where there is none, or a package is not installed."""
        try:
            return findings(self.judgements, self.judged, self.votes) if self.judgements else None
        except MissingExtra:
            return None

    @property
    def models(self) -> list[str]:
        """All models that have scores or were judged, in their order."""
        rows = (*self.scores, *self.judgements)
        return list(dict.fromkeys(str(row["model"]) for row in rows))


def read_report(paths: Sequence[Path], votes: Path | None = None) -> Report:
    """Read folders: runs, --out folders of `komt eval`, and folders of `komt judge`; and people's votes.

    Raises:
        DataError: a folder that holds nothing to report, or a broken file.
    """
    labels = _labels(paths)
    folders = tuple(_folder(path.expanduser(), label) for path, label in zip(paths, labels, strict=True))
    shared = Counter(
        model for one in folders for model in {row["model"] for row in (*one.scores, *one.judgements)}
    )
    for model in [model for model, count in shared.items() if count > 1 and _same_answers(folders, model)]:
        del shared[model]
    parts: dict[str, list[Row]] = {"scores": [], "answers": [], "judgements": [], "judged": []}
    for folder in folders:
        for name, rows in parts.items():
            rows += [_named(row, folder.label, shared) for row in getattr(folder, name)]
    if votes and not votes.expanduser().is_file():
        raise DataError(f"no such file: {votes}", cure="komt web writes votes.jsonl into the runs' folder")
    return Report(
        folders,
        told_apart(parts["scores"]),
        parts["answers"],
        parts["judgements"],
        # A second judge's folder holds the same answers again.
        list({(row["id"], row["model"]): row for row in parts["judged"]}.values()),
        _lines(votes.expanduser(), _VOTE_KEYS) if votes else [],
    )


def _same_answers(folders: Sequence[Folder], model: str) -> bool:
    """Whether a model stands in judges' folders alone, and judges of one rubric read the same answers."""
    found: dict[tuple[str, int], str] = {}
    judges: set[tuple[str, str]] = set()
    for folder in folders:
        own = [row for row in folder.judgements if row["model"] == model]
        if not own and model not in {row["model"] for row in folder.scores}:
            continue
        mine = {(str(row["judge"]), str(row["rubric"])) for row in own}
        if not own or mine & judges or any(row["model"] == model for row in folder.answers):
            return False
        judges |= mine
        for row in own:
            text = str(row.get("answer"))
            if found.setdefault((str(row["question"]), row.get("turn", 1)), text) != text:
                return False
    return True


def _named(row: Row, label: str, shared: Counter[str]) -> Row:
    def called(name: Any) -> Any:
        return f"{label}: {name}" if shared[name] > 1 else name

    named = {**row, "model": called(row["model"]), "folder": label}
    if row.get("other"):
        named["other"] = called(row["other"])
    if "gain" in row:
        named["gain"] = {called(other): gain for other, gain in row["gain"].items()}
    return named


def _labels(paths: Sequence[Path]) -> list[str]:
    """Names of folders; of a run's own report the run's; numbered where two are alike."""
    names = []
    for path in paths:
        whole = path.expanduser().resolve()
        names.append(whole.parent.name if whole.name == "report" and whole.parent.name else whole.name)
    seen: Counter[str] = Counter()
    labels = []
    for name in names:
        seen[name] += 1
        labels.append(f"{name} {seen[name]}" if names.count(name) > 1 else name)
    return labels


def _folder(path: Path, label: str) -> Folder:
    if not path.is_dir():
        raise DataError(
            f"no such folder: {path}", cure="give a run, or what komt eval --out or komt judge wrote"
        )
    run = path.parent if path.name == "report" and (path.parent / "recipe.yaml").is_file() else path
    place = next((at for at in (path, path / "report") if (at / "scores.json").is_file()), path)
    found = Folder(
        label,
        path,
        scores=_scores(place / "scores.json"),
        answers=read_answers(place) if has_answers(place) else [],
        judgements=_lines(place / "judgements.jsonl", _JUDGED_KEYS),
        judged=_lines(place / "answers.jsonl", _ASKED_KEYS),
        log=_lines(run / "train" / "log.jsonl", {"step": int}),
        held_out=_lines(run / "train" / "held_out.jsonl", _HELD_OUT_KEYS),
        manifest=_manifest(run / "data" / "manifest.json"),
    )
    if not (found.scores or found.judgements or found.log):
        raise DataError(
            f"nothing to report in {path}: no scores.json, no judgements.jsonl, no training log",
            cure="give a run's folder, or what komt eval --out or komt judge wrote",
        )
    return found


def _scores(path: Path) -> list[Row]:
    if not path.is_file():
        return []
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(rows, list) or not all(map(_is_score, rows)):
            raise ValueError
        return [{"unscored": 0, **row} for row in rows]
    except (ValueError, RecursionError) as error:
        raise DataError(
            "not the scores of an evaluation",
            where=str(path),
            cure="komt eval --out DIR and komt judge --out DIR write them anew",
        ) from error


def _is_score(row: Any) -> bool:
    """Whether a row has what tables and plots need, each of its kind."""
    if not isinstance(row, dict) or not set(row) >= _SCORE_KEYS:
        return False
    kinds = {
        **dict.fromkeys(("model", "task", "metric", "order", "by"), str),
        **dict.fromkeys(("unscored", "contaminated", "off_label"), int),
        **{"flags": list, "gain": dict, "limit": int | None, "other": str | None, "judge": str | None},
    }
    parts = [*row.get("gain", {}).values()] if isinstance(row.get("gain", {}), dict) else [None]
    parts += [row["clean"]] if "clean" in row else []
    return (
        all(isinstance(row[key], kind) for key, kind in kinds.items() if key in row)
        and _is_estimate(row, empty=True)
        and all(map(_is_estimate, parts))
    )


def _is_estimate(row: Any, *, empty: bool = False) -> bool:
    """Whether a mapping has a value with its interval and number of examples; or, if it may be, none."""
    if not isinstance(row, dict) or not {"value", "low", "high", "n"} <= set(row):
        return False
    bounds = [row[key] for key in ("value", "low", "high") if not empty or row[key] is not None]
    numbers = all(isinstance(number, int | float) and math.isfinite(number) for number in bounds)
    return numbers and isinstance(row["n"], int)


def _manifest(path: Path) -> Row | None:
    if not path.is_file():
        return None
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return found if isinstance(found.get("tasks"), dict) else None
    except (ValueError, AttributeError, RecursionError) as error:
        raise DataError("not the manifest of a build", where=str(path)) from error


def _lines(path: Path, keys: Mapping[str, type]) -> list[Row]:
    if not path.is_file():
        return []
    rows: list[Row] = []
    try:
        # Split at \n only: splitlines() also splits at U+2028 and U+0085, which may stand in an answer.
        lines = path.read_text(encoding="utf-8").rstrip("\n").split("\n")
    except UnicodeDecodeError as error:
        raise DataError(f"not UTF-8 text: {path.name}", where=f"{path}, byte {error.start}") from error
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            if not all(isinstance(row[key], kind) for key, kind in keys.items()):
                raise ValueError
        except (ValueError, LookupError, TypeError, RecursionError) as error:
            if number == len(lines) and path.name in {"log.jsonl", "held_out.jsonl"}:
                break  # being written just now
            raise DataError(f"not a line of {path.name}", where=f"{path}, line {number}") from error
        rows.append(row)
    return rows
