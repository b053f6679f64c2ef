"""Files of a source: members of archives, files beside each other, options of one file, own sources."""

from __future__ import annotations

import gzip
import unicodedata
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from downloads import parts_of, tar_of, zip_of
from pydantic import ValidationError

from komt.errors import DataError, KomtError, UsageError
from komt.files import data_root
from komt.recipe import load_recipe
from komt.sources import (
    RESPLIT,
    SOURCES,
    Rejected,
    Source,
    add_folder_beside,
    checked_place,
    file_hash,
    own_source,
    present,
    read_rows,
    read_splits,
    redivided,
)

BASE = {"name": "mine", "title": "t", "licence": "own", "origin": "native"}


def source(reader: dict[str, Any], *files: dict[str, Any], **more: Any) -> Source:
    return Source.model_validate({**BASE, "reader": reader, "files": files, **more})


def put(name: str, data: bytes | str) -> Path:
    path = data_root() / "mine" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


def rows(source: Source, split: str = "train") -> list[dict[str, Any]]:
    return [row for row in read_rows(source, split) if not isinstance(row, Rejected)]


# Archives


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz", "parts"])
def test_members_are_read_in_natural_order_and_named_in_the_ids(kind: str) -> None:
    files = {f"묶음/[라벨]/{n}.json": f'[{{"a": {n}}}]'.encode() for n in (10, 9, 1)}
    files["묶음/설명.txt"] = b"no rows"
    name = "a.zip.part0" if kind == "parts" else f"a.{kind}"
    if kind == "parts":
        for part, data in parts_of("a.zip", zip_of(files, cp949=True), 12).items():
            put(part, data)
    else:
        data = zip_of(files, cp949=True) if kind == "zip" else tar_of(files)
        put(name, gzip.compress(data) if kind == "tar.gz" else data)
    found = rows(source({"format": "jsonl"}, {"path": name, "split": "train", "member": "[라벨]/*.json"}))
    assert [row["a"] for row in found] == [1, 9, 10]
    assert found[0]["id"] == f"{name.removesuffix('.part0')}/묶음/[라벨]/1.json:1"


def test_names_of_members_in_nfd_fit_patterns_in_nfc() -> None:
    put("a.zip", zip_of({unicodedata.normalize("NFD", "학습/글.json"): b'{"a": 1}\n'}))
    made = source({"format": "jsonl"}, {"path": "a.zip", "split": "train", "member": "학습/*.json"})
    assert [row["a"] for row in rows(made)] == [1]


def test_a_pattern_that_fits_nothing_names_what_is_there() -> None:
    put("a.zip", zip_of({"b.json": b"{}", "c.json": b"{}"}))
    with pytest.raises(DataError, match=r"no file in it fits '\*\.csv'") as error:
        rows(source({"format": "csv"}, {"path": "a.zip", "split": "train", "member": "*.csv"}))
    assert "b.json" in error.value.cure


def test_a_member_that_leads_out_is_refused() -> None:
    put("a.zip", zip_of({"../../evil.json": b'{"a": 1}\n'}))
    with pytest.raises(DataError, match="leads out"):
        rows(source({"format": "jsonl"}, {"path": "a.zip", "split": "train", "member": "*.json"}))


def test_members_are_read_beside_each_other_one_by_one() -> None:
    files = {"1.ko": "하나\n", "1.en": "one\n", "2.ko": "둘\n셋\n", "2.en": "two\nthree\n"}
    put("a.tar", tar_of({name: text.encode() for name, text in files.items()}))
    entry = {"path": "a.tar", "split": "train", "member": "*.ko", "beside": ["*.en"]}
    found = rows(source({"format": "parallel"}, entry))
    assert [(row["ko"], row["en"]) for row in found] == [("하나", "one"), ("둘", "two"), ("셋", "three")]
    with pytest.raises(DataError, match=r"1 fit '1\.ko', 2 fit '\*\.en'"):
        rows(source({"format": "parallel"}, {**entry, "member": "1.ko"}))


def test_a_folder_with_members_is_a_file_too() -> None:
    put("b/1.jsonl", '{"a": 1}\n')
    put("b/c/2.jsonl.gz", gzip.compress(b'{"a": 2}\n'))
    made = source({"format": "jsonl"}, {"path": "b", "split": "train", "member": "*.jsonl*"})
    assert present(made, "train")
    assert [row["a"] for row in rows(made)] == [1, 2]


# Files beside each other, checksums


