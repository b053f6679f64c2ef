"""Formats beside the SQuAD, JSON Lines and tables of test_readers."""

from __future__ import annotations

import json
import unicodedata
import zipfile
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from komt.errors import DataError, UsageError
from komt.sources.readers import READERS, Content, Rejected, Row
from komt.sources.readers.conll import entities_of


def read(format: str, path: Path | Content, **options: Any) -> list[Row | Rejected]:
    reader = READERS.get(format)
    return list(reader.read(path, reader.options.model_validate(options)))


def values(items: list[Row | Rejected]) -> list[dict[str, Any]]:
    return [item.values for item in items if isinstance(item, Row)]


def write(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.write_bytes(text.encode(encoding))
    return path


# Tables


def test_comments_blank_lines_and_a_column_without_name_are_left_out(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "\ufeffid,문장,\r\n\r\n# 말\r\n1, 글 ,\r\n   ,,\r\n2,#글,\r\n")
    items = read("csv", path, comment="# ")
    assert values(items) == [{"id": "1", "문장": "글"}, {"id": "2", "문장": "#글"}]
    assert items[1].where == f"{path}, line 6"


def test_short_records_are_filled_and_stray_delimiters_taken_where_declared(tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt", "좋다|1\n이것|저것|그것|0\n짧다\n")
    options = {"delimiter": "|", "quoting": "none", "header": False, "columns": ["text", "label"]}
    assert values(read("csv", path, **options, pad=True, spill="text")) == [
        {"text": "좋다", "label": "1"},
        {"text": "이것|저것|그것", "label": "0"},
        {"text": "짧다", "label": ""},
    ]
    items = read("csv", path, **options, uneven="reject")
    assert [item.reason for item in items if isinstance(item, Rejected)] == ["wrong_width"] * 2
    with pytest.raises(DataError, match="4 cells where the table has 2"):
        read("csv", path, **options)
    with pytest.raises(DataError, match="spill names 'txt', which is no column"):
        read("csv", path, **options, spill="txt")


def test_a_delimiter_may_be_long_only_without_quoting(tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt", "q ||| a\n질문 ||| 답\n")
    assert values(read("csv", path, delimiter="|||", quoting="none")) == [{"q": "질문", "a": "답"}]
    with pytest.raises(ValidationError, match="a single character"):
        read("csv", path, delimiter="|||")


def test_no_cell_is_converted(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tsv", "a\tb\tc\n007\tTrue\t1e5\n")
    assert values(read("csv", path, delimiter="\t")) == [{"a": "007", "b": "True", "c": "1e5"}]


# Options of every reader


def test_fields_are_renamed_left_out_split_spelt_grouped_and_required(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", '{"A": "x, y,,", "B": 1, "C": "TRUE", "D": " "}\n')
    (row,) = read(
        "jsonl",
        path,
        rename={"A": "words", "B": "score", "D": ""},
        texts=["score"],
        split={"words": ","},
        labels={"C": {"TRUE": "True"}, "score": {1: "하나"}},
        group="C",
    )
    assert isinstance(row, Row)
    group = row.values.pop("group")
    assert row.values == {"words": ["x", "y"], "score": "하나", "C": "True"}
    assert len(group) == 16
    (item,) = read("jsonl", path, required=["D"])
    assert isinstance(item, Rejected)
    assert item.reason == "empty_D"


def test_a_field_that_no_row_has_is_told(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", '{"label": 1}\n{"label": 2, "text": "x"}\n')
    with pytest.raises(DataError, match="rename names 'lable', which no row has; did you mean 'label'"):
        read("jsonl", path, rename={"lable": "x"})
    assert len(read("jsonl", path, rename={"text": "sentence"})) == 2
    with pytest.raises(ValidationError, match="put the spellings in quotes"):
        read("jsonl", path, labels={"label": {True: "x"}})


# JSON


def test_records_stand_where_the_path_leads_and_fields_where_it_picks(tmp_path: Path) -> None:
    data = {
        "data": [
            {"parts": [{"q": "하나", "a": [{"t": "답 "}]}, {"q": "둘", "a": []}]},
            {"parts": [{"q": None}]},
        ]
    }
    path = write(tmp_path / "a.json", json.dumps(data, ensure_ascii=False))
    items = read("json", path, records="data[].parts", pick={"question": "q", "answer": "a.0.t"})
    assert values(items) == [{"question": "하나", "answer": "답"}]
    assert [item.reason for item in items if isinstance(item, Rejected)] == ["missing_answer"] * 2
    items = read("json", path, records="data[].parts[]", pick={"question": "q", "answer": "a.0.t?"})
    assert [row["answer"] for row in values(items)] == ["답", "", ""]
    assert items[2].where == f"{path}, data[].parts[2]"


@pytest.mark.parametrize("text", ['{\n "q": "하나"\n}', '[{"q": "하나"}]', '{"q": "하나"}\n'])
def test_a_json_file_is_a_list_lines_or_one_object(tmp_path: Path, text: str) -> None:
    assert values(read("json", write(tmp_path / "a", text))) == [{"q": "하나"}]


def test_a_path_without_records_is_answered_with_the_names_there(tmp_path: Path) -> None:
    path = write(tmp_path / "a.json", '{"documents": [{"a": 1}], "version": 2}')
    with pytest.raises(DataError, match="no list of records at 'document'; did you mean 'documents'"):
        read("json", path, records="document")


def test_text_from_json_is_nfc_whether_written_out_or_escaped(tmp_path: Path) -> None:
    nfd = unicodedata.normalize("NFD", "값")
    path = write(
        tmp_path / "a.jsonl",
        json.dumps({"a": nfd}, ensure_ascii=False) + "\n" + json.dumps({"a": nfd}) + "\n",
    )
    assert values(read("jsonl", path)) == [{"a": "값"}, {"a": "값"}]


# CoNLL


def test_letters_with_their_spaces_become_a_sentence_with_entities(tmp_path: Path) -> None:
    text = (
        "## 칼럼명 : CHAR\tNE_TAG\n## ner-00\t<서울:LC> 간다\n서\tB-LC\n울\tI-LC\n \tO\n간\tO\n다\tO\n\n"
        "## ner-01\t<김:PS><박:PS>\n김\tB-PS\n박\tB-PS\n"
    )
    items = read("conll", write(tmp_path / "a.tsv", text), comment="##", join="")
    assert values(items) == [
        {"id": "ner-00", "sentence": "서울 간다", "entities": [{"text": "서울", "type": "LC"}]},
        {
            "id": "ner-01",
            "sentence": "김박",
            "entities": [{"text": "김", "type": "PS"}, {"text": "박", "type": "PS"}],
        },
    ]
    assert items[0].where.endswith("a.tsv, line 3")


@pytest.mark.parametrize(
    ("tags", "found"),
    [
        ("B-A I-A O I-B I-B", ["A:가 나", "B:라 마"]),
        ("I-A I-B B-B O O", ["A:가", "B:나", "B:다"]),
        ("S-A S-A O B-A E-A", ["A:가", "A:나", "A:라 마"]),
        ("A-B A-I B-B - O", ["A:가 나", "B:다"]),
        ("B-A O I-A O E-A", ["A:가", "A:다", "A:마"]),
        ("B-PER-X I-PER-X O O O", ["PER-X:가 나"]),
    ],
)
def test_entities_of_every_usual_scheme(tags: str, found: list[str]) -> None:
    entities = entities_of(["가", "나", "다", "라", "마"], tags.split(), " ")
    assert [f"{entity['type']}:{entity['text']}" for entity in entities] == found


def test_words_of_a_dependency_tree_have_numbers_for_their_heads(tmp_path: Path) -> None:
    text = "## dp-0\t나는 간다.\n1\t나는\t나 는\tNP+JX\t2\tNP_SBJ\n2\t간다.\t가 ㄴ다 .\tVV+EF+SF\t0\tVP\n"
    columns = ["index", "word", "lemma", "pos", "head", "relation"]
    (row,) = values(read("conll", write(tmp_path / "a.tsv", text), comment="##", columns=columns))
    assert row["sentence"] == "나는 간다."
    assert row["words"][0] == {
        "index": 1,
        "word": "나는",
        "lemma": "나 는",
        "pos": "NP+JX",
        "head": 2,
        "relation": "NP_SBJ",
    }


def test_sentences_with_their_tags_a_line(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "question,label\n서울 날씨, 어때,S-LOC O O\n둘 뿐,O\n")
    items = read("conll", path, layout="lines", delimiter=",", header=True)
    assert values(items) == [{"sentence": "서울 날씨, 어때", "entities": [{"text": "서울", "type": "LOC"}]}]
    assert isinstance(items[1], Rejected)
    assert items[1].reason == "tags_do_not_match"


def test_a_line_with_too_few_columns_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="1 columns where 2 are declared") as error:
        read("conll", write(tmp_path / "a.tsv", "가\tO\n나\n"))
    assert error.value.where.endswith("a.tsv, line 2")


# Parallel text


def beside(path: Path, *others: Path) -> Content:
    return Content(path, beside=tuple(map(Content, others)))


def test_lines_beside_each_other_are_pairs_and_empty_ones_rejected(tmp_path: Path) -> None:
    ko = write(tmp_path / "a.ko", "하나\u2028둘\r\n\r\n셋\r\n", "utf-16")
    en = write(tmp_path / "a.en", "one two\nnothing\nthree")
    items = read("parallel", beside(ko, en))
    assert values(items) == [{"ko": "하나\u2028둘", "en": "one two"}, {"ko": "셋", "en": "three"}]
    assert isinstance(items[1], Rejected)
    assert items[1].reason == "empty_ko"


def test_unequal_numbers_of_lines_are_both_named(tmp_path: Path) -> None:
    ko, en = write(tmp_path / "a.ko", "하나\n둘\n셋\n"), write(tmp_path / "a.en", "one\n")
    with pytest.raises(DataError) as error:
        read("parallel", beside(ko, en))
    assert f"3 lines in {ko}" in error.value.what
    assert f"1 lines in {en}" in error.value.what
    with pytest.raises(UsageError, match="2 files beside each other, and 3 fields"):
        read("parallel", beside(ko, en), fields=["ko", "en", "fr"])


# Workbooks, Parquet, hub datasets


def workbook(path: Path, sheets: dict[str, list[list[Any]]]) -> Path:
    import openpyxl

    book = openpyxl.Workbook()
    book.remove(book.active)
    for name, rows in sheets.items():
        sheet = book.create_sheet(name)
        for row in rows:
            sheet.append(row)
    book.save(path)
    return path


def test_a_sheet_is_a_table_of_texts(tmp_path: Path) -> None:
    import datetime

    nfd = unicodedata.normalize("NFD", "원문")
    rows = [
        ["제목", None, None],
        [nfd, "번역문", None],
        ["글\r\n", " text ", None],
        [None, None],
        [3.0, True],
    ]
    rows.append([datetime.date(2023, 10, 9), 1.5])
    path = workbook(tmp_path / "a.xlsx", {"하나": rows, "둘": [["a"], ["x"]]})
    items = read("xlsx", path, skip=1)
    assert values(items) == [
        {"원문": "글", "번역문": "text"},
        {"원문": "3", "번역문": "True"},
        {"원문": "2023-10-09", "번역문": "1.5"},
    ]
    assert items[1].where == f"{path}, row 5"
    assert values(read("xlsx", path, sheet="둘")) == [{"a": "x"}]
    assert [item.where for item in read("xlsx", path, sheet="*", header=False, columns=["a", "b", "c"])][
        -1
    ] == f"{path}/둘, row 2"
    with pytest.raises(DataError, match="no sheet '셋'") as error:
        read("xlsx", path, sheet="셋")
    assert "하나, 둘" in error.value.cure


def test_what_is_no_workbook_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no Excel workbook"):
        read("xlsx", write(tmp_path / "a.xlsx", "a,b\n"))


def parquet(path: Path) -> Path:
    import pyarrow
    import pyarrow.parquet

    features = {"label": {"names": ["부정", "긍정"], "_type": "ClassLabel"}}
    table = pyarrow.table(
        {"글": ["가 ", None], "label": [1, 0], "목록": [["나"], []], "그림": [b"\x00", b""]}
    )
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    pyarrow.parquet.write_table(table.replace_schema_metadata(metadata), path)
    return path


@pytest.mark.parametrize(
    ("member", "cut", "what"),
    [
        ("sheet1.xml", 0.5, "the sheet cannot be read"),
        ("workbook.xml", 0.5, "no Excel workbook"),
        ("styles.xml", 0.1, "no Excel workbook"),
        ("sheet1.xml", -1.0, "no sheet in the workbook"),
    ],
)
def test_a_broken_workbook_is_told(tmp_path: Path, member: str, cut: float, what: str) -> None:
    whole = workbook(
        tmp_path / "whole.xlsx", {"하나": [["물음", "답"], *([f"물음 {n}", "답"] for n in range(50))]}
    )
    with zipfile.ZipFile(whole) as old, zipfile.ZipFile(tmp_path / "a.xlsx", "w") as new:
        for name in old.namelist():
            data = old.read(name)
            if name.endswith(member):
                data = data[: int(cut * len(data))]
            if not (name.endswith(member) and cut < 0):
                new.writestr(name, data)
    with pytest.raises(DataError, match=what) as error:
        read("xlsx", tmp_path / "a.xlsx")
    assert "a.xlsx" in error.value.where


def test_parquet_rows_have_names_for_classes_and_no_bytes(tmp_path: Path) -> None:
    path = parquet(tmp_path / "a.parquet")
    assert values(read("parquet", path)) == [
        {"글": "가", "label": "긍정", "목록": ["나"]},
        {"글": "", "label": "부정", "목록": []},
    ]
    assert values(read("parquet", path, columns=["label"], label_names=False)) == [{"label": 1}, {"label": 0}]
    with pytest.raises(DataError, match="no column 'labels'; did you mean 'label'"):
        read("parquet", path, columns=["labels"])
    with pytest.raises(DataError, match="no Parquet file"):
        read("parquet", write(tmp_path / "b.parquet", "PAR1 and nothing else"))


def test_a_column_twice_in_a_parquet_file_is_told(tmp_path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    table = pyarrow.Table.from_arrays([pyarrow.array(["1"]), pyarrow.array(["2"])], names=["답", "답"])
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(DataError, match="the column '답' stands twice"):
        read("parquet", tmp_path / "a.parquet")


def test_a_dataset_of_the_hub_is_read_from_its_folder(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    data = datasets.Dataset.from_dict({"글": ["가", "나"], "label": [0, 1]})
    data = data.cast_column("label", datasets.ClassLabel(names=["부정", "긍정"]))
    datasets.DatasetDict({"train": data, "test": data.select([1])}).save_to_disk(str(tmp_path / "saved"))
    data.save_to_disk(str(tmp_path / "one"))
    expected = [{"글": "가", "label": "부정"}, {"글": "나", "label": "긍정"}]
    assert values(read("hub", tmp_path / "saved", part="train")) == expected
    assert values(read("hub", tmp_path / "one")) == expected
    with pytest.raises(DataError, match="the dataset has several splits") as error:
        read("hub", tmp_path / "saved")
    assert "train, test" in error.value.cure
    (tmp_path / "files").mkdir()
    parquet(tmp_path / "files" / "train.parquet")
    assert [row["label"] for row in values(read("hub", tmp_path / "files"))] == ["긍정", "부정"]
    with pytest.raises(DataError, match="no folder of a dataset"):
        read("hub", tmp_path / "nothing")


# Forms of single sets


def test_paraphrase_sets_give_as_many_equal_pairs_as_different_ones(tmp_path: Path) -> None:
    lines = [
        f"{number // 40}\t{number // 20 % 2}\t{number // 10}번째 뜻의 말 {number % 10}"
        for number in range(80)
    ]
    path = write(tmp_path / "a.txt", "\n".join(lines) + "\n")
    sentences = values(read("parakqc", path))
    expected = {"topic": "0", "act": "1", "sentence": "2번째 뜻의 말 5", "set": 2}
    assert {**sentences[25], **expected} == sentences[25]
    pairs = values(read("parakqc", path, rows="pairs"))
    assert [pair["label"] for pair in pairs[:10]] == ["same"] * 5 + ["different"] * 5
    meaning = {row["sentence"]: row["set"] for row in sentences}
    kind = {row["set"]: (row["topic"], row["act"]) for row in sentences}
    for pair in pairs:
        first, second = meaning[pair["sentence1"]], meaning[pair["sentence2"]]
        assert (first == second) == (pair["label"] == "same")
    hard = [pair for number, pair in enumerate(pairs) if number % 10 in (5, 6, 7)]
    assert all(kind[meaning[pair["sentence1"]]] == kind[meaning[pair["sentence2"]]] for pair in hard)
    same = [pair for pair in pairs if pair["label"] == "same"]
    assert sorted(pair[side] for pair in same for side in ("sentence1", "sentence2")) == sorted(meaning)
    assert values(read("parakqc", path, rows="pairs")) == pairs


def test_a_set_that_is_not_of_ten_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not a set of ten") as error:
        read("parakqc", write(tmp_path / "a.txt", "0\t0\t말\n" * 12))
    assert error.value.where.endswith("line 11")


def test_a_news_item_has_its_full_stops_and_its_summary(tmp_path: Path) -> None:
    item = {"title": "제목", "slug": "s", "sentences": ["비가 온다", '"좋다"', "끝(끝)"], "summaries": [2, 0]}
    path = write(tmp_path / "1.json", json.dumps(item))
    (row,) = values(read("scinews", path))
    assert row["context"] == '비가 온다. "좋다" 끝(끝).'
    assert row["summary"] == ["비가 온다", "끝(끝)"]
    (rejected,) = read("scinews", write(tmp_path / "2.json", json.dumps({**item, "summaries": [3]})))
    assert isinstance(rejected, Rejected)
    assert rejected.reason == "summary_not_in_text"
    with pytest.raises(DataError, match="no list under 'sentences'"):
        read("scinews", write(tmp_path / "3.json", json.dumps({**item, "sentences": "x"})))
