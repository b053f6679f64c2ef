from __future__ import annotations

import json
import unicodedata
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from squad_files import question, squad

from komt.errors import DataError, UsageError
from komt.sources import READERS, Rejected
from komt.sources.readers import Row, content_of
from komt.sources.readers.auto import sniff_delimiter


def read(format: str, path: Path, **options: Any) -> list[Row | Rejected]:
    reader = READERS.get(format)
    return list(reader.read(path, reader.options.model_validate(options)))


def write(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.write_bytes(text.encode(encoding))
    return path


def test_an_answer_is_located_in_the_normalised_passage(tmp_path: Path) -> None:
    passage = "서울은 크다. 부산은 서울 다음이다."
    nfd = unicodedata.normalize("NFD", passage)
    second = nfd.rindex(unicodedata.normalize("NFD", "서울"))
    answer = unicodedata.normalize("NFD", "서울")
    path = write(
        tmp_path / "a.json", squad([{"context": nfd, "qas": [question("q", "어디?", answer, second)]}])
    )
    (row,) = read("squad", path)
    assert isinstance(row, Row)
    assert row.values["context"] == passage
    assert row.values["answer"] == "서울"
    assert row.values["answer_start"] == passage.rindex("서울")


def test_the_nearest_occurrence_is_the_evidence(tmp_path: Path) -> None:
    qas = [question("a", "?", "가", 0), question("b", "?", "가", 5), question("c", "?", "가", 9)]
    path = write(tmp_path / "a.json", squad([{"context": "가나다라 가나다라 가", "qas": qas}]))
    assert [row.values["answer_start"] for row in read("squad", path) if isinstance(row, Row)] == [0, 5, 10]


def test_unusable_questions_are_rejected_with_their_reason(tmp_path: Path) -> None:
    qas = [
        question("a", "질문?", "없는 말", 0),
        question("b", "  ", "글", 0),
        {"id": "c", "question": "질문?", "answers": []},
        question("d", "질문?", "글", 0),
    ]
    path = write(
        tmp_path / "a.json", squad([{"context": "글이다", "qas": qas}, {"context": " ", "qas": qas[3:]}])
    )
    items = read("squad", path)
    reasons = [item.reason if isinstance(item, Rejected) else "" for item in items]
    assert reasons == ["answer_not_in_passage", "empty_question", "empty_answer", "", "empty_context"]
    assert items[0].where.endswith("a.json, data[0].paragraphs[0].qas[0]")


def test_passages_bring_the_extra_keys_of_their_paragraph(tmp_path: Path) -> None:
    paragraph = {
        "context": "글",
        "title": "작은 제목",
        "summary": "요약",
        "keywords": ["가", "나"],
        "qas": [],
    }
    path = write(tmp_path / "a.json", squad([paragraph]))
    (row,) = read("squad", path, rows="passages")
    assert isinstance(row, Row)
    assert row.values["title"] == "작은 제목"
    assert row.values["keywords"] == ["가", "나"]
    assert row.values["id"] == row.values["group"]


def test_a_file_of_another_shape_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "a.json", '{"data": [{"paragraphs": 3}]}')
    with pytest.raises(DataError, match="no list of objects under 'paragraphs'") as error:
        read("squad", path)
    assert "data[0]" in error.value.where


def test_json_lines_and_arrays_are_told_apart_by_content(tmp_path: Path) -> None:
    rows = [{"가": "1\u001c2"}, {"가": "3"}]
    lines = write(
        tmp_path / "lines.json", "".join(json.dumps(row, ensure_ascii=False) + "\r\n" for row in rows)
    )
    array = write(tmp_path / "array.jsonl", json.dumps(rows))
    assert [row.values for row in read("jsonl", lines) if isinstance(row, Row)] == rows
    assert [row.values for row in read("jsonl", array) if isinstance(row, Row)] == rows


