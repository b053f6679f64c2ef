from __future__ import annotations

import gzip
import hashlib
import json
import os
import shutil
import tracemalloc
import unicodedata
import zipfile
from pathlib import Path
from typing import Any

import pytest
from downloads import Files, folder, parts_of, tar_of, zip_of

from komt.cli import main
from komt.errors import DataError, UsageError
from komt.files import data_root
from komt.sources import SOURCES, Rejected, Source, load_source, present, read_rows
from komt.sources.bring import Ignored, Import, Wish, bring
from komt.sources.bring_zips import stage_zips
from komt.sources.fetch import Onlooker


def lines(*texts: str) -> bytes:
    return "".join(json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in texts).encode()


LABELS = {
    "1.Training/라벨링데이터/법률.json": lines("하나", "둘"),
    "1.Training/라벨링데이터/신문 10.json": lines("넷"),
    "1.Training/라벨링데이터/신문 9.json": lines("셋"),
    "1.Training/원천데이터/법률.json": lines("원문"),
    "2.Validation/라벨링데이터/법률.json": lines("다섯"),
    "설명서.pdf": b"%PDF",
}
ROWS = {"train": ["하나", "둘", "셋", "넷"], "dev": ["다섯"]}
BASE = {
    "name": "own",
    "title": "own rows",
    "licence": "own",
    "origin": "native",
    "reader": {"format": "jsonl"},
}


def packed(**values: Any) -> Source:
    """A source whose download is put together by patterns."""
    splits = {"train": "Training", "dev": "Validation"}
    return Source.model_validate(
        {
            **BASE,
            "login": "https://example.kr/1",
            "files": [{"path": f"{split}.zip", "split": split, "member": "*.json"} for split in splits],
            "import": {split: [f"{name}/**/*.json", "!원천데이터/**"] for split, name in splits.items()},
            **values,
        }
    )


def plain(*files: dict[str, Any], **values: Any) -> Source:
    """A source with files of its own."""
    return Source.model_validate({**BASE, "repository": "a/b", "files": list(files), **values})


def take(source: Source, *paths: Path, **wish: Any) -> Import:
    return bring(source, Wish(paths, **wish))


def texts(source: Source, split: str) -> list[str]:
    return [row["text"] for row in read_rows(source, split) if not isinstance(row, Rejected)]


def place(*names: str) -> Path:
    return data_root() / "own" / Path(*names)


def left() -> set[str]:
    """Everything below the data folder."""
    return {path.name for path in data_root().rglob("*") if path.name != "own"}


def split_zips(files: Files) -> Files:
    """One zip a folder of labels, as AI Hub packs them."""
    packed: Files = {"설명서.pdf": b"%PDF"}
    for above in sorted({name.rpartition("/")[0] for name in files if "/" in name}):
        inside = {
            name.rpartition("/")[2]: data for name, data in files.items() if name.startswith(f"{above}/")
        }
        packed[f"{above}/{above.replace('/', '_')}.zip"] = zip_of(inside, cp949=True)
    return packed


def in_parts(files: Files) -> Files:
    found: Files = {}
    for name, data in split_zips(files).items():
        found |= parts_of(name, data, 11) if name.endswith(".zip") else {name: data}
    return found


@pytest.mark.parametrize(
    "files",
    [
        LABELS,
        {"097.zip": zip_of(LABELS)},
        {"097.zip": zip_of(LABELS, cp949=True)},
        {"097.zip": zip_of({unicodedata.normalize("NFD", name): data for name, data in LABELS.items()})},
        {"download.tar": tar_of(LABELS)},
        {"download.tar.gz": tar_of(LABELS, "w:gz")},
        split_zips(LABELS),
        in_parts(LABELS),
        {"download.tar": tar_of(in_parts(LABELS))},
        {"097.zip": zip_of(split_zips(LABELS))},
        parts_of("097.zip", zip_of(split_zips(LABELS)), 12),
        {f"097 문서요약/3.개방데이터/{name}": data for name, data in LABELS.items()},
        {unicodedata.normalize("NFD", name): data for name, data in LABELS.items()},
    ],
    ids=lambda files: f"{len(files)} {min(files)[:20]}",
)
def test_a_download_of_any_form_gives_the_same_rows(tmp_path: Path, files: Files) -> None:
    source = packed()
    done = take(source, folder(tmp_path / "down", files))
    assert {split: texts(source, split) for split in ROWS} == ROWS
    assert done.rows == {"train": 4, "dev": 1}
    assert [(item.path, item.state, item.files) for item in done.brought] == [
        ("train.zip", "imported", 3),
        ("dev.zip", "imported", 1),
    ]
    assert done.ignored.counts == {"kept out by !원천데이터/**": 1, "no pattern names it": 1}
    assert left() == {"train.zip", "dev.zip"}


