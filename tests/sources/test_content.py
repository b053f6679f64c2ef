"""What readers read: encodings, compression, lines, and streaming."""

from __future__ import annotations

import gzip
import json
import os
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from downloads import zip_of

from komt.encodings import encoding_of, sniff_encoding
from komt.errors import DataError
from komt.sources.readers import READERS, Content, Row
from komt.sources.readers.archive import contents_of

TEXT = "번호,문의\n1,배송이 언제 오나요?\n2,환불해 주세요\n"


@pytest.mark.parametrize(
    ("encoding", "known_as"),
    [
        ("utf-8", "utf-8"),
        ("utf-8-sig", "utf-8-sig"),
        ("cp949", "cp949"),
        ("euc-kr", "cp949"),
        ("utf-16", "utf-16"),
        ("utf-16-le", "utf-16-le"),
        ("utf-16-be", "utf-16-be"),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_every_usual_encoding_is_recognised(
    tmp_path: Path, encoding: str, known_as: str, packed: bool
) -> None:
    data = TEXT.encode(encoding)
    (tmp_path / "a").write_bytes(gzip.compress(data) if packed else data)
    content = Content(tmp_path / "a")
    assert content.encoding() == known_as
    assert "".join(content.lines()) == content.text() == TEXT
    assert sniff_encoding(data) == known_as


def test_syllables_that_only_cp949_has_are_read(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes("똠방각하 펲시콜라".encode("cp949"))
    assert Content(tmp_path / "a").text() == "똠방각하 펲시콜라"


def test_the_encoding_is_seen_behind_megabytes_of_ascii(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"x" * 9_000_000 + "\n끝\n".encode("cp949"))
    assert Content(path).encoding() == "cp949"
    assert list(Content(path).lines())[-1] == "끝\n"
    with path.open("rb") as stream:
        assert encoding_of(stream) == "cp949"


def test_utf8_with_a_broken_byte_is_not_taken_for_cp949(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    good = "한글로 쓴 제법 긴 문장입니다. ".encode()
    path.write_bytes(good + b"\xff" + good)
    with pytest.raises(DataError, match="not utf-8 text: byte 0xff") as error:
        list(Content(path).lines())
    assert error.value.where == f"{path}, byte {len(good)}"


@pytest.mark.parametrize("encoding", ["utf-8", "cp949", "utf-16-le"])
def test_the_byte_that_cannot_be_decoded_is_found_wherever_it_stands(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "a.txt"
    # Odd, so that a character lies across every border of the stretches that are read.
    before = ("x" + "한글\n" * 700_000).encode(encoding)
    broken = b"\x00\xdc" if encoding == "utf-16-le" else b"\xff"
    path.write_bytes(before + broken + "끝".encode(encoding))
    with pytest.raises(DataError, match="cannot be decoded") as error:
        list(Content(path).lines(encoding))
    assert error.value.where == f"{path}, byte {len(before)}"


def test_a_file_that_ends_within_a_character_says_so(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes("한글한글한글한글한글한글".encode()[:-1])
    with pytest.raises(DataError, match="not utf-8 text"):
        list(Content(path).lines())


def test_an_encoding_that_does_not_exist_is_told(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("글")
    with pytest.raises(DataError, match="unknown encoding 'klingon'"):
        list(Content(tmp_path / "a").lines("klingon"))


@pytest.mark.parametrize("separator", ["\u2028", "\u001c", "\u0085", "\x0b", "\x0c"])
def test_lines_end_at_line_feeds_only(tmp_path: Path, separator: str) -> None:
    path = tmp_path / "a.tsv"
    path.write_bytes(f"가{separator}나\t다\r\n라\t마\r\n".encode())
    assert list(Content(path).lines()) == [f"가{separator}나\t다\r\n", "라\t마\r\n"]


def test_lines_of_an_old_mac_end_at_carriage_returns(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes("q,a\r질문,답\r".encode())
    (row,) = READERS.get("csv").read(tmp_path / "a.csv", READERS.get("csv").options())
    assert isinstance(row, Row)
    assert row.values == {"q": "질문", "a": "답"}


def test_a_gzip_is_known_by_its_content_and_a_cut_one_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    data = gzip.compress(b'{"a": 1}\n' * 10_000)
    path.write_bytes(data)
    rows = list(READERS.get("jsonl").read(path, READERS.get("jsonl").options()))
    assert len(rows) == 10_000
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(DataError, match="broken or cut off") as error:
        list(READERS.get("jsonl").read(path, READERS.get("jsonl").options()))
    assert str(path) in error.value.where


def test_a_packed_member_can_be_read_in_any_order(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(zip_of({"b/c.txt": b"0123456789"}))
    (content,) = contents_of(tmp_path / "a.zip")
    with content.seekable() as stream:
        stream.seek(7)
        assert stream.read(2) == b"78"
        stream.seek(0)
        assert stream.read() == b"0123456789"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp949", "utf-16"])
@pytest.mark.parametrize("format", ["jsonl", "json"])
def test_a_streamed_array_gives_the_rows_of_one_read_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoding: str, format: str
) -> None:
    rows = [{"가": f" 글 {n} ", "수": n / 4, "나": [n, {"다": "라"}], "빈": None} for n in range(300)]
    wrapped = rows if format == "jsonl" else {"version": 1, "data": rows}
    (tmp_path / "a.json").write_bytes(json.dumps(wrapped, ensure_ascii=False).encode(encoding))
    reader = READERS.get(format)
    options = reader.options() if format == "jsonl" else reader.options(records="data")
    at_once = list(reader.read(tmp_path / "a.json", options))
    monkeypatch.setattr("komt.sources.readers.content.BIG_BYTES", 1000)
    assert list(reader.read(tmp_path / "a.json", options)) == at_once
    assert len(at_once) == 300
    assert isinstance(at_once[3], Row)
    assert at_once[3].values == {"가": "글 3", "수": 0.75, "나": [3, {"다": "라"}], "빈": None}


@pytest.mark.parametrize("big", [False, True])
def test_a_list_that_one_item_lacks_is_told_however_big_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, big: bool
) -> None:
    monkeypatch.setattr("komt.sources.readers.content.BIG_BYTES", 10 if big else 1 << 20)
    reader = READERS.get("json")
    options = reader.options(records="data[].rows")
    items: list[Any] = [{"rows": [{"글": "하나"}, {"글": "둘"}]}, {"rows": {"글": "셋"}}, {"rows": []}]
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"data": items}))
    found = [(item.where.rpartition(", ")[2], item.values["글"]) for item in reader.read(path, options)]
    assert found == [("data[].rows[0]", "하나"), ("data[].rows[1]", "둘"), ("data[].rows[2]", "셋")]
    path.write_text(json.dumps({"data": [*items, {"row": [{"글": "넷"}]}]}))
    with pytest.raises(DataError, match=r"no list of records at 'data\[\].rows'; did you mean 'row'"):
        list(reader.read(path, options))


@pytest.mark.parametrize("encoding", ["utf-8", "UTF8", "utf-16-le", "cp949"])
@pytest.mark.parametrize("format", ["jsonl", "csv", "auto"])
def test_a_mark_before_the_text_is_no_part_of_it_in_a_declared_encoding_either(
    tmp_path: Path, encoding: str, format: str
) -> None:
    text = "글,답\n하나,일\n" if format == "csv" else '{"글": "하나", "답": "일"}\n'
    mark = "" if encoding == "cp949" else "\ufeff"
    path = tmp_path / "a"
    path.write_bytes(f"{mark}{text}".encode(encoding))
    reader = READERS.get(format)
    (row,) = reader.read(path, reader.options(encoding=encoding))
    assert isinstance(row, Row)
    assert row.values == {"글": "하나", "답": "일"}


def test_a_file_whose_name_is_no_text_is_told(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode("데이터.csv".encode("cp949"))
    path.write_text("글,답\n하나,일\n")
    with pytest.raises(DataError, match=r"not UTF-8; read as CP949 it is 데이터\.csv"):
        list(READERS.get("csv").read(path, READERS.get("csv").options()))


def test_a_cut_streamed_array_is_named_with_its_item(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("komt.sources.readers.content.BIG_BYTES", 10)
    (tmp_path / "a.json").write_text('[{"a": 1}, {"a": 2}, {"a"')
    with pytest.raises(DataError, match="broken JSON") as error:
        list(READERS.get("jsonl").read(tmp_path / "a.json", READERS.get("jsonl").options()))
    assert error.value.where == f"{tmp_path}/a.json, item 3"


def test_memory_stays_flat_on_a_big_array(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("komt.sources.readers.content.BIG_BYTES", 1 << 20)
    path = tmp_path / "a.json"
    item = json.dumps({"본문": "가나다라" * 500}, ensure_ascii=False)
    with path.open("w", encoding="utf-8") as file:
        file.write("[" + ",\n".join([item] * 2000) + "]")
    assert path.stat().st_size > 12_000_000
    tracemalloc.start()
    try:
        rows = sum(1 for _ in READERS.get("jsonl").read(path, READERS.get("jsonl").options()))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert rows == 2000
    assert peak < 6_000_000


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32"])
def test_text_that_is_not_in_the_declared_encoding_is_told(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "a.csv").write_text("글,답\n가,나\n다,라\n")
    with pytest.raises(DataError, match=f"not {encoding} text") as error:
        list(Content(tmp_path / "a.csv").lines(encoding))
    assert "a.csv, byte 0" in error.value.where