@pytest.mark.parametrize(
    ("text", "where"),
    [('{"a": 1}\n{"a": \n', "line 2"), ('[{"a": 1},\n {"a" 2}]', "line 2"), ('{"a": 1}\n[1]\n', "line 2")],
)
def test_broken_json_is_named_with_file_and_line(tmp_path: Path, text: str, where: str) -> None:
    with pytest.raises(DataError) as error:
        read("jsonl", write(tmp_path / "a.jsonl", text))
    assert f"a.jsonl, {where}" in error.value.where


def test_quoted_cells_hold_delimiters_and_line_breaks(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", 'q,a\r\n"첫 줄,\n둘째 ""줄""",답\r\n\r\n끝,답2\r\n')
    rows = read("csv", path)
    assert rows[0] == Row({"q": '첫 줄,\n둘째 "줄"', "a": "답"}, f"{path}, line 2")
    assert rows[1] == Row({"q": "끝", "a": "답2"}, f"{path}, line 5")


def test_without_quoting_a_quote_is_a_letter(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tsv", 'x\ty\n"가\t나\n다\t라"\n')
    rows = read("csv", path, delimiter="\t", quoting="none")
    assert [row.values for row in rows if isinstance(row, Row)] == [
        {"x": '"가', "y": "나"},
        {"x": "다", "y": '라"'},
    ]


def test_columns_from_files_beside_a_table(tmp_path: Path) -> None:
    table = write(tmp_path / "t.tsv", "댓글\t표\n가\t1\n나\t0\n")
    content = content_of(table)
    for titles in ('"하나 ""둘"""\n\n', "하나\n", "하나\n둘\n셋\n", "하나\t둘\n셋\n"):
        beside = content_of(write(tmp_path / "titles.txt", titles))
        reader = READERS.get("csv")
        options = reader.options(delimiter="\t", beside=("제목",))
        rows = reader.read(replace(content, beside=(beside,)), options)
        if titles.startswith('"'):
            texts = [row.values["제목"] for row in rows if isinstance(row, Row)]
            assert texts == ['하나 "둘"', ""]
        else:
            with pytest.raises(DataError, match=r"another number of records|2 cells"):
                list(rows)
    with pytest.raises(UsageError, match="1 files beside the table, and 0 columns"):
        list(reader.read(replace(content, beside=(beside,)), reader.options(delimiter="\t")))


def test_a_table_without_header_gets_declared_columns(tmp_path: Path) -> None:
    rows = read("csv", write(tmp_path / "a.csv", "1,2\n"), header=False, columns=("a", "b"))
    assert rows[0].values == {"a": "1", "b": "2"}  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("text", "what", "where"),
    [
        ("a,b\n1,2\n3\n", "1 cells where the table has 2 columns", "line 3"),
        ('a,b\n"1,2\n3,4\n', "broken table", "line 2"),
        ("a,a\n1,2\n", "'a' stands twice", "line 1"),
        ("a,b\n", "a header but no row", "a.csv"),
    ],
)
def test_a_broken_table_is_named_with_file_and_line(tmp_path: Path, text: str, what: str, where: str) -> None:
    with pytest.raises(DataError, match=what) as error:
        read("csv", write(tmp_path / "a.csv", text))
    assert where in error.value.where
    assert error.value.cure


@pytest.mark.parametrize("delimiter", [",", "\t", ";", "|"])
def test_the_delimiter_is_the_one_that_splits_evenly(delimiter: str) -> None:
    text = "\n".join(
        delimiter.join(cells) for cells in (("물음", "답"), ('"가, 나; 다"', "라"), ("마", "바"))
    )
    assert sniff_delimiter(text) == delimiter


def test_own_tables_are_read_by_content_and_encoding(tmp_path: Path) -> None:
    path = write(tmp_path / "표.txt", "질문;답\r\n무엇?;이것\r\n", "cp949")
    assert read("auto", path)[0] == Row({"질문": "무엇?", "답": "이것"}, f"{path}, line 2")


