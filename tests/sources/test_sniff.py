"""What `komt sources check PATH` reads off a file."""

from __future__ import annotations

import gc
import gzip
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from downloads import tar_of, zip_of

from komt.cli import main
from komt.errors import DataError
from komt.sources import SOURCES, add_folder_beside, read_rows
from komt.sources.sniff import sniff, split_named
from komt.sources.sniff_text import looks_like_header

Captured = pytest.CaptureFixture[str]


def write(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode(encoding))
    return path


PLAIN = {"format": "csv", "delimiter": "\t", "quoting": "none"}
TABLES = {
    "commas": ('q,a\n"가, 나",다\n라,마\n', {"format": "csv", "delimiter": ",", "quoting": "standard"}, 2),
    "semicolons": ("q;a\n가;나\n", {"format": "csv", "delimiter": ";", "quoting": "standard"}, 1),
    "tabs with quotes for letters": ('q\ta\n"가\t나\n다\t라"\n마\t"바" 사\n', PLAIN, 3),
    "tabs with quoting": (
        'q\ta\n"가\n나"\t다\n라\t"마\n바"\n',
        {"format": "csv", "delimiter": "\t", "quoting": "standard"},
        2,
    ),
    "no header": (
        "0\t가나다라\n1\t마바사아\n",
        {**PLAIN, "header": False, "columns": ["column1", "column2"]},
        2,
    ),
    "no header and an empty column": (
        "0\t가나다라\t\n1\t마바사아\t\n",
        {**PLAIN, "header": False, "columns": ["column1", "column2", ""]},
        2,
    ),
    "a column called 1": ("ID\tsentence\t1\t2\tAnswer\n1\t가\t나\t다\t2\n", PLAIN, 1),
    "comments": ("# 말\n# 말\nq\ta\n가\t나\n다\t라\n마\t바\n", {**PLAIN, "comment": "#"}, 3),
    "one column": (
        "첫 줄, 그리고\n둘째 줄\n셋째, 넷째, 줄\n",
        {**PLAIN, "header": False, "columns": ["text"]},
        3,
    ),
    "one column with its name": ("text\n첫 줄\n둘째 줄\n", PLAIN, 2),
    "a stray bar": (
        "".join(f"글 {n}|{n % 2}\n" for n in range(60)) + "이|것|0\n",
        {"format": "csv", "delimiter": "|", "quoting": "standard", "header": False}
        | {"columns": ["column1", "column2"], "spill": "column1"},
        61,
    ),
    "letters with tags": ("가\tB-PS\n나\tI-PS\n \tO\n다\tO\n\n라\tO\n", {"format": "conll", "join": ""}, 2),
    "words with tags": ("나는\tO\n서울에\tB-LC\n\n간다\tO\n", {"format": "conll"}, 2),
    "a dependency tree": (
        "1\t가\t가\tA\t2\tX\n2\t나\t나\tB\t0\tY\n\n1\t다\t다\tB\t0\tY\n",
        {"format": "conll", "columns": ["index", "word", "lemma", "pos", "head", "relation"]},
        2,
    ),
    "sentences with tags": (
        "q,label\n" + "서울 날씨,B-LC O\n부산,B-LC\n" * 5,
        {"format": "conll", "layout": "lines", "delimiter": ",", "header": True},
        10,
    ),
    "json lines": ('{"a": 1}\n{"a": 2}\n', {"format": "jsonl"}, 2),
    "a list": ('[{"a": 1}, {"a": 2}]', {"format": "jsonl"}, 2),
    "one object": ('{\n "a": 1\n}', {"format": "json"}, 1),
    "a list in an object": (
        '{"v": 1, "x": {"rows": [{"a": 1}]}}',
        {"format": "json", "records": "x.rows"},
        1,
    ),
    "lists in lists": (
        '{"data": [{"id": 1, "rows": [{"a": 1}]}, {"id": 2, "rows": []}]}',
        {"format": "json", "records": "data"},
        2,
    ),
    "squad": (
        '{"data": [{"paragraphs": [{"context": "글", "qas": []}]}]}',
        {"format": "squad"},
        0,
    ),
}


@pytest.mark.parametrize("name", TABLES)
def test_what_a_text_is_written_as_is_read_off(tmp_path: Path, name: str) -> None:
    text, reader, rows = TABLES[name]
    found = sniff(write(tmp_path / "a.txt", text))
    assert found.declaration["reader"] == reader
    assert found.rows == {"train": rows}
    assert found.rejected == {}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp949", "utf-16", "utf-16-le"])
