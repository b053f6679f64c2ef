from __future__ import annotations

import gc
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from komt.errors import DataError
from komt.example import Example
from komt.files import home
from komt.mix import build, rendering
from komt.mix.engine import Engine, InProcess, Processes, Ray, engine_named
from komt.recipe import Recipe, load_recipe

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:ray.*")
_ENDINGS = ("좋았다", "별로였다", "그저 그랬다", "다시 보고 싶다", "두 번은 못 보겠다")


def square(number: int) -> int:
    return number * number


def refuse(number: int) -> int:
    raise DataError(f"no {number}", where="row 3", cure="give another")


def process_of(_: int) -> int:
    return os.getpid()


def interrupted(number: int) -> int:
    os.kill(os.getpid(), signal.SIGINT)
    return number


@dataclass(frozen=True)
class Killing:
    """Kills the process it is called in, so many times, but never the process of the test."""

    folder: Path
    times: int
    spared: int

    def __call__(self) -> None:
        for number in range(self.times):
            if os.getpid() != self.spared:
                try:
                    (self.folder / f"killed-{number}").touch(exist_ok=False)
                except FileExistsError:
                    continue
                os.kill(os.getpid(), signal.SIGKILL)

    def killed(self) -> int:
        return len(list(self.folder.glob("killed-*")))


@dataclass(frozen=True)
class SquareOrDie:
    killing: Killing

    def __call__(self, number: int) -> int:
        if number == 7:
            self.killing()
        return number * number


@dataclass(frozen=True)
class FitOrDie:
    """Everything fits, but a worker that is asked dies."""

    killing: Killing

    def __call__(self, examples: Sequence[Example]) -> list[tuple[Example | None, str]]:
        self.killing()
        return [(example, "") for example in examples]