def test_a_table_whose_quotes_are_letters_loses_no_row(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tsv", 'x\ty\n"가\t나\n다\t"라" 마\n"바\t사\n')
    rows = read("auto", path)
    assert [row.values["x"] for row in rows if isinstance(row, Row)] == ['"가', "다", '"바']
    quoted = write(tmp_path / "b.tsv", 'x\ty\n"가"\t"나\n다"\n')
    assert read("auto", quoted)[0] == Row({"x": "가", "y": "나\n다"}, f"{quoted}, line 2")


def test_keys_that_an_object_lacks_are_empty_texts(tmp_path: Path) -> None:
    path = write(tmp_path / "a.json", '[{"a": "1", "b": null}, {"a": "2", "c": "3"}]')
    values = [row.values for row in read("auto", path) if isinstance(row, Row)]
    assert values == [{"a": "1", "b": "", "c": ""}, {"a": "2", "b": "", "c": "3"}]


@pytest.mark.parametrize("format", ["jsonl", "auto"])
def test_half_a_surrogate_pair_rejects_its_row(tmp_path: Path, format: str) -> None:
    text = '{"q": "\\ud800", "a": "1"}\n{"q": "\\ud83d\\ude00", "a": "2"}\n{"q": ["\\udc00"], "a": "3"}\n'
    path = write(tmp_path / "a.jsonl", text)
    first, second, third = read(format, path)
    assert first == Rejected("broken_unicode", f"{path}, line 1", {"q": "\\ud800", "a": "1"})
    assert second == Row({"q": "\U0001f600", "a": "2"}, f"{path}, line 2")
    assert isinstance(third, Rejected)


@pytest.mark.parametrize("rows", ["questions", "passages"])
def test_half_a_surrogate_pair_rejects_what_a_squad_file_holds(tmp_path: Path, rows: str) -> None:
    qas = [question("a", "\ud800?", "글", 0), question("b", "?", "글", 0)]
    text = json.dumps(
        {"data": [{"paragraphs": [{"context": "글", "qas": qas}, {"context": "글\ud800", "qas": qas[1:]}]}]}
    )
    items = read("squad", write(tmp_path / "a.json", text), rows=rows)
    reasons = [item.reason if isinstance(item, Rejected) else "" for item in items]
    assert reasons == (
        ["broken_unicode", "", "broken_unicode"] if rows == "questions" else ["", "broken_unicode"]
    )


@pytest.mark.parametrize("indent", [None, 2])
def test_an_object_around_the_list_of_rows_is_named(tmp_path: Path, indent: int | None) -> None:
    wrapped = json.dumps({"version": "1", "data": [{"q": "1", "a": "2"}]}, indent=indent)
    with pytest.raises(DataError, match="one JSON object that holds a list under 'data'") as error:
        read("auto", write(tmp_path / "a.json", wrapped))
    assert "save the list under 'data'" in error.value.cure


@pytest.mark.parametrize("reader", ["auto", "jsonl"])
def test_one_conversation_as_json_lines_is_a_row(tmp_path: Path, reader: str) -> None:
    talk = {"messages": [{"role": "user", "content": "안녕"}, {"role": "assistant", "content": "네"}]}
    text = json.dumps(talk, ensure_ascii=False)
    (row,) = read(reader, write(tmp_path / "a.jsonl", text))
    assert isinstance(row, Row)
    assert row.values == talk


def test_an_unknown_reader_is_answered_with_the_nearest() -> None:
    with pytest.raises(UsageError, match="did you mean 'jsonl'"):
        READERS.get("jsonl1")


@pytest.mark.parametrize("head", ["--1", "²", "9" * 5000, ""])
def test_what_is_no_number_of_a_word_stays_a_text(tmp_path: Path, head: str) -> None:
    path = write(tmp_path / "a.conll", f"1\t나는\t{head}\n2\t간다\t-1\n\n")
    (row,) = read("conll", path, columns=["index", "word", "head"])
    assert isinstance(row, Row)
    assert row.values["words"][0]["head"] == head
    assert row.values["words"][1]["head"] == -1


def test_half_a_surrogate_pair_in_a_row_that_is_rejected_anyhow_is_spelled_out() -> None:
    rejected = Rejected("empty_question", "a.json, item 1", {"context": "글 \ud83d", "answers": ["\udc00"]})
    assert rejected.row == {"context": "글 \\ud83d", "answers": ["\\udc00"]}
    json.dumps(rejected.row, ensure_ascii=False).encode()
