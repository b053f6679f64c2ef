"""Which of the evaluated examples stand in training data."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from komt.encodings import encoding_of
from komt.errors import DataError
from komt.evaluate.asked import Asked
from komt.mix import fingerprint
from komt.mix.contamination import EvaluationIndex
from komt.mix.duplicates import words_of_all
from komt.tasks import UnusableRow, render, with_derived

_ROWS = 8192


@dataclass(frozen=True, slots=True)
class Trained:
    """What a model was trained on, as files.

    Attributes:
        prints: `fingerprints.parquet` of a build, or None.
        texts: `train.parquet` of a build, or JSON Lines of any form, or None.
        seed: of the build's phrasings.
    """

    prints: Path | None
    texts: Path | None
    seed: int = 0


def trained_of(model: str) -> Trained | None:
    """The data of the run that a model folder (run, adapter or model in a run) belongs to, if any."""
    folder = Path(model).expanduser()
    for place in (folder, *folder.parents[:2]):
        if (place / "data" / "fingerprints.parquet").is_file():
            return trained_at(place / "data")
    return None


def trained_at(path: Path) -> Trained:
    """Training data that a person names: a run or a build's folder, a Parquet file of one, or JSON Lines.

    Raises:
        DataError: none of these.
    """
    folder = path / "data" if (path / "data").is_dir() else path
    if folder.is_dir():
        prints, texts = folder / "fingerprints.parquet", folder / "train.parquet"
        if prints.is_file() or texts.is_file():
            return Trained(_if_there(prints), _if_there(texts), _seed(folder))
    elif path.suffix == ".parquet" and path.is_file():
        names = set(pq.read_schema(path).names)
        if "fingerprint" in names:
            return Trained(path, None, _seed(path.parent))
        if "messages" in names:
            return Trained(None, path, _seed(path.parent))
    elif path.suffix in {".jsonl", ".json"} and path.is_file():
        return Trained(None, path)
    raise DataError(
        f"no training data at {path}",
        cure="give a run's folder, a folder that `komt build` wrote, its train.parquet, or JSON Lines",
    )


def contaminated(asked: Sequence[Asked], trained: Trained) -> list[list[bool]]:
    """For each example whether it stands in the training data.

    It does when a training example has the same words in prompt and answer, in whatever phrasing of the
    task, or when a training text holds what the row asks: 13 words in a row of it, or all of 8 to 12 words
    (Brown et al. 2020, appendix C, as builds leave out what evaluation asks).

    Raises:
        DataError: a file that cannot be read.
    """
    flags = [[False] * len(one.examples) for one in asked]
    for number, place in (*_by_print(asked, trained), *_by_text(asked, trained)):
        flags[number][place] = True
    return flags


def _by_print(asked: Sequence[Asked], trained: Trained) -> Iterator[tuple[int, int]]:
    if trained.prints is None:
        return
    owners: dict[str, list[tuple[int, int]]] = {}
    for number, one in enumerate(asked):
        for place in range(len(one.examples)):
            for mark in _prints_of(one, place, {one.seed, trained.seed}):
                owners.setdefault(mark, []).append((number, place))
    wanted = pa.array(list(owners), pa.string())
    for batch in pq.ParquetFile(trained.prints).iter_batches(1 << 18, columns=["fingerprint"]):
        column = batch.column(0)
        for mark in column.filter(pc.is_in(column, value_set=wanted)).to_pylist():
            yield from owners[mark]


def _prints_of(one: Asked, place: int, seeds: Iterable[int]) -> set[str]:
    """Fingerprints of an example in every phrasing of its task."""
    row, found = one.rows[place], {fingerprint(one.examples[place])}
    derived = with_derived(one.whole, row)
    for template in one.whole.templates:
        for seed in seeds if template.fits(derived) else ():
            with suppress(UnusableRow):
                found.add(fingerprint(render(one.whole, row, seed, template=template)))
    return found


def _by_text(asked: Sequence[Asked], trained: Trained) -> Iterator[tuple[int, int]]:
    if trained.texts is None:
        return
    # Of rows that ask the same an index finds only the first: so each text stands for all its owners.
    owners: dict[str, list[tuple[int, int]]] = {}
    for number, one in enumerate(asked):
        for place, text in enumerate(one.inputs):
            owners.setdefault(" ".join(text.split()), []).append((number, place))
    # One index a text: an index names one owner a training text, and a text may hold several.
    left = dict(enumerate(owners))
    while left:
        index = EvaluationIndex.build(("", str(name), text) for name, text in left.items())
        found = {int(name) for name in _held(index, trained.texts)}
        for name in found:
            yield from owners[left.pop(name)]
        if not found:
            return


def _held(index: EvaluationIndex, path: Path) -> Iterator[str]:
    for texts in _texts(path):
        for _, name in index.find_all(words_of_all(texts)).values():
            yield name


def _texts(path: Path) -> Iterator[list[str]]:
    """The training texts, in chunks."""
    if path.suffix == ".parquet":
        for batch in pq.ParquetFile(path).iter_batches(_ROWS, columns=["messages"]):
            yield ["\n".join(turn["content"] for turn in turns) for turns in batch.column(0).to_pylist()]
        return
    chunk: list[str] = []
    empty = True
    for row in _rows(path):
        empty = False
        chunk.append("\n".join(_strings(row)))
        if len(chunk) == _ROWS:
            yield chunk
            chunk = []
    if empty:
        raise DataError(
            "the training data is empty", where=str(path), cure="write into it, or name other data"
        )
    yield chunk


def _rows(path: Path) -> Iterator[Any]:
    """The rows of a JSON Lines file, or of one JSON list, in whatever encoding is recognised."""
    with path.open("rb") as stream:
        encoding = encoding_of(stream) or "utf-8"
    number = 0
    try:
        with path.open(encoding=encoding) as file:
            if path.suffix == ".json" and file.read(1) == "[":
                file.seek(0)
                yield from json.load(file)
                return
            file.seek(0)
            for line in file:
                number += 1
                if line.strip():
                    yield json.loads(line)
    except UnicodeDecodeError as error:
        raise DataError(f"not {encoding} text", where=str(path), cure="save it as UTF-8") from error
    except (ValueError, RecursionError) as error:
        place = f"{path}, line {number}" if number else str(path)
        raise DataError("not JSON Lines", where=place, cure="one JSON object a line, or one list") from error


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _strings(item)


def _if_there(path: Path) -> Path | None:
    return path if path.is_file() else None


def _seed(folder: Path) -> int:
    try:
        return int(json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["seed"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0