def recipe_of_many_parts(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Recipe:
    """The sample's tasks and an own file, cut so small that each is several parts."""
    monkeypatch.setattr(rendering, "CHUNK_ROWS", 130)
    monkeypatch.setattr(sys.modules["komt.mix.build"], "BUCKET_ROWS", 200)
    path = folder / "own.jsonl"
    rows = [{"글": f"{n % 290}번째 영화는 {_ENDINGS[n % 5]}", "평": _ENDINGS[n % 3]} for n in range(600)]
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    own = f"data.files=[{{path: '{path}', prompt: '{{{{ 글 }}}}', answer: '{{{{ 평 }}}}', evaluate: 0.1}}]"
    return load_recipe("sample", [own, "data.few_shot={rate: 0.2, shots: 2}"])


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(params=["processes", "ray"])
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    if request.param == "processes":
        local = Processes(2)
        yield local
        local.close()
        return
    yield request.getfixturevalue("cluster")()


@pytest.fixture(scope="module")
def cluster() -> Iterator[Callable[[], Engine]]:
    """A Ray cluster of two machines with a worker each, on this one."""
    pytest.importorskip("ray.data")
    import ray
    from ray.cluster_utils import Cluster

    # Ray's workers import what these tests define.
    patch = pytest.MonkeyPatch()
    patch.setenv("PYTHONPATH", str(Path(__file__).parent))
    nodes = Cluster()
    for _ in range(2):
        nodes.add_node(num_cpus=1, object_store_memory=80 << 20, include_dashboard=False)
    ray.init(address=nodes.address, log_to_driver=False, logging_level="ERROR")
    yield Ray
    ray.shutdown()
    nodes.shutdown()
    patch.undo()


def test_results_come_in_the_order_of_the_items(engine: Engine) -> None:
    assert list(engine.map(square, range(40))) == [number * number for number in range(40)]
    assert os.getpid() not in set(engine.map(process_of, range(4)))


def test_an_error_of_a_worker_arrives_whole(engine: Engine) -> None:
    with pytest.raises(DataError) as error:
        list(engine.map(refuse, [1, 2]))
    assert str(error.value) == "no 1\n  where: row 3\n  to mend it: give another"


def test_items_are_read_a_few_at_a_time() -> None:
    taken: list[int] = []
    engine = Processes(2)
    results = engine.map(square, (taken.append(number) or number for number in range(1000)))
    assert next(results) == 0
    assert len(taken) <= 6
    results.close()  # type: ignore[attr-defined]
    engine.close()


def test_ctrl_c_is_the_first_process_to_hear() -> None:
    engine = Processes(2)
    assert list(engine.map(interrupted, range(4))) == [0, 1, 2, 3]
    engine.close()


def test_what_a_killed_worker_had_is_done_again(engine: Engine, tmp_path: Path) -> None:
    killing = Killing(tmp_path, 2, os.getpid())
    assert list(engine.map(SquareOrDie(killing), range(30))) == [number * number for number in range(30)]
    assert killing.killed() == 2


def test_a_map_may_begin_before_the_last_one_is_asked_for_its_results(engine: Engine, tmp_path: Path) -> None:
    killing = Killing(tmp_path, 2, os.getpid())
    first = engine.map(SquareOrDie(killing), range(30))
    second = engine.map(SquareOrDie(killing), range(5, 30))
    assert list(second) == [number * number for number in range(5, 30)]
    assert list(first) == [number * number for number in range(30)]
    assert killing.killed() == 2


def touch(path: Path) -> None:
    path.touch()


def test_work_begins_before_a_result_is_asked_for(tmp_path: Path) -> None:
    engine = Processes(1)
    done = engine.map(touch, [tmp_path / "first", tmp_path / "second"])
    for _ in range(600):
        if (tmp_path / "second").exists():
            break
        time.sleep(0.1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["first", "second"]
    assert list(done) == [None, None]
    engine.close()


def test_work_that_kills_every_worker_is_an_error(tmp_path: Path) -> None:
    engine, killing = Processes(2), Killing(tmp_path, 99, os.getpid())
    done = engine.map(SquareOrDie(killing), range(30))
    with pytest.raises(DataError, match="killed 4 times at the same work"):
        list(done)
    assert killing.killed() == 4
    assert list(engine.map(square, [2, 3])) == [4, 9]  # the engine itself is still of use
    engine.close()


def test_every_engine_builds_the_same_bytes_though_workers_are_killed(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = recipe_of_many_parts(tmp_path, monkeypatch)
    manifest = build(recipe, tmp_path / "here", FitOrDie(Killing(tmp_path, 0, 0)), engine=InProcess())
    assert manifest.tasks["own"].read == 600 - 60
    assert len(list((home() / "stages").glob("task-own-*/part-*"))) == 5 + 1  # train and evaluation
    monkeypatch.setenv("KOMT_HOME", str(tmp_path / "other"))
    killing = Killing(tmp_path, 1, os.getpid())
    build(recipe, tmp_path / "there", FitOrDie(killing), engine=engine)
    assert killing.killed() == 1
    here, there = bytes_of(tmp_path / "here"), bytes_of(tmp_path / "there")
    assert here.keys() == there.keys()
    assert [name for name in here if here[name] != there[name]] == []


def test_workers_end_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    program = (
        "import os, signal\n"
        "from komt.mix.engine import Processes\n"
        "from test_engine import process_of\n"
        "if __name__ == '__main__':\n"
        "    print(next(Processes(1).map(process_of, [1])), flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    (tmp_path / "program.py").write_text(program)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    done = subprocess.run(
        [sys.executable, tmp_path / "program.py"], stdout=subprocess.PIPE, text=True, env=environment
    )
    assert done.returncode == -signal.SIGKILL
    worker = int(done.stdout)
    if psutil.pid_exists(worker):
        psutil.wait_procs([psutil.Process(worker)], timeout=30)
    assert not psutil.pid_exists(worker)


def test_one_piece_of_work_needs_no_other_process() -> None:
    assert isinstance(engine_named("local", 0, 1), InProcess)
    assert isinstance(engine_named("local", 1, 100), InProcess)
    assert isinstance(engine_named("local", 2, 1), Processes)


def collector_thresholds(_: int) -> tuple[int, int, int]:
    return gc.get_threshold()


def test_workers_look_for_cycles_seldom_and_this_process_as_before() -> None:
    before = gc.get_threshold()
    engine = Processes(1)
    assert list(engine.map(collector_thresholds, [1])) == [(100_000, 50, 100)]
    engine.close()
    assert gc.get_threshold() == before
