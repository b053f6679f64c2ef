"""ParaKQC: sets of ten paraphrases, a sentence a line (topic, act, sentence), and pairs of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal

from komt.errors import DataError
from komt.files import hash_of
from komt.sources.readers import Reader, ReaderOptions, Rejected, Row
from komt.sources.readers.content import Content
from komt.sources.readers.csv import Options as TableOptions
from komt.sources.readers.csv import read_table

_SET = 10
# A thousand sets make 25 blocks, in each of which every topic and act has two sets or more.
_BLOCK_SETS = 40
_TABLE = TableOptions(delimiter="\t", quoting="none", header=False, columns=("topic", "act", "sentence"))


class Options(ReaderOptions):
    """What one row is.

    Attributes:
        rows: sentences, or pairs. A set gives five pairs that say the same, which together hold each of its
            sentences once, and five that do not: three with a sentence of another set of the same topic and
            act, two with one of any other set, all of its block. The choice depends on the sentences alone.
        encoding: when it is not recognised.
    """

    rows: Literal["sentences", "pairs"] = "sentences"
    encoding: str = ""


def read(content: Content, options: Options) -> Iterator[Row | Rejected]:
    """Sentences with `topic, act, set, block`, or pairs with `label` (same or different), `set, block`.

    Blocks divide the sets: no pair joins two of them, so that rows can be held out by block.

    Raises:
        DataError: the lines are not sets of ten, of one topic and act each.
    """
    items = list(read_table(content.lines(options.encoding), content, _TABLE))
    rows = [item for item in items if isinstance(item, Row)]
    sets = [rows[at : at + _SET] for at in range(0, len(rows), _SET)]
    blocks = max(1, len(sets) // _BLOCK_SETS)
    for number, ten in enumerate(sets):
        if len(ten) != _SET or len({_kind([row]) for row in ten}) > 1:
            raise DataError(
                "not a set of ten sentences of one topic and act",
                where=f"{content}, line {number * _SET + 1}",
            )
        for row in ten:
            row.values.update(set=number, block=number % blocks)
    if options.rows == "sentences":
        yield from rows
        return
    if len(sets) < 2:
        raise DataError("pairs need more than one set of ten", where=str(content))
    alike: dict[tuple[str, str], list[int]] = {}
    for number, ten in enumerate(sets):
        alike.setdefault(_kind(ten), []).append(number)
    for number, ten in enumerate(sets):
        block = range(number % blocks, len(sets), blocks)
        near = [other for other in alike[_kind(ten)] if other in block]
        yield from _pairs(sets, number, near, block, content.label)


def _pairs(
    sets: list[list[Row]], number: int, alike: Sequence[int], block: Sequence[int], label: str
) -> Iterator[Row]:
    ten = sorted(sets[number], key=_draw)
    for at in range(_SET // 2):
        yield _pair(ten[2 * at], ten[2 * at + 1], "same", f"{label}, set {number}-same-{at}")
    for at in range(_SET // 2):
        others = alike if at < 3 and len(alike) > 1 else block
        chosen = _number([ten[at].values["sentence"], at]) % (len(others) - 1)
        other = others[chosen] if others[chosen] != number else others[-1]
        theirs = sorted(sets[other], key=_draw)[_SET // 2 + at]
        yield _pair(ten[at], theirs, "different", f"{label}, set {number}-different-{at}")


def _kind(ten: list[Row]) -> tuple[str, str]:
    return ten[0].values["topic"], ten[0].values["act"]


def _number(value: Any) -> int:
    return int(hash_of(value)[:13], 16)


def _pair(one: Row, other: Row, label: str, where: str) -> Row:
    texts = sorted(
        (one.values["sentence"], other.values["sentence"]), key=lambda text: hash_of(["side", text])
    )
    values: dict[str, Any] = {"sentence1": texts[0], "sentence2": texts[1], "label": label}
    return Row({**values, "set": one.values["set"], "block": one.values["block"]}, where)


def _draw(row: Row) -> str:
    return hash_of(["draw", row.values["sentence"]])


READER = Reader(Options, read)
