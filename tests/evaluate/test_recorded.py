"""A recorded answer is not asked for again; another prompt, model or limit is. A killed run loses a batch."""

import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from komt.evaluate.record import Record
from komt.evaluate.recorded import RecordedEngine
from komt.example import Message
from komt.serve.engine import Completion


class Counting:
    """Answers with the prompt's length, and remembers what it was asked."""

    loglikelihood = None

    def __init__(self, killed_at=0):
        self.asked, self.killed_at = [], killed_at

    def prompt_ids(self, messages):
        return [ord(letter) for message in messages for letter in message.content]

    def generate(self, prompts, *, max_new_tokens, batch_tokens=0, on_done=None):
        if self.killed_at and len(self.asked) + len(prompts) > self.killed_at:
            raise KeyboardInterrupt
        self.asked += ["".join(map(chr, prompt)) for prompt in prompts]
        for place in range(len(prompts)):
            if on_done:
                on_done(place)
        return [Completion((len(prompt),), str(len(prompt)), len(prompt) < 9) for prompt in prompts]

    def close(self):
        pass


def talks(*texts):
    return [[Message("user", text)] for text in texts]


@pytest.fixture
def record(tmp_path):
    return Record(tmp_path / "answers.sqlite")


def test_only_what_is_missing_is_computed(record):
    inner, told = Counting(), []
    first = RecordedEngine(lambda: inner, record, "m").answer(talks("ab", "c"), max_new_tokens=8)
    again = RecordedEngine(lambda: inner, record, "m")
    second = again.answer(talks("c", "def", "ab", "def"), max_new_tokens=8, on_done=told.append)
    assert inner.asked == ["ab", "c", "def"]
    assert [answer.text for answer in second] == ["1", "3", "2", "3"]
    assert second[2] == first[0]
    assert sorted(told) == [0, 1, 2, 3]
    assert again.asked == 1
    RecordedEngine(lambda: inner, record, "another").answer(talks("c"), max_new_tokens=8)
    assert inner.asked[-1] == "c"
    RecordedEngine(lambda: inner, record, "m", fresh=True).answer(talks("def"), max_new_tokens=8)
    assert inner.asked[-2:] == ["c", "def"]


def test_an_answer_that_ended_serves_every_limit_that_it_fits_in(record):
    inner = Counting()
    engine = RecordedEngine(lambda: inner, record, "m")
    engine.answer(talks("ended", "runs on and on"), max_new_tokens=8)
    engine.answer(talks("ended", "runs on and on"), max_new_tokens=16)
    assert inner.asked == ["ended", "runs on and on", "runs on and on"]
    engine.answer(talks("ended"), max_new_tokens=2)
    assert len(inner.asked) == 3
    engine.answer(talks("ended"), max_new_tokens=1)  # its one token and the end token would not both fit
    assert inner.asked[-1] == "ended"


def test_the_model_is_not_loaded_where_everything_is_recorded(record):
    RecordedEngine(Counting, record, "m").answer(talks("가"), max_new_tokens=4)

    def never():
        raise AssertionError

    engine = RecordedEngine(never, record, "m")
    assert engine.answer(talks("가"), max_new_tokens=4)[0].text == "1"
    engine.close()


def test_what_was_answered_before_the_end_is_kept(tmp_path):
    path = tmp_path / "answers.sqlite"
    prompts = talks(*(f"{number:03d}" for number in range(200)))
    killed = Counting(killed_at=130)
    with pytest.raises(KeyboardInterrupt):
        RecordedEngine(lambda: killed, Record(path), "m").answer(prompts, max_new_tokens=4)
    assert len(killed.asked) == 128
    resumed = Counting()
    answers = RecordedEngine(lambda: resumed, Record(path), "m").answer(prompts, max_new_tokens=4)
    assert len(answers) == 200
    assert sorted(killed.asked + resumed.asked) == [f"{number:03d}" for number in range(200)]


_KILLED = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, {here!r})
from test_recorded import Counting, talks
from komt.evaluate.record import Record
from komt.evaluate.recorded import RecordedEngine

class Dying(Counting):
    def generate(self, prompts, **options):
        if len(self.asked) >= 128:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().generate(prompts, **options)

prompts = talks(*(f"{{number:03d}}" for number in range(200)))
RecordedEngine(Dying, Record(Path({path!r})), "m").answer(prompts, max_new_tokens=4)
"""


def test_after_kill_9_nothing_is_asked_again(tmp_path):
    path = tmp_path / "answers.sqlite"
    script = _KILLED.format(here=str(Path(__file__).parent), path=str(path))
    done = subprocess.run([sys.executable, "-c", script], check=False)
    assert done.returncode == -signal.SIGKILL
    resumed = Counting()
    prompts = talks(*(f"{number:03d}" for number in range(200)))
    answers = RecordedEngine(lambda: resumed, Record(path), "m").answer(prompts, max_new_tokens=4)
    assert len(answers) == 200
    assert sorted(resumed.asked) == [f"{number:03d}" for number in range(128, 200)]


def test_a_broken_record_is_moved_aside(tmp_path):
    path = tmp_path / "answers.sqlite"
    path.write_bytes(b"{" * 5000)
    inner = Counting()
    assert (
        RecordedEngine(lambda: inner, Record(path), "m").answer(talks("a"), max_new_tokens=1)[0].text == "1"
    )
    assert (tmp_path / "answers.broken").read_bytes() == b"{" * 5000
    assert inner.asked == ["a"]


def test_old_answers_and_too_many_of_them_are_pruned(tmp_path):
    clock = [0.0]
    record = Record(tmp_path / "answers.sqlite", now=lambda: clock[0])
    record.put("m", {"old": "x", "used": "y"})
    clock[0] = 100 * 86_400.0
    assert record.get("m", ["used"]) == {"used": "y"}
    assert record.get("m", ["used"], seconds=60) == {}
    record.put("m", {f"new{n}": "z" * 1000 for n in range(10)})
    clock[0] = 190 * 86_400.0
    assert record.prune() == 1
    assert record.get("m", ["old", "used"]) == {"used": "y"}
    clock[0] += 1
    record.get("m", ["new3"])
    assert record.prune(most_bytes=2000) == 9
    assert sorted(record.get("m", ["used", *(f"new{n}" for n in range(10))])) == ["new3", "used"]


def test_two_processes_may_write_at_the_same_time(tmp_path):
    path = tmp_path / "answers.sqlite"
    one, other = Record(path), Record(path)
    one.put("m", {"a": 1})
    other.put("m", {"b": 2})
    assert one.get("m", ["a", "b"]) == {"a": 1, "b": 2}
    with sqlite3.connect(path) as file:
        assert file.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_any_number_of_processes_open_and_leave_a_new_record_at_once(tmp_path):
    script = (
        "import sys, time; from pathlib import Path; from komt.evaluate.record import Record\n"
        "print(flush=True); start = float(sys.stdin.readline())\n"
        "for each in range(100):\n"
        "    time.sleep(max(0, start + each / 50 - time.time()))\n"
        "    Record(Path(sys.argv[1]) / str(each)).close()"
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