def test_the_same_download_gives_the_same_checksum(tmp_path: Path) -> None:
    for name in ("one", "two"):
        folder(tmp_path / name, LABELS)
    os.utime(tmp_path / "two" / "1.Training" / "라벨링데이터" / "법률.json", (1, 1))
    first = take(packed(), tmp_path / "one").brought
    again = take(packed(), tmp_path / "two", force=True).brought
    assert [item.sha256 for item in first] == [item.sha256 for item in again]
    assert [item.state for item in again] == ["present", "present"]


def test_a_folder_called_training_may_be_given_itself(tmp_path: Path) -> None:
    place = folder(tmp_path / "down", LABELS)
    done = take(packed(), place / "1.Training" / "라벨링데이터" / "법률.json", place / "2.Validation")
    assert done.rows == {"train": 2, "dev": 1}


def test_a_split_alone_is_taken_and_the_other_is_still_missing(tmp_path: Path) -> None:
    done = take(packed(), folder(tmp_path / "down", LABELS) / "1.Training")
    assert done.missing == ("dev.zip",)
    assert present(packed(), "train")
    assert not present(packed(), "dev")


def test_where_no_folder_says_the_split_a_person_does(tmp_path: Path) -> None:
    place = folder(tmp_path / "down", {"법률.json": lines("하나"), "메모.txt": b""})
    with pytest.raises(DataError, match="none of 2 files") as error:
        take(packed(), place)
    assert "법률.json" in error.value.what
    assert "--split train" in error.value.cure
    assert take(packed(), place, split="dev").rows == {"dev": 1}
    with pytest.raises(UsageError, match="no split 'test'"):
        take(packed(), place, split="test")


def test_what_is_here_stays_unless_it_is_to_be_replaced_or_added_to(tmp_path: Path) -> None:
    source = packed()
    take(source, folder(tmp_path / "one", {"Training/a.json": lines("하나")}))
    more = folder(tmp_path / "two", {"Training/b.json": lines("둘", "셋")})
    assert [item.state for item in take(source, more).brought] == ["present"]
    assert texts(source, "train") == ["하나"]
    added = take(source, more, add=True)
    assert [(item.state, item.files) for item in added.brought] == [("added to", 2)]
    assert texts(source, "train") == ["하나", "둘", "셋"]
    assert [item.files for item in take(source, more, add=True).brought] == [
        2
    ]  # what it holds is not doubled
    assert [item.state for item in take(source, more, force=True).brought] == ["replaced"]
    assert texts(source, "train") == ["둘", "셋"]
    with pytest.raises(UsageError, match="not both"):
        take(source, more, force=True, add=True)


def test_what_lies_there_packed_and_unpacked_is_taken_once(tmp_path: Path) -> None:
    inside = {"a.json": lines("하나"), "b.json": lines("둘")}
    files = {"Training/TL.zip": zip_of(inside), "Training/TL/a.json": inside["a.json"]}
    done = take(packed(), folder(tmp_path / "down", files))
    assert done.rows == {"train": 2}
    assert done.ignored.counts == {"the same content as another file": 1}


def test_files_of_one_name_with_different_content_are_all_taken(tmp_path: Path) -> None:
    one = folder(tmp_path / "one" / "Training", {"a.json": lines("하나")})
    two = folder(tmp_path / "two" / "Training", {"a.json": lines("다른")})
    assert take(packed(), one, two).rows == {"train": 2}
    with zipfile.ZipFile(place("train.zip")) as archive:
        assert archive.namelist() == ["a.json", "Training/a.json"]


