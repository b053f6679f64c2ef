"""AI Hub's and KISTI's sets together: every item is accounted for, streamed or not; every task renders."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aihub_files import SETS, read, rows_of, write_all, write_set

from komt.errors import DataError
from komt.sources import SOURCES, Rejected, load_source
from komt.sources.patterns import split_of
from komt.sources.readers import READERS, Row
from komt.tasks import TASKS
from komt.tasks.check import check_task
from komt.tasks.render import with_derived

TASK_NAMES = [name for name in TASKS.names() if name.startswith(("aihub-", "kisti-"))]


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KOMT_DATA", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(
    ("name", "rows", "rejected"),
    [
        ("aihub-84", 6, {}),
        ("aihub-89", 18, {}),
        ("aihub-92", 7, {}),
        ("aihub-90", 5, {}),
        ("aihub-97", 5, {}),
        ("aihub-99", 2, {}),
        ("aihub-93", 2, {}),
        ("aihub-86", 7, {}),
        ("aihub-117", 3, {}),
        ("aihub-98", 4, {}),
        ("aihub-569", 6, {}),
        ("aihub-71565", 3, {}),
        ("aihub-71533", 6, {}),
        ("aihub-580", 2, {}),
        ("aihub-71844", 3, {}),
        ("aihub-126", 4, {}),
        ("aihub-71782", 4, {"no_post_edit": 1}),
        ("kisti-qa", 6, {}),
        ("kisti-papers", 3, {}),
        ("kisti-tags", 10, {}),
    ],
)
def test_every_item_of_a_set_is_a_row_or_rejected(
    data: Path, name: str, rows: int, rejected: dict[str, int]
) -> None:
    write_set(data, name)
    found = rows_of(name)
    reasons = [row.reason for row in found if isinstance(row, Rejected)]
    assert {reason: reasons.count(reason) for reason in reasons} == rejected
    kept = [row for row in found if not isinstance(row, Rejected)]
    assert len(kept) == rows
    assert len({row["id"] for row in kept}) == rows


def test_every_set_of_the_catalogue_has_files_here() -> None:
    names = [name for name in SOURCES.names() if name.startswith(("aihub-", "kisti-"))]
    assert sorted(SETS) == names
    for name in names:
        source = load_source(name)
        assert source.terms
        assert source.login.startswith("https://")
        assert source.imports


@pytest.mark.parametrize("name", sorted(SETS))
def test_streamed_rows_are_those_of_a_file_read_at_once(
    data: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_set(data, name)
    whole = rows_of(name)
    monkeypatch.setattr("komt.sources.readers.content.BIG_BYTES", 0)
    assert rows_of(name) == whole


@pytest.mark.parametrize("name", TASK_NAMES)
def test_a_task_renders_cleanly_on_the_files(data: Path, name: str) -> None:
    task = TASKS.get(name)
    write_set(data, task.source)
    rows = [row for row in rows_of(task.source) if not isinstance(row, Rejected)]
    assert check_task(task, rows) == []
    derived = [with_derived(task, row) for row in rows]
    unused = [template.id for template in task.templates if not any(map(template.fits, derived))]
    assert unused == []
    assert len(task.templates) >= 5
    assert task.input


def test_all_sets_are_written_as_the_import_leaves_them(data: Path) -> None:
    write_all(data)
    assert all((data / name / f"{split}.zip").is_file() for name in SETS for split in ("train", "dev"))


@pytest.mark.parametrize(
    ("name", "path", "split"),
    [
        (
            "aihub-86",
            "018.감성대화/Training_221115_add/라벨링데이터/감성대화말뭉치(최종데이터)_Training.json",
            "train",
        ),
        ("aihub-86", "018.감성대화/Validation_221115_add/라벨링데이터/감성대화(최종)_Validation.json", "dev"),
        ("aihub-117", "a.tar/한국어 대화 요약/1.Training/[라벨]한국어대화요약_train.zip/미용.json", "train"),
        ("aihub-117", "a.tar/한국어 대화 요약/1.Training/[원천]한국어대화요약_train.zip/미용.json", ""),
        ("aihub-71533", "152.기술과학/01.데이터/2.Validation/02.라벨링데이터/VL_1.zip/a.json", "dev"),
        ("aihub-71533", "152.기술과학/01.데이터/2.Validation/01.원천데이터/VS_1.zip/a.json", ""),
        ("aihub-71533", "01.데이터/1.Training/TS1.zip/a.json", ""),
        ("aihub-89", "기계독해/기계독해분야/ko_nia_noanswer_squad_all.json", "train"),
        ("aihub-84", "일반상식/02_squad_질문_답변_제시문_말뭉치/ko_wiki_v1_squad.json", "train"),
        ("aihub-126", "한국어_영어_번역(병렬)말뭉치/1_구어체(1)_200226.xlsx", "train"),
        ("kisti-qa", "국내논문QA/느티골학회지/2030/JA1.json", "train"),
        ("kisti-tags", "tagging_train.json", "train"),
        ("kisti-tags", "tagging_test.json", "dev"),
    ],
)
def test_the_files_of_a_download_fall_into_their_split(name: str, path: str, split: str) -> None:
    assert split_of(path, load_source(name).imports)[0] == split


def test_a_file_of_another_set_is_refused_with_what_it_holds(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="another shape") as caught:
        read("aihub_books", tmp_path / "a.json", [{"images": [], "licence": "x"}, {"images": []}])
    assert "found: images, licence" in caught.value.what
    assert str(tmp_path / "a.json") in caught.value.where


def test_a_stray_file_of_one_object_is_rejected(tmp_path: Path) -> None:
    found = read("aihub_books", tmp_path / "a.json", {"version": "1.0"})
    assert [item.reason for item in found if isinstance(item, Rejected)] == ["other_shape"]


def test_a_later_item_of_another_shape_is_rejected(tmp_path: Path) -> None:
    book = {"passage": "비가 왔다.", "summary": "비"}
    found = read("aihub_books", tmp_path / "a.json", [book, {"passages": 1}, 3])
    assert [item.reason for item in found if isinstance(item, Rejected)] == ["other_shape", "other_shape"]


@pytest.mark.parametrize("big", [False, True])
def test_a_file_that_is_cut_off_says_where(
    tmp_path: Path, big: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if big:
        monkeypatch.setattr("komt.sources.readers.content.BIG_BYTES", 0)
    path = tmp_path / "a.json"
    path.write_text('{"data": [{"body": {"dialogue": [{"participantID": "P01", "utter', encoding="utf-8")
    reader = READERS.get("aihub_dialogues")
    with pytest.raises(DataError, match="broken JSON") as caught:
        list(reader.read(path, reader.options()))
    assert "a.json" in caught.value.where


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="reads the peak from /proc")
def test_a_file_larger_than_memory_is_read_in_flat_memory(tmp_path: Path) -> None:
    """300 MB of dialogues, as one JSON object on one line: the peak grows by less than 40 MB."""
    chat = {"header": {"dialogueInfo": {"topic": "행사"}}, "body": {"dialogue": [], "summary": "요약"}}
    chat["body"]["dialogue"] = [
        {"participantID": f"P{at % 2}", "utterance": "안녕하세요. " * 20} for at in range(20)
    ]
    item = json.dumps(chat, ensure_ascii=False).encode()
    path = tmp_path / "big.json"
    count = (300 << 20) // len(item)
    with path.open("wb") as file:
        file.write(b'{"numberOfItems": 1, "data": [' + item)
        for _ in range(count - 1):
            file.write(b", " + item)
        file.write(b"]}")
    program = (
        "import re, sys\nfrom pathlib import Path\nfrom komt.sources.readers import READERS\n"
        "reader = READERS.get('aihub_dialogues')\n"
        # Not getrusage, whose peak counts the process that started this one.
        "peak = lambda: int(re.search(r'VmHWM:\\s+(\\d+)', Path('/proc/self/status').read_text())[1])\n"
        "rows = reader.read(Path(sys.argv[1]), reader.options())\n"
        "next(rows)\nbefore = peak()\nprint(1 + sum(1 for _ in rows), peak() - before, peak())\n"
    )
    found = subprocess.run(
        [sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=True
    ).stdout.split()
    assert int(found[0]) == count
    assert int(found[1]) < 40 << 10  # kB
    assert int(found[2]) < 400 << 10


def _spoilt(value: Any) -> Iterator[Any]:
    """The value with each part of it, however deep, put to something of another kind."""
    yield from (None, 7, "글", [], {}, [None, 7, "글", {}])
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in list(parts):
        for spoilt in _spoilt(item):
            made = copy.copy(value)
            made[key] = spoilt
            yield made


@pytest.mark.parametrize("name", sorted(SETS.keys() - {"aihub-126", "aihub-99"}))
def test_values_of_another_kind_reject_rows_and_never_break_the_reader(tmp_path: Path, name: str) -> None:
    source = load_source(name)
    path = tmp_path / "a.json"
    broken = usable = 0
    for content in SETS[name]().values():
        text = content.decode("utf-8-sig").split("\n")[0]
        for spoilt in _spoilt(json.loads(text)):
            path.write_text(json.dumps(spoilt, ensure_ascii=False), encoding="utf-8")
            try:
                found = list(source.format().read(path, source.options()))
            except DataError:
                broken += 1
                continue
            usable += sum(isinstance(item, Row) for item in found)
            for item in found:
                assert isinstance(item, Rejected) or all(isinstance(key, str) for key in item.values)
    assert usable > 20
    assert broken < usable
