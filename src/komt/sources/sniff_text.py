"""Sniff text: how a table or tagged text is written, read off its content."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

_DELIMITERS = ",\t;|"
_COMMENTS = ("##", "#", "//")
_TAG = re.compile(r"O|[BIESLU]-\S+|\S+-[BIESLU]")
_NUMBER = re.compile(r"[+-]?\d+(?:[.,]\d+)*%?")
_HEADER_WORD = re.compile(
    r"\ufeff?(?:[a-z]*id|no|idx|index|label|text|sentence[12]?|question[12]?|answer|title|content|comments?"
    r"|date|score|category|class|type|topic|source|target|ko|en|document|review|premise|hypothesis|instruction|input"
    r"|output|번호|문장|질문|답변?|라벨|제목|내용|본문|분류|날짜|점수|원문|번역문|문의|요약)",
    re.IGNORECASE,
)
_DEPENDENCY = {
    6: ("index", "word", "lemma", "pos", "head", "relation"),
    10: ("index", "word", "lemma", "pos", "xpos", "feats", "head", "relation", "deps", "misc"),
}


@dataclass(frozen=True)
class Fit:
    """How well a table fits a way of writing: records, the usual width, and the share that has it."""

    delimiter: str
    quoting: str
    records: tuple[tuple[str, ...], ...]
    width: int
    share: float


def sniff_text(lines: Iterable[str], whole: bool) -> tuple[dict[str, Any], list[str]]:
    """The reader that text is for, with its options, and remarks on what was seen.

    Args:
        lines: of the file, all or the first ones.
        whole: whether these are all.
    """
    found = [line.rstrip("\r\n") for line in lines]
    comment = _comment(found)
    kept = [line for line in found if not (comment and line.startswith(comment))]
    tagged = _blocks(kept)
    if tagged is None:
        tagged = _tagged_lines(kept)
    if tagged is not None:
        return {"format": "conll", **tagged, **({"comment": comment} if comment else {})}, []
    fit = _best_fit(kept, whole)
    if (
        not fit
        or len(fit.records) < 2
        or fit.share < (0.5 if looks_like_header(fit.records[0], _even(fit)) else 0.95)
    ):
        reader, remarks = _one_column(kept)
    else:
        reader, remarks = _table(fit)
    if reader["quoting"] == "none" and (remark := _open_quote(found, comment)):
        remarks.append(remark)
    return {**reader, **({"comment": comment} if comment else {})}, remarks


def _one_column(lines: list[str]) -> tuple[dict[str, Any], list[str]]:
    rows = [(line,) for line in lines if line.strip()]
    reader: dict[str, Any] = {"format": "csv", "delimiter": "\t", "quoting": "none"}
    if not (rows and _HEADER_WORD.fullmatch(rows[0][0].strip())):
        reader |= {"header": False, "columns": ["text"]}
    return reader, ["one column: a line is a row"]


def _open_quote(lines: list[str], comment: str) -> str:
    """What to say where nearly all lines are properly quoted, and one breaks it; else ""."""
    quoted = [
        (number, line)
        for number, line in enumerate(lines, start=1)
        if '"' in line and not (comment and line.startswith(comment))
    ]
    for delimiter in _DELIMITERS:
        opened = [(number, line) for number, line in quoted if f'{delimiter}"' in f"{delimiter}{line}"]
        widths = Counter(width for _, line in opened if (width := _width(line, delimiter)) > 1)
        if not widths:
            continue
        width, good = widths.most_common(1)[0]
        bad = [number for number, line in opened if _width(line, delimiter) != width]
        if bad and good >= 3 and good >= 0.8 * len(opened):
            return (
                f"line {bad[0]:,} opens a quote that is not closed as in the other lines ({good:,} of"
                f" {len(opened):,} with quotes are right): quotes are taken for letters; mend it, check again"
            )
    return ""


def _width(line: str, delimiter: str) -> int:
    """How many cells a line has with quoting; 0 where it is no whole record."""
    try:
        return len(next(csv.reader([line], delimiter=delimiter, strict=True)))
    except csv.Error:
        return 0


def _comment(lines: list[str]) -> str:
    """What opens the comments: a mark at the very first line, and of few lines in all."""
    first = next((line for line in lines if line.strip()), "")
    mark = next((mark for mark in _COMMENTS if first.startswith(mark)), "")
    return mark if mark and sum(line.startswith(mark) for line in lines) * 2 < len(lines) else ""


def _blocks(lines: list[str]) -> dict[str, Any] | None:
    """Tokens line by line, with blank lines between sentences."""
    rows = [line.split("\t") for line in lines if line.strip("\r\n")]
    if not any(not line for line in lines[:-1]) or not rows:
        return None
    width, count = Counter(map(len, rows)).most_common(1)[0]
    if width < 2 or count < 0.98 * len(rows):
        return None
    rows = [row for row in rows if len(row) == width]
    if width == 2 and all(_TAG.fullmatch(row[1].strip()) for row in rows):
        letters = sum(len(row[0]) == 1 for row in rows) > 0.95 * len(rows)
        return {"join": ""} if letters else {}
    numbered = all(row[0].strip().isdecimal() for row in rows)
    return {"columns": list(_DEPENDENCY[width])} if numbered and width in _DEPENDENCY else None


def _tagged_lines(lines: list[str]) -> dict[str, Any] | None:
    """A sentence and its tags a line."""
    rows = [line for line in lines if line.strip()]
    for delimiter in "\t,":
        fits = [_is_tagged(line, delimiter) for line in rows]
        if sum(fits[1:]) > 0.98 * len(fits[1:]) > 0 and any(
            " " in line.rpartition(delimiter)[2] for line in rows
        ):
            options: dict[str, Any] = {"layout": "lines"}
            options |= {} if delimiter == "\t" else {"delimiter": delimiter}
            return options if fits[0] else options | {"header": True}
    return None


def _is_tagged(line: str, delimiter: str) -> bool:
    sentence, _, tags = line.rpartition(delimiter)
    kinds = tags.split()
    return bool(kinds) and len(sentence.split()) == len(kinds) and all(map(_TAG.fullmatch, kinds))


def _best_fit(lines: list[str], whole: bool) -> Fit | None:
    """The delimiter that splits the records most evenly, with or without quoting."""
    fits = [fit for delimiter in _DELIMITERS if (fit := _fit(lines, delimiter, whole))]
    good = [fit for fit in fits if fit.share > 0.9] or fits
    # Even first; of the even ones the widest; a comma is the commonest of all.
    return max(good, key=lambda fit: (round(fit.share, 2), fit.width), default=None)


def _fit(lines: list[str], delimiter: str, whole: bool) -> Fit | None:
    plain = _measured(delimiter, "none", [line.split(delimiter) for line in lines if line.strip()])
    quoted = None
    if any('"' in line for line in lines):
        quoted = _measured(delimiter, "standard", _quoted_records(lines, delimiter, whole))
    elif plain and delimiter != "\t":
        return Fit(delimiter, "standard", plain.records, plain.width, plain.share)
    if not quoted or not plain:
        return quoted or plain
    if plain.share == 1 and (len(quoted.records) < len(plain.records) or quoted.records == plain.records):
        return plain if delimiter == "\t" or quoted.records != plain.records else quoted
    return plain if plain.share > quoted.share else quoted


def _quoted_records(lines: list[str], delimiter: str, whole: bool) -> list[list[str]]:
    csv.field_size_limit(1 << 30)
    found: list[list[str]] = []
    try:
        for cells in csv.reader((f"{line}\n" for line in lines), delimiter=delimiter, strict=True):
            if any(cell.strip() for cell in cells):
                found.append(cells)
    except csv.Error as error:
        # The last record of a part of a file may be cut.
        if whole or "unexpected end of data" not in str(error):
            return []
    return found


def _measured(delimiter: str, quoting: str, records: list[list[str]]) -> Fit | None:
    if not records:
        return None
    width, count = Counter(map(len, records)).most_common(1)[0]
    if width < 2:
        return None
    return Fit(delimiter, quoting, tuple(map(tuple, records)), width, count / len(records))


def _table(fit: Fit) -> tuple[dict[str, Any], list[str]]:
    reader: dict[str, Any] = {"format": "csv", "delimiter": fit.delimiter, "quoting": fit.quoting}
    remarks = []
    first, rest = fit.records[0], _even(fit)
    header = len(first) == fit.width and looks_like_header(first, rest)
    if not header:
        empty = {at for at in range(fit.width) if not any(row[at].strip() for row in rest)}
        names = ["" if at in empty else f"column{at + 1}" for at in range(fit.width)]
        reader |= {"header": False, "columns": names}
        remarks.append("no header: name the columns yourself")
    elif "" in [cell.strip() for cell in first]:
        remarks.append("a column without a name is left out")
    shorter = sum(len(row) < fit.width for row in fit.records)
    wider = sum(len(row) > fit.width for row in fit.records)
    if shorter:
        reader["pad"] = True
        remarks.append(f"{shorter:,} records are too short: filled with empty cells")
    if wider:
        names = [cell.strip() for cell in first] if header else reader["columns"]
        longest = max(range(fit.width), key=lambda at: sum(len(row[at]) for row in rest))
        reader["spill"] = names[longest]
        remarks.append(f"{wider:,} records are too wide: the surplus goes to {names[longest]}")
    return reader, remarks


def _even(fit: Fit) -> list[tuple[str, ...]]:
    """The records after the first that have the usual width."""
    return [row for row in fit.records[1:] if len(row) == fit.width]


def looks_like_header(first: tuple[str, ...], rest: list[tuple[str, ...]]) -> bool:
    """Whether a table's first record names its columns."""
    cells = [cell.strip() for cell in first]
    named = [cell for cell in cells if cell]
    words = sum(bool(_HEADER_WORD.fullmatch(cell)) for cell in named)
    if not named or len(set(named)) < len(named):
        return False
    if words >= 2:
        return True
    if any(_NUMBER.fullmatch(cell) for cell in named):
        return False
    if words:
        return True
    sample = rest[:200]
    for at, cell in enumerate(cells):
        column = [row[at].strip() for row in sample if row[at].strip()]
        if column and sum(bool(_NUMBER.fullmatch(value)) for value in column) > 0.9 * len(column):
            return True
        if cell and column.count(cell) > 1:
            return False
    identifiers = all(re.fullmatch(r"[A-Za-z_][\w .()/-]{0,39}", cell) for cell in named)
    foreign = any(re.search("[가-힣]", value) for row in sample[:50] for value in row)
    lengths = [sum(map(len, row)) for row in sample] or [0]
    return (identifiers and foreign) or sum(map(len, cells)) * 3 < sorted(lengths)[len(lengths) // 2]