def test_all_parts_given_one_by_one_are_one_archive(tmp_path: Path) -> None:
    whole = zip_of({"Training/a.json": lines("하나")})
    parts = folder(tmp_path / "down", parts_of("a.zip", whole, 3))
    assert take(packed(), *sorted(parts.iterdir())).rows == {"train": 1}


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"a.zip": zip_of({"../Training/a.json": lines("x")})}, "leads out of its folder"),
        ({"a.zip": zip_of({"Training/a.json": lines("x")})[:-40]}, "broken or incomplete"),
        ({"a.zip.part0": b"x", "a.zip.part2": b"x"}, "part 1 of a split archive is missing"),
        ({"Training/a.json": b'{"text": "x"}\n{"text"'}, "broken JSON"),
        ({"Training/a.json": b'{"text": "\\ud800"}'}, "no usable row.*broken_unicode"),
        ({"a.7z": b"7z"}, "none of 0 files"),
    ],
)
def test_nothing_is_left_of_what_cannot_be_used(tmp_path: Path, files: Files, words: str) -> None:
    with pytest.raises(DataError, match=words):
        take(packed(), folder(tmp_path / "down", files))
    assert left() == set()
    assert not present(packed())


def test_raw_data_that_is_kept_out_may_be_incomplete(tmp_path: Path) -> None:
    raw = {"1.Training/원천데이터/TS.zip.part0": b"x", "1.Training/원천데이터/TS.zip.part2": b"x"}
    broken = {"2.Validation/원천데이터/VS.zip": b"not whole"}
    done = take(packed(), folder(tmp_path / "down", {**LABELS, **raw, **broken}))
    assert done.rows == {"train": 4, "dev": 1}
    assert done.ignored.examples["kept out by !원천데이터/**"] == [
        "1.Training/원천데이터/TS.zip",
        "1.Training/원천데이터/법률.json",
        "2.Validation/원천데이터/VS.zip",
    ]


def test_an_archive_of_another_program_is_named_where_nothing_else_is_found(tmp_path: Path) -> None:
    with pytest.raises(DataError) as error:
        take(packed(), folder(tmp_path / "down", {"a.7z": b"7z"}))
    assert "packed as .7z: unpack it" in str(error.value)


def test_what_is_here_stays_when_the_new_cannot_be_used(tmp_path: Path) -> None:
    take(packed(), folder(tmp_path / "one", LABELS))
    bad = folder(tmp_path / "two", {"Training/a.json": b"{"})
    with pytest.raises(DataError):
        take(packed(), bad, force=True)
    assert texts(packed(), "train") == ROWS["train"]
    assert left() == {"train.zip", "dev.zip"}


def test_an_interrupted_import_leaves_nothing_and_a_killed_one_is_cleared_away(tmp_path: Path) -> None:
    def interrupt(title: str) -> Any:
        if title.startswith("reading"):
            raise KeyboardInterrupt
        return lambda done, total: None

    down = folder(tmp_path / "down", LABELS)
    with pytest.raises(KeyboardInterrupt):
        bring(packed(), Wish((down,)), Onlooker(begin=interrupt))
    assert left() == set()
    folder(place(".import-killed"), {"train.zip": b"half"})
    take(packed(), down)
    assert left() == {"train.zip", "dev.zip"}


def test_too_little_space_is_told_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=10))
    with pytest.raises(DataError, match="not enough space"):
        take(packed(), folder(tmp_path / "down", LABELS))
    assert left() == set()


def test_a_disk_that_fills_up_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("komt.sources.bring_zips.os.fsync", full)
    with pytest.raises(DataError, match="no space left"):
        take(packed(), folder(tmp_path / "down", LABELS))
    assert left() == set()


def test_a_data_folder_that_cannot_be_written_to_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    down = folder(tmp_path / "down", LABELS)
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("KOMT_DATA", str(tmp_path / "file"))
    with pytest.raises(DataError, match="nothing can be written") as error:
        take(packed(), down)
    assert "unset it" in error.value.cure


def test_what_nobody_may_write_is_not_replaced_not_even_by_an_administrator(tmp_path: Path) -> None:
    (tmp_path / "train.jsonl").write_bytes(lines("새"))
    source = plain({"path": "train.jsonl", "split": "train"})
    place().mkdir()
    place("train.jsonl").write_bytes(lines("옛"))
    for path, mode in ((place("train.jsonl"), 0o444), (place(), 0o555)):
        path.chmod(mode)
        with pytest.raises(DataError, match=f"{path.name} is read-only"):
            take(source, tmp_path / "train.jsonl", force=True)
        path.chmod(0o755)
    assert texts(source, "train") == ["옛"]
    assert left() == {"train.jsonl"}


