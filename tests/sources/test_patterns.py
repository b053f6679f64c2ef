from __future__ import annotations

import unicodedata

import pytest

from komt.sources.patterns import by_name, kept_out, split_of

AIHUB = {
    "train": ("Training*/**/*.json", "!*원천*/**"),
    "dev": ("Validation*/**/*.json", "!*원천*/**"),
}


@pytest.mark.parametrize(
    ("path", "split"),
    [
        ("Training/a.json", "train"),
        ("1.Training/라벨링데이터/TL.zip/a.json", "train"),
        ("01.데이터/1.Training/[라벨]감성대화.zip/깊이/a.JSON", "train"),
        ("/home/me/097/2.Validation/a.json", "dev"),
        ("Training_221115_add/라벨링데이터/a.json", "train"),
        ("Training/x/2.Validation/a.json", "dev"),
        ("Validation/x/1.Training/a.json", "train"),
        ("Training/원천데이터/a.json", ""),
        ("Training/02. 원천데이터/b/a.json", ""),
        ("MyTraining/a.json", ""),
        ("Training/a.txt", ""),
        ("a.json", ""),
    ],
)
def test_the_deepest_folder_with_a_splits_name_decides(path: str, split: str) -> None:
    assert split_of(path, AIHUB)[0] == split
    assert split_of(unicodedata.normalize("NFD", path), AIHUB)[0] == split


def test_why_a_file_is_left_out_is_said() -> None:
    assert split_of("Training/원천데이터/a.json", AIHUB) == ("", "kept out by !*원천*/**")
    assert split_of("readme.txt", AIHUB) == ("", "no pattern names it")


@pytest.mark.parametrize(
    ("glob", "fits", "fits_not"),
    [
        ("*.json", ["a.json", "b/a.json"], ["a.jsonl", "a.json/b"]),
        ("b/*.json", ["b/a.json", "x/3. b/a.json"], ["b/c/a.json", "ab/a.json"]),
        ("b/**/*.json", ["b/a.json", "b/c/d/a.json"], ["c/a.json"]),
        ("b/**", ["b/a", "b/c/d"], ["b", "c"]),
        ("[라벨]a?.json", ["[라벨]ab.json"], ["라a.json", "[라벨]a.json", "[라벨]a/.json"]),
        ("a+(1).json", ["a+(1).json"], ["aa1.json"]),
    ],
)
def test_what_a_pattern_fits(glob: str, fits: list[str], fits_not: list[str]) -> None:
    assert [path for path in fits + fits_not if split_of(path, {"train": (glob,)})[0]] == fits


def test_of_two_patterns_that_begin_at_one_place_the_longer_decides() -> None:
    patterns = {"train": ("*.json",), "dev": ("*valid*.json",)}
    assert split_of("a_valid_1.json", patterns)[0] == "dev"
    assert split_of("a_train_1.json", patterns)[0] == "train"


def test_a_folder_that_every_split_keeps_out_need_not_be_looked_into() -> None:
    assert kept_out("097/1.Training/원천데이터/TS_1.zip", AIHUB) == "kept out by !*원천*/**"
    assert kept_out("097/1.Training/라벨링데이터/TL_1.zip", AIHUB) == ""
    one_sided = {"train": ("*.json", "!원천/**"), "dev": ("*.json",)}
    assert kept_out("원천/a.zip", one_sided) == ""
    assert kept_out("원천/a.zip", {"train": ("*.json", "!원천/*.txt")}) == ""


def test_patterns_without_their_folders_keep_what_they_keep_out() -> None:
    assert by_name(AIHUB["train"]) == ("*.json", "!*원천*/**")
