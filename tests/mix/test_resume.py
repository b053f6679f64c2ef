from __future__ import annotations

import json
import multiprocessing
import os
import random
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from komt.mix import build, rendering
from komt.mix.engine import InProcess, Processes
from komt.recipe import load_recipe

ROWS, CHUNK_ROWS, BUCKET_ROWS = 2400, 200, 300
_TOUCHES, _REMOVES = {"open", "os.rename", "os.mkdir", "shutil.rmtree"}, {"os.remove", "os.rmdir"}
_SUBJECTS = ("영화", "노래", "소설", "식당", "공원", "수업", "경기")
_VERDICTS = ("또 찾고 싶다", "한 번이면 족하다", "남에게 권하고 싶다", "기대에 못 미쳤다", "말이 필요 없다")


def write_rows(path: Path) -> None:
    """Rows with exact and near-duplicates, and a few that filters reject."""
    chance = random.Random(1)
    with path.open("w", encoding="utf-8") as file:
        for number in range(ROWS):
            subject = f"{chance.choice(_SUBJECTS)} {chance.randrange(700)}호"
            asked = f"{subject}에 대한 소감: {chance.choice(_VERDICTS)}"
            answer = "" if number % 97 == 0 else chance.choice(_VERDICTS)
            file.write(json.dumps({"글": asked, "평": answer}, ensure_ascii=False) + "\n")


def build_until(event: int, folder: Path, name: str, processes: int) -> None:
    """Build, but kill -9 this process just before it touches a file of the build for the `event`th time.

    0: never. What is renamed into place is noted in renamed.txt, how often files were touched in events.txt.
    """
    os.environ.update(KOMT_HOME=str(folder / name / "home"), KOMT_DATA=str(folder))
    rendering.CHUNK_ROWS = CHUNK_ROWS
    sys.modules["komt.mix.build"].BUCKET_ROWS = BUCKET_ROWS  # type: ignore[attr-defined]
    prompt = "{path: '%s', prompt: '{{ 글 }}', answer: '{{ 평 }}', evaluate: 0.1}" % (folder / "own.jsonl")
    recipe = load_recipe("sample", [f"data.files=[{prompt}]", "data.tasks={sample.qa: {}}"])
    renamed = os.open(folder / name / "renamed.txt", os.O_CREAT | os.O_TRUNC | os.O_WRONLY)
    count, place = 0, str(folder / name)

    def watch(what: str, args: tuple[Any, ...]) -> None:
        nonlocal count
        if what in _REMOVES or (what in _TOUCHES and str(args[0]).startswith(place)):
            count += 1
            if what == "os.rename":
                os.write(renamed, f"{os.fspath(args[1])}\n".encode())
            if count == event:
                os.kill(os.getpid(), signal.SIGKILL)

    engine = Processes(processes) if processes > 1 else InProcess()
    sys.addaudithook(watch)
    build(recipe, folder / name / "out", engine=engine)
    total = count
    engine.close()
    (folder / name / "events.txt").write_text(str(total))


def run(event: int, folder: Path, name: str, processes: int = 1) -> int:
    """`build_until` in a process of its own; returns its exit status."""
    (folder / name).mkdir(exist_ok=True)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["komt.mix"])
    process = context.Process(target=build_until, args=(event, folder, name, processes))
    process.start()
    process.join()
    return process.exitcode or 0


def finished(folder: Path) -> dict[str, int]:
    """The parts that are whole, with the moment they were written; whether their stage is done or not.

    A part comes last, after its rejects and prints; of a piece of the mixture its rejects do.
    """
    stages = folder / "home" / "stages"
    paths = [
        path for path in stages.rglob("*.parquet") if "part-" in path.name or path.parent.name == "pieces"
    ]
    return {
        _plain(str(path.relative_to(stages))): path.stat().st_mtime_ns
        for path in paths
        if not path.name.startswith(".")
    }


def rewritten(folder: Path) -> set[str]:
    """The parts that the last run put in place."""
    stages = f"{folder / 'home' / 'stages'}/"
    lines = (folder / "renamed.txt").read_text().splitlines()
    return {_plain(line.removeprefix(stages)) for line in lines if line.endswith(".parquet")}


def _plain(path: str) -> str:
    """A part's path, the same while its stage is unfinished and after."""
    stage, _, name = path.partition("/")
    return f"{stage.removeprefix('.').removesuffix('.parts')}/{name}"


def result(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (folder / "out").iterdir()}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A build that nobody killed, in `whole` beside its rows."""
    folder = tmp_path_factory.mktemp("resume")
    write_rows(folder / "own.jsonl")
    assert run(0, folder, "whole") == 0
    return folder


def moments(whole: Path) -> list[int]:
    events = int((whole / "whole" / "events.txt").read_text())
    # A moment in each tenth: some while rendering, some while assembling, one while cleaning up.
    return [
        random.Random(number).randint(events * number // 10 + 1, events * (number + 1) // 10)
        for number in range(10)
    ]


@pytest.mark.parametrize("moment", range(10))
def test_a_build_that_was_killed_goes_on_and_gives_the_same_bytes(whole: Path, moment: int) -> None:
    event, name = moments(whole)[moment], f"killed-{moment}"
    assert run(event, whole, name) == -signal.SIGKILL
    before = finished(whole / name)
    assert (moment < 2) or before
    assert run(0, whole, name) == 0
    assert not rewritten(whole / name) & before.keys()
    after = finished(whole / name)
    assert {path: at for path, at in before.items() if path in after}.items() <= after.items()
    assert result(whole / name) == result(whole / "whole")
    # What only the build itself needed is gone, and nothing half-written is left.
    assert not list((whole / name / "home" / "stages").glob("assembling-*"))
    assert not list((whole / name / "home" / "stages").glob(".*.parts"))
    assert not list((whole / name / "home" / "stages").glob(".*.old"))
    assert [path.name for path in (whole / name).iterdir() if ".staged-" in path.name] == []


def test_workers_of_a_killed_build_are_in_nobody_s_way(whole: Path) -> None:
    assert run(0, whole, "workers-whole", processes=2) == 0
    events = int((whole / "workers-whole" / "events.txt").read_text())
    assert run(events // 2, whole, "workers", processes=2) == -signal.SIGKILL
    assert run(0, whole, "workers", processes=2) == 0
    assert result(whole / "workers") == result(whole / "whole") == result(whole / "workers-whole")
