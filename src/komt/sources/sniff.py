"""Sniff: what a file, folder or archive holds, as the declaration of a source, verified by reading it."""

from __future__ import annotations

import itertools
import json
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from komt.encodings import missing_file
from komt.errors import DataError
from komt.files import sha256
from komt.sources.answers import refuse_stand_in
from komt.sources.read import read_rows
from komt.sources.readers import Rejected
from komt.sources.readers.archive import contents_of, is_archive
from komt.sources.readers.auto import binary_format
from komt.sources.readers.content import Content
from komt.sources.sniff_json import json_reader
from komt.sources.sniff_text import sniff_text
from komt.sources.source import Source

_LINES = 50_000
_SAMPLES = 3
_NAMED = 5
_SPLITS = (("train", r"train|학습|훈련"), ("dev", r"valid|dev|검증"), ("test", r"test|eval|평가|시험"))
_LANGUAGES = ("ko", "kor", "nk", "en", "eng", "fr", "ja", "zh", "de", "es", "vi")
_SUFFIXES = {".json", ".jsonl", ".csv", ".tsv", ".txt", ".xlsx", ".parquet"}


@dataclass
class Sniffed:
    """What was found.

    Attributes:
        declaration: the keys of a source's YAML.
        encodings: of the contents looked at; "" where it is no text.
        remarks: what a person should know.
        rows, rejected: counts from reading all of it so, by split and by reason.
        columns: field -> three different values.
    """

    path: Path
    declaration: dict[str, Any]
    encodings: tuple[str, ...]
    remarks: list[str]
    rows: dict[str, int] = field(default_factory=dict)
    rejected: dict[str, dict[str, int]] = field(default_factory=dict)
    columns: dict[str, list[str]] = field(default_factory=dict)


def sniff(path: Path) -> Sniffed:
    """What a path holds, verified by reading the whole of it with the declaration.

    Raises:
        DataError: no such path, nothing to read in it, no known format, undecodable bytes (with their place),
            or a file that cannot be read as it seems to be written.
    """
    path = Path(path).expanduser()
    files, contents, remarks = _files(path)
    if languages := [entry["beside"] for entry in files if "beside" in entry]:
        names = [files[0]["member"], *languages[0]]
        reader = {"format": "parallel", "fields": [name.rpartition(".")[2] for name in names]}
        more: list[str] = []
    else:
        reader, more = reader_of(contents[0])
    found = Sniffed(
        path,
        {
            "name": _name(path),
            "title": unicodedata.normalize("NFC", path.name),
            "licence": "own",
            "origin": "native",
            "reader": reader,
            "files": files,
        },
        tuple(dict.fromkeys(_encoding(content, reader) for content in contents[:100])),
        [*remarks, *more],
    )
    _verify(found)
    return found


def _files(path: Path) -> tuple[list[dict[str, Any]], list[Content], list[str]]:
    """The entries under `files`, contents to look at, and remarks."""
    if path.is_dir():
        if any((path / name).is_file() for name in ("dataset_dict.json", "state.json")):
            return [{"path": str(path.resolve()), "split": "train"}], [Content(path)], []
    else:
        missing_file(path)
        if not is_archive(path.name):
            entry = {"path": str(path.resolve()), "split": split_named(path.name) or "train"}
            return [{**entry, "sha256": sha256(path)}], [Content(path)], []
    groups: dict[str, list[Content]] = {}
    for content in contents_of(path):
        suffix = PurePosixPath(content.label.removesuffix(".gz")).suffix.lower()
        groups.setdefault(suffix, []).append(content)
    if pairs := _language_pairs(path, [content for group in groups.values() for content in group]):
        return pairs
    known = [suffix for suffix in groups if suffix in _SUFFIXES]
    if not known:
        raise DataError("no file with data in it", where=str(path), cure="name the file itself")
    chosen = max(known, key=lambda suffix: sum(content.size or 1 for content in groups[suffix]))
    # Those that hold data first.
    kinds = sorted(groups.keys() - {chosen}, key=lambda suffix: (suffix not in _SUFFIXES, suffix == ".txt"))
    others = [content for suffix in kinds for content in groups[suffix]]
    return _members(path, groups[chosen], chosen), groups[chosen], _left_out(others)


def _left_out(contents: list[Content]) -> list[str]:
    """A remark that names files which the declaration does not read."""
    if not contents:
        return []
    names = ", ".join(content.label for content in contents[:_NAMED])
    more = f" and {len(contents) - _NAMED:,} more" if len(contents) > _NAMED else ""
    many = f"{len(contents):,} files of other kinds are" if contents[1:] else "1 file of another kind is"
    return [f"{many} left out: {names}{more}; where one holds data, check it by itself"]