def test_a_file_beside_must_be_here_and_right() -> None:
    ko = put("a.ko", "하나\n")
    made = source({"format": "parallel"}, {"path": "a.ko", "split": "train", "beside": ["a.en"]})
    assert not present(made, "train")
    with pytest.raises(DataError, match="not here") as error:
        checked_place(made, made.files[0])
    assert error.value.where.endswith("mine/a.en")
    en = put("a.en", "one\n")
    assert present(made, "train")
    wrong = {"path": "a.ko", "split": "train", "beside": [{"path": "a.en", "sha256": file_hash(ko)}]}
    with pytest.raises(DataError, match=f"found    sha256 {file_hash(en)}"):
        rows(source({"format": "parallel"}, wrong))


def test_the_hash_of_a_folder_is_that_of_its_files(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1")
    first = file_hash(tmp_path)
    (tmp_path / "b").write_text("1")
    assert len({first, file_hash(tmp_path)}) == 2


# Options of one file


def test_a_file_has_options_over_those_of_the_source() -> None:
    put("a.tsv", "T\tL\n글\t1\n")
    put("b.tsv", "T;L;원래\n글;0;글\n")
    semicolons = {"delimiter": ";", "rename": {"T": "text", "원래": ""}}
    made = source(
        {"format": "csv", "delimiter": "\t", "rename": {"T": "text"}},
        {"path": "a.tsv", "split": "train"},
        {"path": "b.tsv", "split": "train", "reader": semicolons},
        {"path": "c.json", "split": "test", "reader": {"format": "json", "records": "x"}},
    )
    found = [{key: row[key] for key in row if key != "id"} for row in rows(made)]
    assert found == [{"text": "글", "L": "1"}, {"text": "글", "L": "0"}]
    put("c.json", '{"x": [{"a": 1}]}')
    assert [row["a"] for row in rows(made, "test")] == [1]
    wrong = source({"format": "csv"}, {"path": "a.tsv", "split": "train", "reader": {"delimitre": ";"}})
    with pytest.raises(UsageError, match="delimitre: unknown key; did you mean 'delimiter'") as error:
        wrong.options(wrong.files[0])
    assert error.value.where == "source mine, reader of a.tsv"


def test_files_of_one_name_in_a_split_have_their_folders_in_the_ids() -> None:
    put("a/x.csv", "q\n하나\n")
    put("b/x.csv", "q\n둘\n")
    files = [{"path": f"{folder}/x.csv", "split": "train"} for folder in "ab"]
    assert [row["id"] for row in rows(source({"format": "csv"}, *files))] == ["a/x.csv:2", "b/x.csv:2"]


# Evaluation only


def test_an_evaluation_set_never_trains() -> None:
    put("a.csv", "q\n하나\n")
    made = source({"format": "csv"}, {"path": "a.csv", "split": "test"}, evaluation_only=True)
    assert not redivided(made)
    with pytest.raises(DataError, match="no split 'train'"):
        rows(made)
    for more in ({"resplit_by": "q"}, {"hold_out": 0.1}):
        with pytest.raises(ValidationError, match="an evaluation_only source has no train split"):
            source({"format": "csv"}, {"path": "a.csv", "split": "test"}, evaluation_only=True, **more)
    with pytest.raises(ValidationError, match="an evaluation_only source has no train split"):
        source({"format": "csv"}, {"path": "a.csv", "split": "train"}, evaluation_only=True)


def test_both_sides_of_what_is_held_out_are_read_in_one_pass() -> None:
    put("a.csv", "q\n" + "".join(f"글 {n % 50}\n" for n in range(200)))
    made = source({"format": "csv"}, {"path": "a.csv", "split": "train"}, hold_out=0.2, hold_out_by="q")
    sides = [(side, row["q"]) for side, row in read_splits(made, made.splits) if isinstance(row, dict)]
    for split in ("train", "test"):
        assert [text for side, text in sides if side == split] == [row["q"] for row in rows(made, split)]
    assert len(sides) == 200
    held = {text for side, text in sides if side == "test"}
    assert 0 < len(held) < 20
    assert not held & {text for side, text in sides if side == "train"}


def test_what_is_redivided_is_read_once_and_the_other_splits_as_they_are() -> None:
    put("dev.csv", "q\n" + "".join(f"글 {n % 40}\n" for n in range(80)))
    put("test.csv", "q\n시험\n")
    files = [{"path": f"{split}.csv", "split": split} for split in ("train", "dev", "test")]
    made = source({"format": "csv"}, *files, resplit_by="q")
    assert redivided(made)
    splits = ("train", RESPLIT, "test")
    sides = [
        (side, row["q"]) for side, row in read_splits(made, splits, resplit=True) if isinstance(row, dict)
    ]
    for split in splits:
        plain = [row["q"] for row in read_rows(made, split, resplit=True) if isinstance(row, dict)]
        assert [text for side, text in sides if side == split] == plain != []
    assert Counter(side for side, _ in sides)["test"] == 1
    assert len(sides) == 81


def test_a_source_is_redivided_like_another_with_the_same_values() -> None:
    put("dev.csv", "q\n" + "".join(f"글 {n}\n" for n in range(80)))
    files = [{"path": f"{split}.csv", "split": split} for split in ("train", "dev")]
    made = source({"format": "csv"}, *files, resplit_by="q")
    other = made.model_copy(update={"name": "other", "folder": made.folder or made.name})
    like = other.model_copy(update={"resplit_like": made.name})

    def held(source: Source) -> list[str]:
        return [row["q"] for row in read_rows(source, RESPLIT, resplit=True) if isinstance(row, dict)]

    assert held(like) == held(made) != held(other)


@pytest.mark.parametrize("key", ["resplit_by", "hold_out_by"])
def test_a_field_to_divide_by_that_no_row_has_is_an_error(key: str) -> None:
    put("dev.csv", "글\n하나\n둘\n")
    put("train.csv", "글\n하나\n둘\n")
    own = key == "hold_out_by"
    files = [{"path": "train.csv", "split": "train"}] if own else [{"path": "dev.csv", "split": "dev"}]
    made = source({"format": "csv"}, *files, **{key: "긑", **({"hold_out": 0.5} if own else {})})
    with pytest.raises(DataError, match="divided by a field '긑' that a row does not have") as error:
        list(read_rows(made, "train", resplit=True))
    assert error.value.cure == "the fields are: 글"


# Own sources


def own_yaml(folder: Path, name: str = "mine", more: str = "") -> Path:
    path = folder / "sources" / f"{name}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        f"name: {name}\ntitle: t\nlicence: own\norigin: native\nreader: {{format: csv}}\n"
        f"files: [{{path: ../a.csv, split: train}}]\n{more}"
    )
    return path


