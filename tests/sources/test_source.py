from __future__ import annotations

from pathlib import Path

import pytest
from squad_files import question, squad

from komt.errors import DataError, UsageError
from komt.files import data_root
from komt.sources import RESPLIT, SOURCES, Rejected, Source, load_source, present, read_rows, redivided
from komt.sources.source import read_source_file


def korquad_file(name: str, text: str) -> Path:
    path = data_root() / "korquad" / "dataset" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("name", SOURCES.names())
def test_every_source_says_licence_and_files(name: str) -> None:
    source = load_source(name)
    assert source.licence
    assert source.files
    assert source.bundled or source.repository or source.login


@pytest.mark.parametrize("name", [name for name in SOURCES.names() if name.startswith("sample")])
def test_bundled_sources_have_the_rows_they_announce(name: str) -> None:
    source = load_source(name)
    for split, count in source.rows.items():
        rows = list(read_rows(source, split))
        assert len(rows) == count
        assert not [row for row in rows if isinstance(row, Rejected)]
        assert len({row["id"] for row in rows if isinstance(row, dict)}) == count


def test_a_missing_file_names_the_place_and_where_to_get_it() -> None:
    with pytest.raises(DataError) as error:
        list(read_rows(load_source("korquad"), "dev"))
    text = str(error.value)
    assert str(data_root() / "korquad" / "dataset" / "KorQuAD_v1.0_dev.json") in text
    assert "KOMT_DATA" in text
    assert "korquad/korquad.github.io" in text


def test_a_wrong_checksum_names_both() -> None:
    korquad_file("KorQuAD_v1.0_dev.json", squad([]))
    with pytest.raises(DataError) as error:
        list(read_rows(load_source("korquad"), "dev"))
    assert "25ffeb51e6c51ec0" in str(error.value)
    assert "found    sha256" in str(error.value)


def test_resplit_does_nothing_where_the_train_file_is() -> None:
    source = load_source("korquad")
    assert redivided(source)
    korquad_file(
        "KorQuAD_v1.0_train.json", squad([{"context": "글", "qas": [question("q", "뭐?", "글", 0)]}])
    )
    assert not redivided(source)
    assert present(source)
    assert [row["id"] for row in read_rows(source, "train", resplit=True) if isinstance(row, dict)] == ["q"]


def own(path: Path, hold_out: float = 0.0) -> Source:
    values = {
        "name": "own",
        "title": "own",
        "licence": "own",
        "origin": "native",
        "reader": {"format": "auto"},
    }
    return Source.model_validate(
        {**values, "files": [{"path": str(path), "split": "train"}], "hold_out": hold_out}
    )


def test_an_unknown_split_is_answered_with_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no split 'dev'") as error:
        list(read_rows(own(tmp_path / "a.csv"), "dev"))
    assert "train" in error.value.cure


def test_rows_without_an_id_get_their_line_and_doubles_a_number(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("q,a\n1,2\n3,4\n")
    assert [row["id"] for row in read_rows(own(path), "train") if isinstance(row, dict)] == [
        "a.csv:2",
        "a.csv:3",
    ]
    path.write_text("id,a\nx,2\nx,4\n")
    assert [row["id"] for row in read_rows(own(path), "train") if isinstance(row, dict)] == ["x", "x#2"]
    path.write_text("id,a\nx,2\nx,4\nx#2,5\nx,6\n")
    ids = [row["id"] for row in read_rows(own(path), "train") if isinstance(row, dict)]
    assert ids == ["x", "x#2", "x#2#2", "x#3"]


def test_holding_out_beside_a_split_of_its_own_is_refused(tmp_path: Path) -> None:
    values = own(tmp_path / "a.csv", hold_out=0.1).model_dump(by_alias=True)
    values["files"] = [*values["files"], {"path": "dev.csv", "split": "dev"}]
    with pytest.raises(
        ValueError, match=r"hold_out divides the train files, and dev.csv would never be read"
    ):
        Source.model_validate(values)


def test_rows_held_out_are_chosen_by_content_and_never_trained_on(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    lines = [f"질문 {number % 40},답 {number % 40}" for number in range(80)]
    path.write_text("q,a\n" + "\n".join(lines) + "\n")
    source = own(path, 0.1)
    train = {row["q"] for row in read_rows(source, "train") if isinstance(row, dict)}
    test = {row["q"] for row in read_rows(source, "test") if isinstance(row, dict)}
    assert (len(train), len(test)) == (36, 4)
    assert not train & test
    path.write_text("q,a\n" + "\n".join(reversed(lines)) + "\n")
    assert {row["q"] for row in read_rows(source, "test") if isinstance(row, dict)} == test


def test_rows_held_out_by_a_field_fall_on_one_side_with_all_that_share_its_value(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("q,a\n" + "".join(f"질문 {number % 200},{number}\n" for number in range(400)))
    source = own(path, 0.1).model_copy(update={"hold_out_by": "q"})
    sides = [
        [row for row in read_rows(source, split) if isinstance(row, dict)] for split in ("train", "test")
    ]
    train, test = ({row["q"] for row in side} for side in sides)
    assert not train & test
    assert len(sides[0]) + len(sides[1]) == 400
    assert 10 <= len(test) <= 30
    assert present(source, "test")


def test_a_wrong_source_file_reports_all_mistakes(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text("name: x\ntitle: x\nlicense: MIT\norigin: korean\nreader: {format: squad}\nfiles: []\n")
    with pytest.raises(UsageError) as error:
        read_source_file(path)
    text = str(error.value)
    assert "license: unknown key; did you mean 'licence'?" in text
    assert "origin" in text
    assert "files" in text


@pytest.mark.realdata
def test_korquad_dev_has_its_published_rows(realdata: Path) -> None:
    rows = list(read_rows(load_source("korquad"), "dev"))
    assert len(rows) == 5774
    assert sum(isinstance(row, Rejected) for row in rows) == 0
    assert all(
        row["context"][row["answer_start"] :].startswith(row["answer"])
        for row in rows
        if isinstance(row, dict)
    )
    assert len({row["group"] for row in rows if isinstance(row, dict)}) == 960


@pytest.mark.realdata
def test_korquad_is_redivided_by_article(realdata: Path) -> None:
    source = load_source("korquad")
    parts = {part: list(read_rows(source, part, resplit=True)) for part in ("train", RESPLIT)}
    titles = {part: {row["title"] for row in rows if isinstance(row, dict)} for part, rows in parts.items()}
    assert {part: len(rows) for part, rows in parts.items()} == {"train": 4528, RESPLIT: 1246}
    assert not titles["train"] & titles[RESPLIT]


def test_a_key_given_twice_in_a_sources_file_is_told(tmp_path: Path) -> None:
    path = tmp_path / "mini.yaml"
    path.write_text("name: mini\ntitle: a\ntitle: b\n", encoding="utf-8")
    with pytest.raises(
        UsageError, match="the source 'mini' is not valid YAML: the key 'title' is given twice"
    ):
        read_source_file(path)
