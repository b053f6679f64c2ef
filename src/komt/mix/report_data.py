"""What the report of a build shows beside its counts: lengths, shared beginnings, samples."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from komt.example import Example
from komt.mix.engine import Engine

Ints = npt.NDArray[np.int64]
# Upper bounds of the classes of lengths, about equal in ratio.
CLASSES = (1, 2, 3, 5, 8, 12, 20, 30, 50, 80, 120, 200, 300, 500, 800, 1200, 2000, 3000, 5000, 8000)
_MOST_MEASURED = 100_000
_MOST_ENCODED = 4_000
_SAMPLES = 3


@runtime_checkable
class Measure(Protocol):
    """What knows an example's tokens: `pack.fit.BatchFit` does."""

    @property
    def model(self) -> str:
        """Whose tokenizer it is."""

    def tokens(self, examples: Sequence[Example]) -> list[tuple[Sequence[int], int]]:
        """The ids of each example's longest sequence, and how many of them are its answer's."""


@dataclass(frozen=True, slots=True)
class Lengths:
    """How long texts are, in one unit.

    Attributes:
        counts: number of texts by class: up to the first of CLASSES, up to the second, …, above the last.
        mean, median, most: of all; above: 5 % are longer than this.
    """

    counts: tuple[int, ...]
    mean: float
    median: int
    above: int
    most: int


@dataclass(frozen=True, slots=True)
class Sharing:
    """What examples over one passage have in common: their units one by one, and each shared part once."""

    examples: int
    flat: int
    trie: int

    @property
    def gain(self) -> float:
        """How many times fewer units there are when shared ones are counted once."""
        return self.flat / self.trie if self.trie else 1.0

    @property
    def saved(self) -> float:
        """The share of the units that need not be computed."""
        return 1 - self.trie / self.flat if self.flat else 0.0


@dataclass(frozen=True)
class Measured:
    """Lengths by unit (characters, eojeol, tokens), of prompts and of answers; sharing; samples.

    Attributes:
        texts: how many examples characters and eojeol were counted of; encoded: and tokens and sharing.
        tokenizer: whose tokens, or "" where sharing is counted in characters.
        sharing: by task, each by itself; together: of all tasks over one passage.
        samples: some examples of each task, each in another phrasing.
    """

    texts: int
    encoded: int
    tokenizer: str
    prompts: dict[str, Lengths]
    answers: dict[str, Lengths]
    sharing: dict[str, Sharing]
    together: Sharing
    samples: dict[str, list[Example]]


@dataclass(frozen=True, slots=True)
class InWorker:
    """A `Measure` that encodes where the engine works: there the tokenizer is loaded already."""

    inner: Measure
    engine: Engine

    @property
    def model(self) -> str:
        """The model whose tokenizer it is."""
        return self.inner.model

    def tokens(self, examples: Sequence[Example]) -> list[tuple[Sequence[int], int]]:
        """As `Measure.tokens`."""
        (found,) = self.engine.map(_tokens, [(self.inner, examples)])
        return found


def _tokens(job: tuple[Measure, Sequence[Example]]) -> list[tuple[Sequence[int], int]]:
    return job[0].tokens(job[1])


def measure(path: Path, tokenizer: Measure | None) -> Measured:
    """Measure a build's training examples.

    Characters and eojeol are counted in the first 100,000 examples, tokens and shared beginnings in the first
    4,000, with whole passages: the order of the examples is random, so that the first are a fair sample.

    Args:
        path: train.parquet.
        tokenizer: what gives tokens; without it sharing is counted in characters.
    """
    with pq.ParquetFile(path) as file:
        prompts, answers = _text_lengths(file)
        examples = _first_groups(file)
        samples = _samples(file)
    texts = len(prompts["characters"])
    if tokenizer:
        pairs = tokenizer.tokens(examples)
        ids = [tuple(int(token) for token in sequence) for sequence, _ in pairs]
        of_answer = np.array([answer for _, answer in pairs], np.int64)
        prompts["tokens"] = np.array([len(sequence) for sequence in ids], np.int64) - of_answer
        answers["tokens"] = of_answer
    else:
        ids = [tuple(map(ord, "\n".join(message.content for message in item.messages))) for item in examples]
    sharing, together = _sharing(examples, ids)
    return Measured(
        texts=texts,
        encoded=len(examples),
        tokenizer=tokenizer.model if tokenizer else "",
        prompts={unit: lengths_of(values) for unit, values in prompts.items()},
        answers={unit: lengths_of(values) for unit, values in answers.items()},
        sharing=sharing,
        together=together,
        samples=samples,
    )


def lengths_of(values: Ints) -> Lengths:
    """The classes, mean and quantiles of some lengths."""
    if not len(values):
        return Lengths((0,) * (len(CLASSES) + 1), 0.0, 0, 0, 0)
    classes = np.searchsorted(CLASSES, values, side="left")
    counts = np.bincount(classes, minlength=len(CLASSES) + 1)
    median, above = np.quantile(values, [0.5, 0.95], method="lower")
    mean, most = float(values.mean()), int(values.max())
    return Lengths(tuple(int(n) for n in counts), mean, int(median), int(above), most)