def test_paths_of_own_sources_are_relative_to_their_file(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("q\n하나\n")
    made = own_source(own_yaml(tmp_path))
    assert [(row["q"], row["id"]) for row in rows(made)] == [("하나", "a.csv:2")]
    (tmp_path / "a.csv").unlink()
    with pytest.raises(DataError) as error:
        rows(made)
    assert error.value.where == str(tmp_path / "a.csv")
    fetched = own_source(own_yaml(tmp_path, more="repository: owner/name\n"))
    assert fetched.files[0].path == "../a.csv"


def test_own_sources_are_those_beside_the_recipe_and_no_others(tmp_path: Path) -> None:
    own_yaml(tmp_path / "one", "first")
    own_yaml(tmp_path / "two", "second")
    (tmp_path / "one" / "sources" / "other.yaml").write_text("jobs: [build]\n")
    try:
        add_folder_beside(tmp_path / "one" / "my.yaml")
        assert "first" in SOURCES
        assert "other" not in SOURCES
        add_folder_beside(tmp_path / "one" / "my.yaml")
        add_folder_beside(tmp_path / "two")
        assert "first" not in SOURCES
        assert SOURCES.get("second").name == "second"
        own_yaml(tmp_path / "three", "korquad")
        with pytest.raises(KomtError, match="'korquad' is registered twice"):
            add_folder_beside(tmp_path / "three")
    finally:
        add_folder_beside("")
    assert "second" not in SOURCES
    assert SOURCES.get("korquad").repository


def test_a_recipe_knows_the_folder_of_its_own_sources(tmp_path: Path) -> None:
    recipe = tmp_path / "my.yaml"
    recipe.write_text("name: my\ndata: {}\n")
    assert load_recipe(str(recipe)).data.beside == ""
    own_yaml(tmp_path)
    assert load_recipe(str(recipe)).data.beside == str(tmp_path)
    (tmp_path / "runs").mkdir()
    resolved = tmp_path / "runs" / "recipe.yaml"
    resolved.write_text("name: my\ndata: {beside: ..}\n")
    assert load_recipe(str(resolved)).data.beside == str(tmp_path)
    with pytest.raises(UsageError, match=r"data\.beside: no sources/"):
        load_recipe(str(resolved), ["data.beside=nowhere"])


def test_a_hub_dataset_is_a_folder_that_fetch_makes() -> None:
    reader = {"format": "hub", "dataset": "owner/name"}
    made = source(reader, {"path": "data", "split": "train"})
    assert not present(made)
    with pytest.raises(DataError, match="not here") as error:
        checked_place(made, made.files[0])
    assert error.value.cure == "komt sources fetch mine"
    put("data/x", "")
    assert present(made, "train")
