from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from komt.web.votes import append_vote, tally


def rows(path: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_a_vote_is_a_preference_row(tmp_path: Path) -> None:
    path = tmp_path / "new" / "votes.jsonl"
    append_vote(path, "수도는?", ("서울입니다.", "부산"), ("tuned", "base"))
    (row,) = rows(path)
    assert {key: row[key] for key in ("prompt", "chosen", "rejected")} == {
        "prompt": "수도는?",
        "chosen": "서울입니다.",
        "rejected": "부산",
    }
    assert (row["chosen_model"], row["rejected_model"]) == ("tuned", "base")


def test_rows_that_stand_there_are_kept_and_a_cut_line_is_ended(tmp_path: Path) -> None:
    path = tmp_path / "votes.jsonl"
    path.write_text('{"prompt": "1", "chosen": "가", "rejected": "나"}\n{"prompt": "cut', encoding="utf-8")
    append_vote(path, "2", ("다", "라"), ("tuned", "base"))
    lines = path.read_text(encoding="utf-8").splitlines()
    assert lines[:2] == ['{"prompt": "1", "chosen": "가", "rejected": "나"}', '{"prompt": "cut']
    assert json.loads(lines[2])["prompt"] == "2"
    assert tally(path) == {"base": (0, 1), "tuned": (1, 0)}


def test_votes_of_several_pages_at_once_are_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / "votes.jsonl"
    with ThreadPoolExecutor(8) as pool:
        for number in range(64):
            pool.submit(append_vote, path, str(number), ("가" * 5000, "나"), ("tuned", "base"))
    assert {row["prompt"] for row in rows(path)} == {str(number) for number in range(64)}
    assert tally(path)["tuned"] == (64, 0)
