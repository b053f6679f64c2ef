"""Tagged text: a token a line and a blank line between sentences (CoNLL), or a sentence with its tags."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

from komt.errors import DataError
from komt.recipe import Words
from komt.sources.readers import Reader, ReaderOptions, Rejected, Row, clean
from komt.sources.readers.content import Content
from komt.sources.readers.row import whole_number

_NUMBERS = {"index", "head"}


class Options(ReaderOptions):
    """How it is written.

    Attributes:
        layout: blocks (a token a line), or lines (a sentence, the delimiter, the tags).
        columns: of a block's lines. With `tag` the row has `entities`, a list of {text, type}; without it
            `words`, a list with these columns, index and head as numbers.
        join: what stands between tokens: "" where every character is a token, spaces included.
        delimiter: between columns.
        comment: lines that start so are passed over; of the last one before a block, what stands before a
            delimiter is its id, and what stands after it is the sentence where there are no tags.
        header: whether the first line names columns (lines only).
        encoding: when it is not recognised.
    """

    layout: Literal["blocks", "lines"] = "blocks"
    columns: tuple[str, ...] = ("token", "tag")
    join: str = " "
    delimiter: Words = "\t"
    comment: str = ""
    header: bool = False
    encoding: str = ""


def read(content: Content, options: Options) -> Iterator[Row | Rejected]:
    """One row a sentence.

    Raises:
        DataError: a line with too few columns, or nothing to read, with file and line.
    """
    count = 0
    for row in _lines(content, options) if options.layout == "lines" else _blocks(content, options):
        count += 1
        yield row
    if not count:
        raise DataError("no sentence in the file", where=str(content), cure="check the reader's options")


def entities_of(tokens: list[str], tags: list[str], join: str) -> list[dict[str, str]]:
    """Entities of BIO-like tags, as [{"text": …, "type": …}].

    B-X, X-B, S-X, I-X, E-X and their like are understood; an I without its B, or of another type than what
    stands before it, begins an entity.
    """
    found: list[tuple[str, list[str]]] = []
    inside = ""
    for token, tag in zip(tokens, tags, strict=True):
        place, kind = _tag(tag)
        if not kind:
            inside = ""
            continue
        if place in "IEL" and inside == kind:
            found[-1][1].append(token)
        else:
            found.append((kind, [token]))
        inside = "" if place in "SEUL" else kind
    entities = ({"text": clean(join.join(parts)), "type": kind} for kind, parts in found)
    return [entity for entity in entities if entity["text"]]


def _tag(tag: str) -> tuple[str, str]:
    """B-PS or PS-B as ("B", "PS"); O and - as ("O", ""); a bare type as its beginning."""
    if tag in {"O", "o", "-", "_", ""}:
        return "O", ""
    head, dash, tail = tag.partition("-")
    if not dash:
        return "I", tag
    if len(head) == 1 and head in "BIESLU":
        return head, tail
    rest, _, place = tag.rpartition("-")
    return (place, rest) if len(place) == 1 and place in "BIESLU" else ("I", tag)


def _blocks(content: Content, options: Options) -> Iterator[Row | Rejected]:
    lines: list[list[str]] = []
    comment, start = "", 0
    width = len(options.columns)
    for number, line in enumerate(content.lines(options.encoding), start=1):
        text = line.rstrip("\r\n")
        if options.comment and text.startswith(options.comment):
            comment = text.removeprefix(options.comment).strip()
            continue
        cells = text.split(options.delimiter)
        if len(cells) >= width:
            start = start or number
            lines.append(cells)
        elif text.strip():
            raise DataError(
                f"{len(cells)} columns where {width} are declared ({', '.join(options.columns)})",
                where=f"{content}, line {number}",
            )
        elif lines:
            yield _sentence(lines, comment, f"{content.label}, line {start}", options)
            lines, comment, start = [], "", 0
    if lines:
        yield _sentence(lines, comment, f"{content.label}, line {start}", options)


def _sentence(lines: list[list[str]], comment: str, where: str, options: Options) -> Row:
    id, _, said = comment.partition(options.delimiter)
    values: dict[str, Any] = {"id": clean(id)} if said else {}
    tokens = [cells[options.columns.index(_token(options))] for cells in lines]
    values["sentence"] = clean(options.join.join(tokens))
    if "tag" in options.columns:
        tags = [cells[options.columns.index("tag")].strip() for cells in lines]
        return Row({**values, "entities": entities_of(tokens, tags, options.join)}, where)
    if said:
        values["sentence"] = clean(said)
    words = [
        {name: _cell(name, cell) for name, cell in zip(options.columns, cells, strict=False)}
        for cells in lines
    ]
    return Row({**values, "words": words}, where)


def _token(options: Options) -> str:
    return next((name for name in ("token", "word") if name in options.columns), options.columns[0])


def _cell(name: str, cell: str) -> str | int:
    text = clean(cell)
    number = whole_number(text) if name in _NUMBERS else None
    return str(text) if number is None else number


def _lines(content: Content, options: Options) -> Iterator[Row | Rejected]:
    for number, line in enumerate(content.lines(options.encoding), start=1):
        text = line.rstrip("\r\n")
        comment = options.comment and text.startswith(options.comment)
        if not text.strip() or comment or (options.header and number == 1):
            continue
        sentence, _, tags = text.rpartition(options.delimiter)
        where = f"{content.label}, line {number}"
        words, kinds = sentence.split(), tags.split()
        if not sentence or len(words) != len(kinds):
            yield Rejected("tags_do_not_match", where, {"sentence": clean(sentence), "tags": tags})
            continue
        yield Row({"sentence": clean(sentence), "entities": entities_of(words, kinds, " ")}, where)


READER = Reader(Options, read)
