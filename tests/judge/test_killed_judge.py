"""A judge of this machine, killed three times in the middle of the bundled questions.

KOMT_TEST_JUDGE names another model than a tiny one: pytest -m slow -s tests/judge/test_killed_judge.py
"""

import json
import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing, suppress

import pytest

from komt.judge.questions import bundled
from komt.testing import tiny_gguf

KILLS = 3


def completed(path):
    """How many calls a ledger holds by now."""
    if not path.exists():
        return 0
    # Without a table yet it holds none.
    with closing(sqlite3.connect(path, timeout=60)) as ledger, suppress(sqlite3.OperationalError):
        return ledger.execute("SELECT count(*) FROM calls").fetchone()[0]
    return 0


@pytest.mark.slow
def test_a_local_judge_that_is_killed_three_times_judges_each_answer_once(tmp_path):
    judge = os.environ.get("KOMT_TEST_JUDGE") or str(tiny_gguf(tmp_path / "tiny.gguf"))
    answers, ledger = tmp_path / "answers.jsonl", tmp_path / "ledger.sqlite"
    rows = [
        {
            "id": q.id,
            "turns": list(q.turns),
            "answers": [" ".join(points) or "모르겠습니다." for points in q.points],
        }
        for q in bundled()
    ]
    answers.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    calls = sum(len(row["turns"]) for row in rows)
    assert len(rows) >= 80
    words = [sys.executable, "-m", "komt", "judge", "run", str(answers), "--judge", judge, "--out", "out"]
    words += ["--ledger", str(ledger), "--max-new-tokens", "48", "--questions", "bundled"]
    for kill in range(1, KILLS + 1):
        child = subprocess.Popen(words, cwd=tmp_path)
        while completed(ledger) < calls * kill // (KILLS + 1):
            with suppress(subprocess.TimeoutExpired):
                pytest.fail(f"it ended by itself: {child.wait(0.05)}")
        child.send_signal(signal.SIGKILL)
        child.wait()
        print(f"killed at {completed(ledger)} of {calls} calls")
    subprocess.run(words, cwd=tmp_path, check=True)
    with closing(sqlite3.connect(ledger)) as connection:
        endings = dict(connection.execute("SELECT ending, count(*) FROM attempts GROUP BY ending").fetchall())
        done = connection.execute(
            "SELECT count(*), count(DISTINCT key) FROM attempts WHERE ending = 'done'"
        ).fetchone()
    print(f"attempts: {endings}")
    assert completed(ledger) == calls
    assert done == (calls, calls)
    assert endings.keys() <= {"done", "uncertain"}
    judgements = (tmp_path / "out" / "judgements.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(judgements) == calls
    again = subprocess.run([*words, "--json"], cwd=tmp_path, check=True, capture_output=True)
    assert json.loads(again.stdout)["new"] == 0
