"""The ledger: completed once, free when its owner dies, and no other file taken for one."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from komt.errors import DataError
from komt.example import Message
from komt.judge.call import Call, Reply
from komt.judge.ledger import Ledger, Spending

SETTINGS = {"max_tokens": 8, "temperature": 0.0}
CALL = Call("심사", "single", (Message("user", "질문"),), ("답",), SETTINGS)


def test_each_part_of_a_call_makes_another_key():
    others = [
        Call("다른 심사", *_parts()),
        Call("심사", "published", *_parts()[1:]),
        Call("심사", "single", (Message("system", "질문"),), ("답",), SETTINGS),
        Call("심사", "single", (Message("user", "질문"),), ("답 ",), SETTINGS),
        Call("심사", "single", (Message("user", "질문"),), ("답",), {**SETTINGS, "temperature": 0.5}),
        Call("심사", *_parts(), repeat=1),
    ]
    assert len({one.key for one in [CALL, *others]}) == 7
    assert Call("심사", *_parts()).key == CALL.key


def _parts():
    return "single", (Message("user", "질문"),), ("답",), SETTINGS


def test_a_completed_call_is_never_begun_again(tmp_path):
    with Ledger(tmp_path / "l.sqlite") as ledger, Ledger(tmp_path / "l.sqlite") as other:
        attempt = ledger.claim(CALL, "r")
        assert isinstance(attempt, int)
        assert ledger.claim(CALL, "r") == other.claim(CALL, "r") == "taken"
        ledger.complete(attempt, CALL, Reply("점수: 3", False, 11, 4, 0.5))
        assert ledger.claim(CALL, "r") == other.claim(CALL, "r") == "completed"
        assert other.replies([CALL.key]) == {CALL.key: Reply("점수: 3", False, 11, 4, 0.5)}
        assert other.spent("r") == Spending(1, 11, 4)


def test_what_broke_off_counts_as_dear_as_it_can_have_been(tmp_path):
    with Ledger(tmp_path / "l.sqlite") as ledger:
        for ending in ("refused", "failed", "uncertain"):
            ledger.give_up(ledger.claim(CALL, "r"), ending)
        assert ledger.spent("r") == Spending(1, CALL.most_prompt_tokens, 8)
        assert ledger.claim(CALL, "r", lambda spent: spent.calls < 1) == "over budget"
        assert ledger.claim(CALL, "other", lambda spent: spent.calls < 1) == 4


def test_what_a_killed_process_had_begun_is_free_for_others(tmp_path):
    code = (
        "import sys, time; from pathlib import Path; from test_ledger import CALL\n"
        "from komt.judge.ledger import Ledger\n"
        "ledger = Ledger(Path(sys.argv[1])); print(ledger.claim(CALL, 'r'), flush=True); time.sleep(600)"
    )
    path = tmp_path / "l.sqlite"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    child = subprocess.Popen([sys.executable, "-c", code, path], stdout=subprocess.PIPE, env=environment)
    try:
        assert child.stdout.readline() == b"1\n"
        with Ledger(path) as ledger:
            assert ledger.claim(CALL, "r") == "taken"
            child.send_signal(signal.SIGKILL)
            child.wait()
            assert ledger.claim(CALL, "r") == 2
            assert ledger.endings("r") == {"uncertain": 1, "open": 1}
            assert len(list((tmp_path / "l.sqlite.owners").iterdir())) == 1
    finally:
        child.kill()
        child.stdout.close()


def test_any_number_of_processes_open_and_leave_a_new_ledger_at_once(tmp_path):
    script = (
        "import sys, time; from pathlib import Path; from komt.judge.ledger import Ledger\n"
        "print(flush=True); start = float(sys.stdin.readline())\n"
        "for each in range(100):\n"
        "    time.sleep(max(0, start + each / 50 - time.time()))\n"
        "    Ledger(Path(sys.argv[1]) / str(each)).close()"
    )
    command = [sys.executable, "-c", script, tmp_path]
    children = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(4)
    ]
    for child in children:
        child.stdout.readline()
    start = time.time() + 0.1
    for child in children:
        child.stdin.write(f"{start}\n")
        child.stdin.flush()
    for child in children:
        child.communicate(timeout=120)
    assert [child.returncode for child in children] == [0] * 4


def test_a_full_disk_is_told_and_loses_nothing_that_was_written(tmp_path):
    with Ledger(tmp_path / "l.sqlite") as ledger:
        attempt = ledger.claim(CALL, "r")
        pages = ledger._connection.execute("PRAGMA page_count").fetchone()[0]
        ledger._connection.execute(f"PRAGMA max_page_count={pages}")
        with pytest.raises(DataError, match="cannot be written: database or disk is full"):
            ledger.complete(attempt, CALL, Reply("가" * 100_000))
        assert ledger.replies([CALL.key]) == {}
        ledger._connection.execute("PRAGMA max_page_count=100000")
        ledger.complete(attempt, CALL, Reply("가" * 100_000))
        assert ledger.endings("r") == {"done": 1}


def test_another_file_is_not_taken_for_a_ledger(tmp_path):
    path = tmp_path / "l.sqlite"
    path.write_text("이것은 장부가 아닙니다.\n" * 100, encoding="utf-8")
    with pytest.raises(DataError, match="cannot be used"):
        Ledger(path)
    assert path.read_text(encoding="utf-8").startswith("이것은")
    path.unlink()
    with Ledger(path) as ledger:
        ledger._connection.execute("PRAGMA user_version=99")
    with pytest.raises(DataError, match="version 99"):
        Ledger(path)
    assert list((tmp_path / "l.sqlite.owners").iterdir()) == []
