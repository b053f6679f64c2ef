from __future__ import annotations

from pathlib import Path

import pytest

from komt.encodings import read_text, sniff_encoding
from komt.errors import DataError


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp949", "utf-16", "utf-32"])
def test_korean_text_is_read_in_any_usual_encoding(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "글.txt"
    path.write_bytes("한글 텍스트입니다".encode(encoding))
    assert read_text(path) == "한글 텍스트입니다"


@pytest.mark.parametrize("order", ["le", "be"])
def test_utf32_is_told_from_utf16_by_its_mark(order: str) -> None:
    assert sniff_encoding("\ufeff번호,글\n1,가\n".encode(f"utf-32-{order}")) == "utf-32"
    assert sniff_encoding("\ufeff번호,글\n1,가\n".encode(f"utf-16-{order}")) == "utf-16"


@pytest.mark.parametrize(
    "text", ["질문,답\n안녕\x00,네\n", "a,b\n1\x00,2\n3,4\n", "물음\x00", "가\x00\n" * 20]
)
def test_utf8_with_a_few_nuls_is_not_taken_for_utf16(text: str) -> None:
    assert sniff_encoding(text.encode()) == "utf-8"


@pytest.mark.parametrize(
    "text",
    [
        "ab",
        "번호,글\n1,가\n",
        "id,text\n1,plain English\n",
        "한 글\n",
        "가가 대대 글\n",
        "ひらがな, 漢字 日本語\n",
    ],
)
@pytest.mark.parametrize("order", ["le", "be"])
def test_short_utf16_without_a_mark_is_known(text: str, order: str) -> None:
    assert sniff_encoding(text.encode(f"utf-16-{order}")) == f"utf-16-{order}"


def test_bytes_that_are_no_korean_text_have_no_encoding() -> None:
    assert sniff_encoding(b"\xff\x00\xff") == ""


def test_undecodable_bytes_are_named_with_their_place(tmp_path: Path) -> None:
    path = tmp_path / "broken"
    path.write_bytes(b"abc\xff\xff")
    with pytest.raises(DataError, match="0xff") as error:
        read_text(path)
    assert "byte 3" in str(error.value)


@pytest.mark.parametrize("content", [b"", b"  \n"])
def test_an_empty_file_is_an_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(DataError, match="empty"):
        read_text(tmp_path / "x")


def test_what_cannot_be_read_is_told_with_a_cure(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("글")
    (tmp_path / "empty").touch()
    for path, encoding, cure in (
        (Path("none"), "", f"check the path; it is looked for in {Path.cwd()}"),
        (tmp_path, "", "name a file in it"),
        (tmp_path / "empty", "", "name another file"),
        (tmp_path / "x", "klingon", "cp949"),
    ):
        with pytest.raises(DataError) as error:
            read_text(path, encoding)
        assert cure in error.value.cure
