from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
import pytest

from komt.example import SCHEMA, Evidence, Example, Message, examples_table
from komt.mix.fitting import Bounded, beside, examples_at, fingerprint, fingerprints, write_fitting
from komt.mix.parts import about_part

NAMES = ("family", "kind", "source", "licence", "origin", "split")


def example(number: int, *texts: str, task: str = "t", supervised_last: bool = True) -> Example:
    """Turns of user and assistant; every answer is supervised, the last one only on request."""
    last = len(texts) - 1
    messages = tuple(
        Message("assistant", text, at < last or supervised_last) if at % 2 else Message("user", text)
        for at, text in enumerate(texts)
    )
    return Example(
        id=f"{task}:{number}",
        task=task,
        **dict.fromkeys(NAMES, "x"),
        template="first" if number % 2 else "second",
        group="",
        messages=messages,
        references=(texts[-1], "또는"),
        evidence=Evidence(0, 0, 1) if number % 3 else None,
        metadata={"number": number},
    )


EXAMPLES = [
    example(0, "질문  하나\n\n글", "답"),
    example(1, "가" * 30, "나"),
    example(2, "묻는 말", "답 하나", "다시", "답  둘"),
    example(3, "가" * 12, "나", task="u"),
    example(4, "물음", "버릴 답", supervised_last=False),
]


def cut(items: Sequence[Example]) -> list[tuple[Example | None, str]]:
    """Over 20 characters: dropped; over 10: cut to the first ten; a task's name goes with it."""
    fitted: list[tuple[Example | None, str]] = []
    for item in items:
        length = sum(len(message.content) for message in item.messages)
        first = replace(item.messages[0], content=item.messages[0].content[:10])
        shorter = replace(item, messages=(first, *item.messages[1:]))
        fitted.append(
            (None, "over_long") if length > 20 else (shorter, "shortened") if length > 12 else (item, "")
        )
    return fitted


@dataclass
class BoundedCut:
    """`cut`, which says beforehand what surely fits, and notes what it is asked."""

    asked: list[str]

    def __call__(self, items: Sequence[Example]) -> list[tuple[Example | None, str]]:
        self.asked += [item.id for item in items]
        return cut(items)

    def surely(self, sizes: npt.NDArray[np.int64], messages: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        assert sizes.tolist() == [sum(len(m.content.encode()) for m in item.messages) for item in EXAMPLES]
        assert messages.tolist() == [len(item.messages) for item in EXAMPLES]
        return np.asarray(sizes <= 36)


def written(part: Path) -> list[Example]:
    return [Example.from_record(record) for record in pq.read_table(part).to_pylist()]


def test_a_fingerprint_is_of_the_words_of_prompt_and_answer() -> None:
    table = examples_table(EXAMPLES)
    assert fingerprints(table) == [fingerprint(item) for item in EXAMPLES]
    assert fingerprints(table.slice(2, 2)) == [fingerprint(item) for item in EXAMPLES[2:4]]
    assert fingerprints(table.slice(5)) == []
    spaced = example(9, " 질문 하나 글", "답 ")
    assert fingerprint(spaced) == fingerprint(EXAMPLES[0]) != fingerprint(EXAMPLES[1])


def test_rows_of_a_table_as_examples() -> None:
    assert examples_at(examples_table(EXAMPLES), [3, 0]) == [EXAMPLES[3], EXAMPLES[0]]


def test_what_fits_is_kept_in_order_and_the_rest_is_counted(tmp_path: Path) -> None:
    part = tmp_path / "part-00001.parquet"
    write_fitting(examples_table(EXAMPLES), {}, cut, part)
    expected = [item for item, _ in cut(EXAMPLES) if item]
    assert written(part) == expected
    assert pq.read_schema(part).equals(SCHEMA)
    assert about_part(part) == {
        "kept": 4,
        "tasks": {
            "t": {
                "kinds": {"x": 3},
                "rejected": {"over_long": 1},
                "shortened": {"": 1},
                "templates": {"second": 3},
            },
            "u": {"kinds": {"x": 1}, "rejected": {}, "shortened": {"": 1}, "templates": {"first": 1}},
        },
    }
    prints = pq.read_table(beside(part, "prints")).to_pylist()
    assert prints == [{"fingerprint": fingerprint(i), "task": i.task, "id": i.id} for i in expected]
    (reject,) = pq.read_table(beside(part, "rejects")).to_pylist()
    assert (reject["where"], reject["stage"], reject["reason"]) == ("t:1", "length", "over_long")
    assert reject["row"] == f'{{"prompt": "{"가" * 30}", "answer": "나"}}'


def test_only_what_may_be_too_long_is_measured(tmp_path: Path) -> None:
    fit = BoundedCut([])
    assert isinstance(fit, Bounded)
    assert not isinstance(cut, Bounded)
    write_fitting(examples_table(EXAMPLES), {}, fit, tmp_path / "part-1.parquet")
    assert fit.asked == ["t:1", "u:3"]
    write_fitting(examples_table(EXAMPLES), {}, cut, tmp_path / "part-2.parquet")
    assert [item.id for item in written(tmp_path / "part-1.parquet")] == ["t:0", "t:2", "u:3", "t:4"]


@pytest.mark.parametrize("fit", [None, cut])
def test_what_stands_instead_of_a_row_is_written(tmp_path: Path, fit: object) -> None:
    instead = {0: example(10, "앞", "뒤"), 3: example(11, "가" * 40, "다", task="u")}
    part = tmp_path / "part-1.parquet"
    write_fitting(examples_table(EXAMPLES), instead, fit, part)  # type: ignore[arg-type]
    changed = [instead.get(place, item) for place, item in enumerate(EXAMPLES)]
    assert written(part) == ([item for item, _ in cut(changed) if item] if fit else changed)


def test_of_no_rows_empty_parts_are_written(tmp_path: Path) -> None:
    write_fitting(examples_table([]), {}, cut, tmp_path / "part-1.parquet")
    assert about_part(tmp_path / "part-1.parquet") == {"kept": 0, "tasks": {}}
    assert written(tmp_path / "part-1.parquet") == []
