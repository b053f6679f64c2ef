from __future__ import annotations

from pathlib import Path

import pytest
from built import build

from komt.web import data_view as view
from komt.web import tables
from komt.web.runs import Unreadable, stamp
from komt.web.text import Words

KOREAN, ENGLISH = Words("ko"), Words("en")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("data") / "data")


def test_overview_has_figures_and_what_to_mind(folder: Path) -> None:
    html = view.overview(KOREAN, stamp(folder / "manifest.json"))
    assert "<dd>20</dd>" in html
    assert "<dd>12</dd>" in html
    assert "공개된 점수와 비교할 수 없습니다: my-source" in html
    assert html.count('class="histogram"') == 2
    assert "Not comparable" in view.overview(ENGLISH, stamp(folder / "manifest.json"))


def test_shares_are_written_as_each_language_does(folder: Path) -> None:
    file = stamp(folder / "manifest.json")
    assert "80.0%" in view.overview(KOREAN, file)
    assert "80.0 %" in view.overview(ENGLISH, file)


def test_it_is_said_once_that_rows_were_not_kept(folder: Path) -> None:
    file = stamp(folder / "rejects.parquet")
    assert view.rejects(KOREAN, file, "source/empty_answer", "", 0).html.count("위치만 기록") == 1
    assert view.rejects(KOREAN, file, "filter/duplicate", "", 0).html.count("위치만 기록") == 0


def test_examples_by_task_a_page_at_a_time(folder: Path) -> None:
    file = stamp(folder / "train.parquet")
    first = view.examples(KOREAN, file, "my.qa", "", 0)
    assert (first.position, first.before, first.after) == ("전체 16개 가운데 1–8번째", False, True)
    assert first.html.count("<article") == 8
    last = view.examples(KOREAN, file, "my.qa", "", 8)
    assert (last.position, last.before, last.after) == ("전체 16개 가운데 9–16번째", True, False)
    assert "15번 질문" in last.html
    assert view.examples(KOREAN, file, "", "", 0).position == "전체 20개 가운데 1–8번째"


def test_examples_show_evidence_and_roles_and_run_nothing(folder: Path) -> None:
    html = view.examples(KOREAN, stamp(folder / "train.parquet"), "my.qa", "", 0).html
    assert "<mark>1443년</mark>" in html
    assert 'class="turn user"' in html
    assert 'class="turn assistant"' in html
    assert "<script" not in html
    assert "&lt;script&gt;alert(0)" in html


def test_examples_that_hold_a_text(folder: Path) -> None:
    file = stamp(folder / "train.parquet")
    found = view.examples(KOREAN, file, "", "ALERT(15)", 0)
    assert found.position == "전체 1개 가운데 1–1번째"
    assert view.examples(KOREAN, file, "", "없는 말", 0).position == ""
    assert "조건에 맞는 행이 없습니다" in view.examples(KOREAN, file, "", "없는 말", 0).html


def test_rows_left_out_by_reason(folder: Path) -> None:
    file = stamp(folder / "rejects.parquet")
    html, totals = view.reject_totals(KOREAN, file)
    assert totals == [("filter", "duplicate", 9), ("source", "empty_answer", 3)]
    assert "똑같은 예제" in html
    page = view.rejects(KOREAN, file, "filter/duplicate", "", 0)
    assert page.position == "전체 9개 가운데 1–8번째"
    assert "누가 &lt;b&gt;만들었나요?" in page.html
    assert "내용은 따로 저장하지 않았습니다" in view.rejects(KOREAN, file, "source/empty_answer", "", 0).html


def test_rows_come_from_several_row_groups_in_order(folder: Path) -> None:
    file = stamp(folder / "train.parquet")
    rows = tables.rows(file, [0, 6, 7, 13, 19])
    assert [row["id"] for row in rows] == ["my.qa-0", "my.qa-6", "my.qa-7", "my.qa-13", "my.title-3"]


@pytest.mark.parametrize("content", [b"", b"PAR1 cut short", b"{}"])
def test_a_broken_file_is_told(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "train.parquet"
    path.write_bytes(content)
    with pytest.raises(Unreadable) as error:
        view.examples(KOREAN, stamp(path), "", "", 0)
    assert (error.value.key, error.value.values) == ("runs.broken", {"path": "train.parquet"})


def test_a_broken_manifest_is_told(tmp_path: Path) -> None:
    path = tmp_path / "manifest.json"
    path.write_text("[]", encoding="utf-8")
    with pytest.raises(Unreadable):
        view.overview(KOREAN, stamp(path))