def _text_lengths(file: pq.ParquetFile) -> tuple[dict[str, Ints], dict[str, Ints]]:
    """Characters and eojeol of each prompt (all turns before the last) and of each answer (the last turn)."""
    found: dict[str, list[Ints]] = {f"{part} {unit}": [] for part in ("p", "a") for unit in _UNITS}
    seen = 0
    for batch in file.iter_batches(8192, columns=["messages"]):
        if seen >= _MOST_MEASURED:
            break
        seen += len(batch)
        messages = batch.column("messages")
        offsets = messages.offsets.to_numpy()
        content = messages.values.field("content")
        for unit, values in _units(content).items():
            sums = np.concatenate([[0], np.cumsum(values)])
            last = sums[offsets[1:]] - sums[offsets[1:] - 1]
            found[f"p {unit}"].append(sums[offsets[1:] - 1] - sums[offsets[:-1]])
            found[f"a {unit}"].append(last)
    joined = {key: np.concatenate([np.empty(0, np.int64), *parts]) for key, parts in found.items()}
    return {unit: joined[f"p {unit}"] for unit in _UNITS}, {unit: joined[f"a {unit}"] for unit in _UNITS}


_UNITS = ("characters", "eojeol")


def _units(content: pa.StringArray) -> dict[str, Ints]:
    """Characters and eojeol of each text, counted in its UTF-8 bytes: a tenth of the time of the texts."""
    _, offsets, data = content.buffers()
    bounds = np.frombuffer(offsets, np.int32)[content.offset : content.offset + len(content) + 1]
    text = np.frombuffer(data or b"", np.uint8)[bounds[0] : bounds[-1]]
    starts = bounds[:-1] - bounds[0]
    space = (text == 0x20) | ((text >= 0x09) & (text <= 0x0D))
    begins = ~space
    begins[1:] &= space[:-1]
    first = starts[starts < len(text)]
    begins[first] = ~space[first]
    characters = (text & 0xC0) != 0x80
    return {"characters": _per_text(characters, bounds), "eojeol": _per_text(begins, bounds)}


def _per_text(marks: npt.NDArray[np.bool_], bounds: npt.NDArray[np.int32]) -> Ints:
    """How many marked bytes each text has."""
    sums = np.concatenate([[0], np.cumsum(marks, dtype=np.int64)])
    return np.asarray(np.diff(sums[bounds - bounds[0]]), np.int64)


def _first_groups(file: pq.ParquetFile) -> list[Example]:
    """The first examples, the last of their passages whole."""
    examples: list[Example] = []
    for batch in file.iter_batches(512):
        for record in batch.to_pylist():
            example = Example.from_record(record)
            if len(examples) >= _MOST_ENCODED and (
                not example.group or _passage(example) != _passage(examples[-1])
            ):
                return examples
            examples.append(example)
    return examples


def _passage(example: Example) -> tuple[str, str]:
    return example.source, example.group


def _sharing(
    examples: Sequence[Example], ids: Sequence[tuple[int, ...]]
) -> tuple[dict[str, Sharing], Sharing]:
    """Sharing by task and of all together; an example without a passage shares nothing."""
    by_task: dict[str, list[tuple[str, tuple[int, ...]]]] = {}
    together: list[tuple[str, tuple[int, ...]]] = []
    for place, (example, sequence) in enumerate(zip(examples, ids, strict=True)):
        passage = f"{example.source}\x1f{example.group}" if example.group else f"\x1f{place}"
        by_task.setdefault(example.task, []).append((passage, sequence))
        together.append((passage, sequence))
    return {task: _shared(pairs) for task, pairs in sorted(by_task.items())}, _shared(together)


def _shared(pairs: list[tuple[str, tuple[int, ...]]]) -> Sharing:
    flat = trie = 0
    for _, members in groupby(sorted(pairs), key=lambda pair: pair[0]):
        before: tuple[int, ...] = ()
        for _, sequence in members:
            flat += len(sequence)
            trie += len(sequence) - _common(before, sequence)
            before = sequence
    return Sharing(len(pairs), flat, trie)


def _common(one: tuple[int, ...], other: tuple[int, ...]) -> int:
    """How many elements two sequences begin with in common: by halving, since slices compare fast."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _samples(file: pq.ParquetFile) -> dict[str, list[Example]]:
    """The first examples of each task, each in another phrasing."""
    chosen: dict[int, list[int]] = {}
    taken: Counter[str] = Counter()
    seen: set[tuple[str, str]] = set()
    for group in range(file.metadata.num_row_groups):
        table = file.read_row_group(group, columns=["task", "template"])
        tasks = table["task"].to_pylist()
        for place, key in enumerate(zip(tasks, table["template"].to_pylist(), strict=True)):
            if key not in seen and taken[key[0]] < _SAMPLES:
                seen.add(key)
                taken[key[0]] += 1
                chosen.setdefault(group, []).append(place)
    samples: dict[str, list[Example]] = {}
    for group, places in chosen.items():
        for record in file.read_row_group(group).take(pa.array(places)).to_pylist():
            samples.setdefault(record["task"], []).append(Example.from_record(record))
    return dict(sorted(samples.items()))
