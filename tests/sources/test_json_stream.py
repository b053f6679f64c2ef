from __future__ import annotations

import io
import json
import random
from pathlib import Path
from typing import Any

import ijson
import pytest

from komt.errors import DataError
from komt.sources.readers import json_stream
from komt.sources.readers.content import Content
from komt.sources.readers.json import Options, read
from komt.sources.readers.json_objects import json_objects
from komt.sources.readers.json_stream import utf8
from komt.sources.readers.jsonl import streamed

MANY = 200_000


def tree(chance: random.Random, depth: int = 0) -> Any:
    """Random JSON, full of brackets and quotes in texts."""
    kind = chance.random()
    if depth < 4 and kind < 0.3:
        return [tree(chance, depth + 1) for _ in range(chance.randrange(4))]
    if depth < 4 and kind < 0.6:
        return {chance.choice(['a"[', "\\", '{\\"', "k"]): tree(chance, depth + 1) for _ in range(3)}
    return chance.choice(["[[[", '}"\\', '\\\\"{', "가나[", 3, None, "\\"])


@pytest.mark.parametrize("size", [1, 2, 7, 64, 1 << 16])
def test_brackets_in_texts_are_no_levels(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    monkeypatch.setattr(json_stream, "_MANY", -(10**9))  # look closely everywhere
    monkeypatch.setattr(json_stream, "MOST_LEVELS", 12)
    chance = random.Random(size)
    for _ in range(100):
        data = json.dumps([tree(chance) for _ in range(5)], ensure_ascii=chance.random() < 0.5).encode()
        stream = utf8(io.BytesIO(data), "utf-8", "a.json")
        assert b"".join(iter(lambda stream=stream: stream.read(size), b"")) == data  # type: ignore[misc]


def test_a_text_of_brackets_is_passed_on() -> None:
    data = json.dumps([{"a": "[{" * MANY, "b": 'x\\"' + "[" * MANY}]).encode()
    stream = utf8(io.BytesIO(data), "utf-8", "a.json")
    assert b"".join(iter(lambda: stream.read(1 << 16), b"")) == data


@pytest.mark.parametrize("opening", ["[", "[1,", '{"a":', '[{"a":', '{"data":[', '[{"a":1},'])
def test_a_big_file_of_open_brackets_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, opening: str
) -> None:
    monkeypatch.setattr("komt.sources.readers.content.BIG_BYTES", 1000)
    path = tmp_path / "a.json"
    path.write_text(opening + (opening if "}" not in opening else "[") * MANY)
    for rows in (
        lambda: streamed(Content(path), "", "item"),
        lambda: json_objects(Content(path), ["a"]),
        lambda: read(Content(path), Options(records="data")),
    ):
        with pytest.raises(DataError, match=r"nested too deeply|expected an object|none of 'a'") as error:
            list(rows())  # type: ignore[operator]
        assert "a.json" in error.value.where


@pytest.mark.parametrize("encoding", ["cp949", "utf-16", "utf-8-sig"])
def test_other_encodings_are_streamed_as_utf8(encoding: str) -> None:
    stream = utf8(io.BytesIO('[{"글": "가나다"}]'.encode(encoding)), encoding, "a.json")
    assert stream.read().decode() == '[{"글": "가나다"}]'


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize(
    "text", ['[{"a": %s}]', '{"a": 1}\n{"a": %s}\n', '{"data": [{"a": %s}]}', '{"a": %s}']
)
def test_a_number_of_thousands_of_digits_is_told_with_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, big: bool
) -> None:
    monkeypatch.setattr("komt.sources.readers.content.BIG_BYTES", 1000 if big else 1 << 30)
    path = tmp_path / "a.json"
    path.write_text(text % ("9" * 5000))
    options = Options(records="data" if "data" in text else "")
    with pytest.raises(DataError, match="more digits than can be read") as error:
        list(read(Content(path), options))
    assert "a.json" in error.value.where
    with pytest.raises(DataError, match="more digits than can be read"):
        list(json_objects(Content(path), ["a"]))


def test_a_long_text_is_read_in_ever_larger_pieces_and_the_next_ones_are_not() -> None:
    """A parser goes through an open text anew with every read; so there have to be few."""
    sizes: list[int] = []

    class Stream(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            data = super().read(size)
            sizes.append(len(data))
            return data

    long = 'ㄱ\n"' * 3_000_000
    short = "{" * 500_000
    data = json.dumps([{"text": long}, {"text": short}], ensure_ascii=False).encode()
    stream = utf8(Stream(data), "utf-8", "big.json")
    assert [item["text"] for item in ijson.items(stream, "item")] == [long, short]
    assert len(sizes) < 30
    assert max(sizes) <= 1 << 25
    assert sum(sizes) == len(data)