def test_memory_stays_flat_on_a_large_file(tmp_path: Path) -> None:
    line = lines("가나다라마바사아자차카타파하" * 20) * 1000
    with (
        zipfile.ZipFile(tmp_path / "down.zip", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("Training/a.json", "w") as file,
    ):
        for _ in range(40):
            file.write(line)
    room = folder(tmp_path / "room", {"made": b""})
    tracemalloc.start()
    try:
        stage_zips(packed(), Wish((tmp_path / "down.zip",)), room, Ignored(), Onlooker())
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    with zipfile.ZipFile(room / "train.zip") as made:
        assert made.infolist()[0].file_size == 40 * len(line) > 30e6
    assert peak < 8e6


def test_each_source_with_patterns_takes_labels_of_both_splits_and_no_raw_data() -> None:
    from komt.sources.patterns import split_of

    sources = [source for source in map(load_source, SOURCES.names()) if source.imports]
    assert len(sources) >= 10
    for source in sources:
        assert source.login, source.name
        assert set(source.imports) == {file.split for file in source.files}, source.name
        raw = "a/3.개방데이터/1.데이터/Training/01.원천데이터/TS_1.zip/a.png"
        assert split_of(raw, source.imports)[0] == "", source.name


# Sources with files of their own


SHA = hashlib.sha256(lines("하나")).hexdigest()


def test_a_file_is_found_by_its_name_however_deep(tmp_path: Path) -> None:
    source = plain({"path": "dataset/train.json", "split": "train"})
    down = folder(tmp_path / "down", {"x/Train.json": lines("하나"), "x/README": b"?"})
    done = take(source, down)
    assert texts(source, "train") == ["하나"]
    assert [item.state for item in done.brought] == ["imported"]
    assert done.ignored.counts == {"no file of this source": 1}
    assert [item.state for item in take(source, down / "x" / "Train.json").brought] == ["present"]
    assert left() == {"dataset", "train.json"}


@pytest.mark.parametrize("name", ["train (1).json", "train(2).json"])
def test_the_number_that_browsers_give_a_second_download_is_looked_through(tmp_path: Path, name: str) -> None:
    source = plain({"path": "train.json", "split": "train"})
    assert take(source, folder(tmp_path / "down", {name: lines("하나")}) / name).rows == {"train": 1}


def test_a_file_of_another_name_is_found_by_its_checksum(tmp_path: Path) -> None:
    source = plain({"path": "train.json", "split": "train", "sha256": SHA})
    down = folder(tmp_path / "down", {"a.zip": zip_of({"b": lines("x")}), "whatever": lines("하나")})
    assert take(source, down).rows == {"train": 1}


def test_a_file_with_another_checksum_is_refused_and_both_are_named(tmp_path: Path) -> None:
    source = plain({"path": "train.json", "split": "train", "sha256": SHA})
    with pytest.raises(DataError) as error:
        take(source, folder(tmp_path / "down", {"train.json": lines("둘")}))
    assert SHA in str(error.value)
    assert hashlib.sha256(lines("둘")).hexdigest() in str(error.value)
    assert left() == set()


def test_of_several_files_of_one_name_the_folders_or_the_checksum_decide(tmp_path: Path) -> None:
    files = {
        "boolq/train.json": lines("불"),
        "copa/train.json": lines("코파"),
        "old/train.json": lines("하나"),
    }
    down = folder(tmp_path / "down", files)
    assert take(plain({"path": "v1/copa/train.json", "split": "train"}), down).rows == {"train": 1}
    assert place("v1", "copa", "train.json").read_bytes() == lines("코파")
    take(plain({"path": "v2/train.json", "split": "train", "sha256": SHA}), down)
    assert place("v2", "train.json").read_bytes() == lines("하나")
    with pytest.raises(DataError, match=r"several different files could be v3/train\.json"):
        take(plain({"path": "v3/train.json", "split": "train"}), down)


def test_an_archive_that_the_source_reads_itself_is_taken_whole(tmp_path: Path) -> None:
    data = zip_of({"in/train.json": lines("하나")})
    source = plain({"path": "all.zip", "split": "train", "member": "*train.json"})
    assert take(source, folder(tmp_path / "down", {"all.zip": data})).rows == {"train": 1}
    assert place("all.zip").read_bytes() == data


def test_a_compressed_file_stays_as_it_is_and_files_beside_it_come_along(tmp_path: Path) -> None:
    packed_lines = gzip.compress(lines("하나"))
    assert take(
        plain({"path": "a.jsonl.gz", "split": "train"}),
        folder(tmp_path / "one", {"a.jsonl.gz": packed_lines}),
    ).rows == {"train": 1}
    assert place("a.jsonl.gz").read_bytes() == packed_lines
    source = plain(
        {"path": "t.ko", "split": "dev", "beside": ["t.en"]},
        reader={"format": "parallel", "fields": ["ko", "en"]},
    )
    half = take(source, folder(tmp_path / "two", {"t.ko": "안녕\n".encode()}))
    assert (half.rows, half.missing) == ({}, ("t.en",))
    assert take(source, folder(tmp_path / "three", {"t.en": b"hi\n"})).rows == {"dev": 1}


def test_a_pointer_of_git_lfs_or_a_web_page_is_no_file(tmp_path: Path) -> None:
    source = plain({"path": "train.json", "split": "train"})
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n"
    for number, data in enumerate((pointer, b"<!DOCTYPE html>")):
        with pytest.raises(DataError, match=r"Git LFS|web page"):
            take(source, folder(tmp_path / str(number), {"train.json": data}))
    assert left() == set()


def test_a_file_that_the_reader_cannot_read_is_not_put_in_its_place(tmp_path: Path) -> None:
    source = plain({"path": "train.json", "split": "train"})
    with pytest.raises(DataError, match="broken JSON"):
        take(source, folder(tmp_path / "down", {"train.json": b"{"}))
    assert left() == set()


def test_options_that_do_not_fit_are_wrong_usage(tmp_path: Path) -> None:
    source = plain({"path": "train.json", "split": "train"})
    for wish in ({"split": "train"}, {"add": True}):
        with pytest.raises(UsageError, match="import patterns"):
            take(source, tmp_path, **wish)
    with pytest.raises(DataError, match="come with komt"):
        take(load_source("sample"), tmp_path)
    with pytest.raises(DataError, match="no such file or folder"):
        take(source, tmp_path / "none")


# The command


def korquad(*words: str) -> bytes:
    paragraphs = [
        {"context": f"{word}은 글이다.", "qas": [{"id": word, "question": "무엇?", "answers": [answer]}]}
        for word in words
        for answer in [{"text": word, "answer_start": 0}]
    ]
    return json.dumps({"data": [{"title": "제목", "paragraphs": paragraphs}]}, ensure_ascii=False).encode()


def test_korquads_train_file_is_imported_by_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = folder(tmp_path / "down", {"KorQuAD_v1.0_train.json": korquad("하나", "둘")})
    assert main(["sources", "import", "korquad", str(path / "KorQuAD_v1.0_train.json")]) == 0
    out = capsys.readouterr().out
    assert "imported" in out
    assert "2 rows   the catalogue says 60,407" in out
    assert "still missing: dataset/KorQuAD_v1.0_dev.json" in out
    assert main(["sources", "import", "korquad", str(path)]) == 0
    assert "--force replaces it" in capsys.readouterr().out


def test_aihub_97_is_imported_from_a_tar_of_parts_and_its_rows_are_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    document = {
        "id": "1",
        "title": "제목",
        "text": [[{"index": 0, "sentence": "첫 문장이다."}], [{"index": 1, "sentence": "둘째 문장이다."}]],
        "extractive": [0],
        "abstractive": ["줄인 글이다."],
    }
    data = json.dumps({"documents": [document]}, ensure_ascii=False).encode()
    files: Files = {}
    for name in ("1.Training/라벨링데이터/TL_법률.zip", "2.Validation/라벨링데이터/VL_법률.zip"):
        files |= parts_of(name, zip_of({"법률_original.json": data}, cp949=True), 11)
    files |= {"1.Training/원천데이터/TS_법률.zip": zip_of({"원문.json": data})}
    down = folder(tmp_path / "down", {"문서요약 텍스트/download.tar": tar_of(files)})
    assert main(["sources", "import", "aihub-97", str(down), "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["rows"] == {"train": 1, "dev": 1}
    assert sum(printed["ignored"].values()) == 1
    rows = [row for row in read_rows(load_source("aihub-97"), "dev") if not isinstance(row, Rejected)]
    assert rows[0]["summary"] == "줄인 글이다."
    assert main(["sources", "import", "aihub-97", str(down)]) == 0
    out = capsys.readouterr().out
    assert "terms: AI Hub terms of use" in out
    assert out.count("present") == 2


def test_a_failed_command_prints_one_message(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sources", "import", "aihub-97", str(tmp_path)]) == 1
    err = capsys.readouterr().err
    assert err.count("komt: ") == 1
    assert "Traceback" not in err