def _language_pairs(
    path: Path, contents: list[Content]
) -> tuple[list[dict[str, Any]], list[Content], list[str]] | None:
    """Entries for files that differ in the language alone: NAME.ko and NAME.en."""
    names: dict[str, dict[str, Content]] = {}
    for content in contents:
        stem, _, language = content.label.rpartition(".")
        if language.lower() in _LANGUAGES:
            names.setdefault(stem, {})[language] = content
    pairs = {stem: found for stem, found in names.items() if len(found) > 1}
    if not pairs:
        return None
    entries, first = [], []
    for stem, found in sorted(pairs.items()):
        languages = sorted(found, key=lambda language: (_LANGUAGES.index(language.lower()), language))
        own, *others = (f"{stem.rpartition('/')[2]}.{language}" for language in languages)
        split = split_named(own) or "train"
        entries.append({"path": str(path.resolve()), "split": split, "member": own, "beside": others})
        first += [found[language] for language in languages]
    read = set(map(id, first))
    return entries, first, _left_out([content for content in contents if id(content) not in read])


def _members(path: Path, contents: list[Content], suffix: str) -> list[dict[str, Any]]:
    """One entry for each split that the names of files or folders tell."""
    spot = str(path.resolve())
    patterns: dict[str, dict[str, None]] = {}
    for content in contents:
        parts = content.label.split("/")
        at = next((at for at in range(len(parts) - 1, -1, -1) if split_named(parts[at])), -1)
        split = split_named(parts[at]) if at >= 0 else "train"
        pattern = f"{parts[at]}/**/*{suffix}" if 0 <= at < len(parts) - 1 else parts[-1]
        patterns.setdefault(split, {})[pattern if at >= 0 else f"*{suffix}"] = None
    return [
        {"path": spot, "split": split, "member": pattern}
        for split in ("train", "dev", "test")
        for pattern in patterns.get(split, {})
    ]


def split_named(name: str) -> str:
    """The split that a name tells, or ""."""
    text = unicodedata.normalize("NFC", name).casefold()
    return next((split for split, words in _SPLITS if re.search(rf"(?<![a-z])(?:{words})", text)), "")


def _name(path: Path) -> str:
    stem = unicodedata.normalize("NFC", path.name).partition(".")[0] or "own"
    return re.sub(r"[^\w-]+", "-", stem).strip("-").lower() or "own"


def _encoding(content: Content, reader: dict[str, Any]) -> str:
    return "" if reader["format"] in {"xlsx", "parquet", "hub"} else content.encoding()


def reader_of(content: Content) -> tuple[dict[str, Any], list[str]]:
    """The reader for a content, with its options, and remarks.

    Raises:
        DataError: no known format, empty, or undecodable.
    """
    if content.path.is_dir() and not content.opener:
        return {"format": "hub"}, []
    with content.named(), closing(content.open()) as stream:
        head = stream.read(4096)
    refuse_stand_in(head, content.label, str(content))
    if binary := binary_format(content):
        return {"format": binary}, []
    encoding = content.encoding()
    if not encoding:
        content.text()  # raises, with the byte
        raise DataError("text in no known encoding", where=str(content))
    if content.head(encoding).lstrip()[:1] in {"{", "["}:
        return json_reader(content)
    lines = list(itertools.islice(content.lines(encoding), _LINES))
    if not any(line.strip() for line in lines):
        content.read()
    reader, remarks = sniff_text(lines, whole=len(lines) < _LINES)
    if encoding == "utf-16-le" or encoding == "utf-16-be":
        remarks.append("UTF-16 without a byte order mark")
    return reader, remarks


def _verify(found: Sniffed) -> None:
    """Read everything as declared; count, and keep some values of every field."""
    source = Source.model_validate(found.declaration)
    nested: dict[str, str] = {}
    for split in source.splits:
        reasons: Counter[str] = Counter()
        rows = 0
        for row in read_rows(source, split):
            rows += 1
            if isinstance(row, Rejected):
                reasons[row.reason] += 1
            else:
                _sample(found.columns, row, nested)
        found.rows[split] = rows
        if reasons:
            found.rejected[split] = dict(reasons)
    if nested:
        inside = ", ".join(f"{path.rpartition('.')[2]}: {path}" for path in list(nested.values())[:3])
        found.remarks.append(
            f"values inside others become fields with format: json and pick: {{{inside}, …}}"
        )


def _sample(columns: dict[str, list[str]], row: dict[str, Any], nested: dict[str, str]) -> None:
    for name, value in row.items():
        if name == "id":
            continue
        samples = columns.setdefault(name, [])
        if len(samples) < _SAMPLES and (text := _shown(value)) and text not in samples:
            samples.append(text)
        if isinstance(value, dict) and name not in nested and (path := next(_leaves(value, name), "")):
            nested[name] = path


def _leaves(value: Any, path: str) -> Iterator[str]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _leaves(item, f"{path}.{key}")
    elif not isinstance(value, list):
        yield path


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    text = " ".join(text.split())
    return text if len(text) <= 40 else f"{text[:39]}…"
