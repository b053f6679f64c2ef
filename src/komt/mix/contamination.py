"""Decontamination: which texts hold a text of the evaluation.

The rule is that of Brown et al. 2020 (GPT-3, appendix C): a run of 13 words in common, words being compared
without case and punctuation; here they are eojeol, divided by spaces. Shorter texts have to be equal as a
whole (spaces do not count); those of 8 words or more may also stand inside a longer one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import numpy.typing as npt

from komt.mix.duplicates import Hashes, hashes, mixed, words_of, words_of_all

Ints = npt.NDArray[np.int64]

NGRAM = 13
SHORT_WORDS = 8
_CHUNK = 8192
_SPACE = 0x20
_BASE = 0x9E3779B97F4A7C15


@dataclass(frozen=True)
class EvaluationIndex:
    """What the evaluation asks, as hashes: about 12 bytes for each 13-gram, and 12 for each text.

    Attributes:
        ngram: how many words in a row count as held.
        owners: task and id of each text.
        whole: texts as a whole; grams: runs of `ngram` words; openings: the first words of texts of
            SHORT_WORDS or more that are shorter than `ngram`.
        short: length in words and hash of the texts that `openings` belong to, by owner.
    """

    ngram: int
    owners: tuple[tuple[str, str], ...]
    whole: _Table
    grams: _Table
    openings: _Table
    short: dict[int, tuple[int, int]]

    @classmethod
    def build(cls, rows: Iterable[tuple[str, str, str]], ngram: int = NGRAM) -> EvaluationIndex:
        """An index of the rows of all evaluation tasks.

        Args:
            rows: task, id, and what is asked. Of rows that ask the same the first is found.
            ngram: how many words in a row count as held.
        """
        owners: list[tuple[str, str]] = []
        found: dict[str, list[tuple[Hashes, Ints]]] = {"whole": [], "grams": [], "openings": []}
        short: dict[int, tuple[int, int]] = {}
        for chunk in _chunks(rows):
            words = words_of_all([text for _, _, text in chunk])
            base = len(owners)
            owners += [(task, name) for task, name, _ in chunk]
            filled = np.array([place for place, text in enumerate(words) if text], np.int64)
            found["whole"].append((_whole([words[place] for place in filled]), base + filled))
            lines = _Lines.of(words, range(len(words)))
            grams, rows_of = lines.windows(ngram)
            found["grams"].append((grams, base + rows_of))
            brief = np.flatnonzero((lines.counts >= SHORT_WORDS) & (lines.counts < ngram))
            found["openings"].append((lines.at(lines.starts[brief], SHORT_WORDS), base + brief))
            for count in range(SHORT_WORDS, ngram):
                rows_of = brief[lines.counts[brief] == count]
                keys = lines.at(lines.starts[rows_of], count).tolist()
                short.update(
                    (base + row, (count, key)) for row, key in zip(rows_of.tolist(), keys, strict=True)
                )
        tables = {name: _Table.of(parts, unique=name != "openings") for name, parts in found.items()}
        return cls(ngram, tuple(owners), **tables, short=short)

    def find(self, text: str) -> tuple[str, str] | None:
        """Task and id of an evaluation row that the text holds."""
        return self.find_all([words_of(text)]).get(0)

    def find_all(self, words: Sequence[str]) -> dict[int, tuple[str, str]]:
        """The texts that hold an evaluation row, by place, with its task and id.

        Args:
            words: texts as `duplicates.words_of` gives them; a chunk of thousands is fastest.
        """
        found: dict[int, int] = {}
        least = min(SHORT_WORDS, self.ngram)
        long = [place for place, text in enumerate(words) if text.count(" ") + 1 >= least]
        if long and (len(self.grams.keys) or len(self.openings.keys)):
            lines = _Lines.of(words, long)
            self._find_short(lines, found)
            grams, rows = lines.windows(self.ngram)
            for place, owner in self.grams.look_up(grams):
                found[int(rows[place])] = owner
        for place, owner in self.whole.look_up(_whole(words)):
            if words[place]:
                found[place] = owner
        return {place: self.owners[found[place]] for place in sorted(found)}

    def _find_short(self, lines: _Lines, found: dict[int, int]) -> None:
        openings, rows = lines.windows(SHORT_WORDS)
        starts = lines.window_starts(SHORT_WORDS)
        for place, first in self.openings.look_up(openings, every=True):
            row, start = int(rows[place]), int(starts[place])
            count, key = self.short[first]
            room = int(lines.ends_by_row[row]) - start
            if count <= room and int(lines.at(np.array([start]), count)[0]) == key:
                found[row] = min(first, found.get(row, first))


@dataclass(frozen=True)
class _Table:
    """Sorted keys with their owners, and a bit for each low end of a key: most look-ups stop there."""

    keys: Hashes
    owners: npt.NDArray[np.int32]
    bits: npt.NDArray[np.uint8]

    @classmethod
    def of(cls, parts: list[tuple[Hashes, Ints]], *, unique: bool) -> _Table:
        keys = np.concatenate([np.empty(0, np.uint64), *(keys for keys, _ in parts)])
        owners = np.concatenate([np.empty(0, np.int64), *(owners for _, owners in parts)]).astype(np.int32)
        order = np.lexsort((owners, keys))
        keys, owners = keys[order], owners[order]
        if unique:
            first = np.ones(len(keys), bool)
            first[1:] = keys[1:] != keys[:-1]
            keys, owners = keys[first], owners[first]
        size = 1 << max(10, int(16 * len(keys)).bit_length())
        bits = np.zeros(size // 8, np.uint8)
        low = keys & np.uint64(size - 1)
        np.bitwise_or.at(bits, low >> np.uint64(3), np.left_shift(1, low & np.uint64(7)).astype(np.uint8))
        return cls(keys, owners, bits)

    def look_up(self, keys: Hashes, *, every: bool = False) -> Iterator[tuple[int, int]]:
        """Place and owner of each key that is in the table; all of its owners on request."""
        low = keys & np.uint64(8 * len(self.bits) - 1)
        maybe = np.flatnonzero((self.bits[low >> np.uint64(3)] >> (low & np.uint64(7)).astype(np.uint8)) & 1)
        lefts = np.searchsorted(self.keys, keys[maybe])
        for place, left in zip(maybe.tolist(), lefts.tolist(), strict=True):
            at = left
            while at < len(self.keys) and self.keys[at] == keys[place]:
                yield place, int(self.owners[at])
                at += 1
                if not every:
                    break


@dataclass(frozen=True)
class _Lines:
    """The words of some texts as hashes, one after another.

    Attributes:
        words: a hash by word; starts: where each text's words begin; counts: how many it has.
        rows: place of each text in the chunk; ends_by_row: where its words end, by that place.
    """

    words: Hashes
    starts: Ints
    counts: Ints
    rows: Ints
    ends_by_row: dict[int, int]

    @classmethod
    def of(cls, texts: Sequence[str], rows: Sequence[int]) -> _Lines:
        chosen = [texts[row] for row in rows]
        counts = np.array([text.count(" ") + 1 if text else 0 for text in chosen], np.int64)
        ends = np.cumsum(counts)
        by_row = dict(zip(rows, ends.tolist(), strict=True))
        joined = " ".join(filter(None, chosen))
        return cls(_word_hashes(joined), ends - counts, counts, np.array(rows, np.int64), by_row)

    def windows(self, size: int) -> tuple[Hashes, Ints]:
        """Hash of each run of `size` words within a text, and the text's place."""
        fits = np.maximum(self.counts - size + 1, 0)
        return self.at(self.window_starts(size), size), np.repeat(self.rows, fits)

    def window_starts(self, size: int) -> Ints:
        """Where each run of `size` words within a text begins."""
        fits = np.maximum(self.counts - size + 1, 0)
        before = np.cumsum(fits) - fits
        starts: Ints = np.arange(int(fits.sum())) + np.repeat(self.starts - before, fits)
        return starts

    def at(self, starts: Ints, size: int) -> Hashes:
        """Hash of the `size` words from each start on."""
        value = np.zeros(len(starts), np.uint64)
        for step in range(size):
            value = value * np.uint64(_BASE) + self.words[starts + step]
        return mixed(value)


def _word_hashes(line: str) -> Hashes:
    """A hash of each word of a line."""
    codes = np.frombuffer(line.encode("utf-32-le", "surrogatepass"), np.uint32).astype(np.uint64)
    if not len(codes):
        return codes
    gaps = np.flatnonzero(codes == _SPACE)
    starts = np.concatenate([[0], gaps + 1])
    lengths = np.diff(np.append(starts, len(codes) + 1))
    position = np.arange(len(codes)) - np.repeat(starts, lengths)[: len(codes)]
    letters = mixed(codes + position.astype(np.uint64) * np.uint64(_BASE))
    letters[gaps] = 0
    return mixed(np.add.reduceat(letters, starts))


def _whole(words: Sequence[str]) -> Hashes:
    return hashes([text.replace(" ", "") for text in words])


def _chunks(rows: Iterable[tuple[str, str, str]]) -> Iterator[list[tuple[str, str, str]]]:
    rest = iter(rows)
    while chunk := list(islice(rest, _CHUNK)):
        yield chunk