def test_the_encoding_is_told(tmp_path: Path, encoding: str) -> None:
    found = sniff(write(tmp_path / "a.csv", "번호,문의\n1,언제 오나요\n2,환불해 주세요\n", encoding))
    assert found.encodings == (encoding,)
    assert found.columns == {"번호": ["1", "2"], "문의": ["언제 오나요", "환불해 주세요"]}


def test_bytes_that_no_encoding_has_are_named_with_their_place(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes("번호,문의\n".encode() + b"\xff\xff\n")
    with pytest.raises(DataError, match="byte 0xff") as error:
        sniff(path)
    assert error.value.where == f"{path}, byte 14"


@pytest.mark.parametrize(
    ("name", "data"), [("a.csv", b""), ("b.csv", b" \n\n"), ("c.xls", b"\xd0\xcf\x11\xe0x")]
)
def test_what_cannot_be_read_is_told(tmp_path: Path, name: str, data: bytes) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(DataError, match=r"empty|old Excel"):
        sniff(tmp_path / name)


@pytest.mark.parametrize("depth", [700, 100_000])
@pytest.mark.parametrize(
    ("before", "after"),
    [('{"a": ', "}"), ('[{"a": ', "}]"), ('{"a": 1}\n{"a": ', "}"), ('{"rows": [{"a": ', "}]}"), ("", "")],
)
def test_json_nested_too_deeply_is_told_with_its_place(
    tmp_path: Path, before: str, after: str, depth: int
) -> None:
    path = write(tmp_path / "a.json", before + "[" * depth + "]" * depth + after)
    # What other tests left behind is not to end where the stack is full: pytest reports such an end.
    gc.disable()
    try:
        with pytest.raises(DataError, match=r"nested too deeply|expected an object") as error:
            sniff(path)
    finally:
        gc.enable()
    assert path.name in error.value.where


def test_a_list_of_objects_is_found_below_names_and_lists(tmp_path: Path) -> None:
    found = sniff(write(tmp_path / "a.json", '{"v": [1, 2], "x": {"item": [{"rows": [{"a": 1}]}]}}'))
    assert found.declaration["reader"] == {"format": "json", "records": "x.item"}


def test_short_records_are_seen_and_filled(tmp_path: Path) -> None:
    text = "id,text,label\n" + "".join(f"{n},글,가\n" for n in range(30)) + "30,글\n"
    found = sniff(write(tmp_path / "a.csv", text))
    assert found.declaration["reader"]["pad"] is True
    assert "1 records are too short: filled with empty cells" in found.remarks
    assert found.rows == {"train": 31}


@pytest.mark.parametrize("broken", ['"질문 7,"답, 7"', '"질문 7","답, 7', '"질문 7"이요,"답, 7"'])
@pytest.mark.parametrize("comma", [", ", " "])
def test_one_open_quote_is_named_with_its_line(tmp_path: Path, broken: str, comma: str) -> None:
    lines = ["q,a", *(f'"질문 {n}","답{comma}{n}"' for n in range(20))]
    lines[8] = broken.replace(", ", comma)
    found = sniff(write(tmp_path / "a.csv", "\n".join(lines) + "\n"))
    assert [remark for remark in found.remarks if remark.startswith("line 9 opens a quote")]
    assert "19 of 20" in found.remarks[-1]


def test_quotes_for_letters_are_no_open_quotes(tmp_path: Path) -> None:
    rows = [f'{n}\t"말" 하고 {n}' for n in range(20)] + ['20\t"통째로"', '21\t"열고']
    found = sniff(write(tmp_path / "a.tsv", "\n".join(["id\ttext", *rows]) + "\n"))
    assert found.declaration["reader"]["quoting"] == "none"
    assert found.remarks == []


def test_a_split_is_known_by_the_name() -> None:
    names = [
        "x.train.json",
        "2.Validation",
        "라벨_검증",
        "test_2k.tsv",
        "dev",
        "latest.csv",
        "contest",
        "Training",
    ]
    assert [split_named(name) for name in names] == ["train", "dev", "dev", "test", "dev", "", "", "train"]


def test_a_header_is_told_from_a_row() -> None:
    rows = [("가나다", "라마바"), ("사아자", "차카타")]
    assert looks_like_header(("sent", "cls"), rows)
    assert not looks_like_header(("하나 둘", "셋 넷"), rows)
    assert not looks_like_header(("1", "2"), rows)
    assert not looks_like_header(("text", "text"), rows)


FILES = {
    "데이터/Training/[라벨]가.json": b'[{"a": 1}, {"a": 2}]',
    "데이터/Validation/[라벨]나.json": b'[{"a": 3}]',
    "데이터/설명.md": b"read me",
}


@pytest.mark.parametrize("kind", ["zip", "tar.gz", "folder"])
def test_an_archive_is_declared_by_its_folders(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"묶음.{kind}"
    if kind == "folder":
        for name, data in FILES.items():
            write(path / name, data.decode())
    else:
        path.write_bytes(zip_of(FILES, cp949=True) if kind == "zip" else gzip.compress(tar_of(FILES)))
    found = sniff(path)
    assert found.rows == {"train": 2, "dev": 1}
    assert [file["member"] for file in found.declaration["files"]] == [
        "Training/**/*.json",
        "Validation/**/*.json",
    ]
    assert found.remarks[0].startswith("1 file of another kind is left out: ")


def test_files_that_the_declaration_does_not_read_are_named(tmp_path: Path) -> None:
    files = {
        "readme.txt": "읽어 주세요\n",
        "train.csv": "q,a\n가,나\n",
        "dev.json": '[{"q": "질문", "a": "답"}]',
    }
    (tmp_path / "two.zip").write_bytes(zip_of({name: text.encode() for name, text in files.items()}))
    found = sniff(tmp_path / "two.zip")
    assert found.rows == {"dev": 1}
    assert "2 files of other kinds are left out: two.zip/train.csv, two.zip/readme.txt;" in found.remarks[0]
    pairs = {"a.ko": "하나\n", "a.en": "one\n", "notes.csv": "q,a\n가,나\n"}
    (tmp_path / "pairs.zip").write_bytes(zip_of({name: text.encode() for name, text in pairs.items()}))
    assert "notes.csv" in sniff(tmp_path / "pairs.zip").remarks[0]


def test_files_that_differ_in_the_language_are_read_beside_each_other(tmp_path: Path) -> None:
    files = {"a.dev.ko": "하나\n둘\n", "a.dev.en": "one\ntwo\n", "a.test.ko": "셋\n", "a.test.en": "three\n"}
    (tmp_path / "a.zip").write_bytes(zip_of({name: text.encode() for name, text in files.items()}))
    found = sniff(tmp_path / "a.zip")
    assert found.declaration["reader"] == {"format": "parallel", "fields": ["ko", "en"]}
    assert found.rows == {"dev": 2, "test": 1}
    assert found.columns == {"ko": ["하나", "둘", "셋"], "en": ["one", "two", "three"]}


def test_values_inside_others_are_pointed_at(tmp_path: Path) -> None:
    found = sniff(write(tmp_path / "a.json", '[{"labels": {"label": 1.5, "x": []}}]'))
    assert "pick: {label: labels.label" in found.remarks[0]


# The command


def check(capsys: Captured, *words: str) -> tuple[int, str, str]:
    status = main(["sources", "check", *words])
    out, err = capsys.readouterr()
    return status, out, err


@pytest.mark.parametrize("name", ["내 글.csv", "a.tar.gz"])
def test_what_is_printed_can_be_pasted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    if name == "a.tar.gz":
        Path(name).write_bytes(gzip.compress(tar_of({"b/[x], y.tsv": "글\tlabel\n: 가#\t'나\n".encode()})))
    else:
        write(Path(name), "글\tlabel\n: 가#\t'나\n", "cp949")
    status, out, _ = check(capsys, name)
    assert status == 0
    assert "1 rows, 0 rejected" in out
    values = yaml.safe_load(out)
    path = write(tmp_path / "sources" / f"{values['name']}.yaml", out)
    add_folder_beside(tmp_path)
    try:
        (row,) = read_rows(SOURCES.get(path.stem), "train")
        assert isinstance(row, dict)
        assert (row["글"], row["label"]) == (": 가#", "'나")
    finally:
        add_folder_beside("")


def test_control_characters_of_the_data_are_spelled_out_in_the_comments(
    tmp_path: Path, capsys: Captured
) -> None:
    path = write(tmp_path / "nul.csv", "질문,답\n가\x00나,다\x1b\ufeff라\n" + "마,바\n" * 20)
    _, out, _ = check(capsys, str(path))
    assert r"가\x00나" in out
    assert r"다\x1b\ufeff라" in out
    assert yaml.safe_load(out)["rows"] == {"train": 21}


def test_a_path_is_checked_as_json_too(tmp_path: Path, capsys: Captured) -> None:
    path = write(tmp_path / "a.csv", "q,a\n질문,답\n")
    status, out, _ = check(capsys, str(path), "--json")
    assert status == 0
    report = json.loads(out)
    assert report["declaration"]["reader"]["delimiter"] == ","
    assert (report["encoding"], report["rows"], report["columns"]["q"]) == ("utf-8", 1, ["질문"])


def test_what_is_neither_a_name_nor_a_path_is_wrong_usage(tmp_path: Path, capsys: Captured) -> None:
    assert check(capsys, "korquda")[0] == 2
    status, _, err = check(capsys, str(tmp_path / "no.csv"))
    assert status == 1
    assert "no such file" in err


@pytest.mark.parametrize(
    ("pinned", "differs"),
    [
        ("rows: {train: 3}\nrejected: {train: {empty_a: 1}}", ""),
        ("rows: {train: 4}\nrejected: {train: {empty_a: 1}}", "train: 3 rows; the catalogue says 4"),
        ("rows: {train: 3}", "train: 1 rejected as empty_a; the catalogue says 0"),
        (
            "rows: {train: 3}\nrejected: {train: {empty_a: 1, x: 2}}",
            "train: 0 rejected as x; the catalogue says 2",
        ),
        ("", ""),
    ],
)
def test_pinned_counts_are_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured, pinned: str, differs: str
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "a.csv", "q,a\n하나,1\n둘,\n셋,3\n")
    source = (
        "name: mine\ntitle: t\nlicence: own\norigin: native\n"
        "reader: {format: csv, required: [a]}\nfiles: [{path: ../a.csv, split: train}]\n"
    )
    write(tmp_path / "sources" / "mine.yaml", source + pinned)
    try:
        status, out, _ = check(capsys, "mine")
        assert (status, f"DIFFERS  {differs}" in out) == ((1, True) if "says" in differs else (0, False))
        assert differs in out
        status, out, err = check(capsys, "mine", "--json")
        report = json.loads(out)
        assert status == (1 if differs else 0)
        assert differs in err
        assert report["rejected"] == {"empty_a": 1}
        assert report["files"] == [{"path": "a.csv", "split": "train", "encoding": "utf-8"}]
    finally:
        add_folder_beside("")


# Real files


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("path", "reader", "rows"),
    [
        ("kornlu/KorNLI/xnli.dev.ko.tsv", PLAIN, 2490),
        ("kornlu/KorNLI/xnli.test.ko.tsv", PLAIN, 5010),
        ("kornlu/KorSTS/sts-train.tsv", PLAIN, 5749),
        ("kobest/v1.0/COPA/train.tsv", PLAIN, 3076),
        ("apeach/APEACH/test.csv", {"format": "csv", "delimiter": ",", "quoting": "standard"}, 3770),
        (
            "question_pair/kor_pair_train.csv",
            {"format": "csv", "delimiter": ",", "quoting": "standard"},
            6888,
        ),
        ("paws_ko/finetune/data/paws/dev_2k.tsv", PLAIN, 2000),
        ("paws_ko/finetune/data/naver-ner/test.tsv", {"format": "conll", "layout": "lines"}, 9000),
        ("klue/klue_benchmark/klue-ner-v1.1/klue-ner-v1.1_dev.tsv", None, 5000),
        ("klue/klue_benchmark/klue-dp-v1.1/klue-dp-v1.1_dev.tsv", None, 2000),
        ("kommongen/dataset/kommongen_dev.json", {"format": "jsonl"}, 1000),
        ("koreanlm/korean_data.json", {"format": "jsonl"}, 1000),
        ("parallel/korean-english-news-v1/korean-english-park.test.tar.gz", None, 2000),
        ("scinews_sum/data", {"format": "jsonl"}, 50),
        ("korean_hate_speech/news_title/train.news_title.txt", None, 7896),
        ("korquad/dataset/KorQuAD_v1.0_dev.json", {"format": "squad"}, 5774),
    ],
)
def test_real_files_lose_no_row(realdata: Path, path: str, reader: dict[str, Any] | None, rows: int) -> None:
    found = sniff(realdata / path)
    assert sum(found.rows.values()) == rows
    assert found.rejected == {}
    assert reader is None or found.declaration["reader"] == reader


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("<!DOCTYPE html><html><body>로그인</body></html>", "a web page instead of the file"),
        ("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "only a pointer to the file"),
    ],
)
def test_what_stands_where_the_file_should_be_is_no_table(tmp_path: Path, text: str, what: str) -> None:
    with pytest.raises(DataError, match=what):
        sniff(write(tmp_path / "a.csv", text))
