"""A real training process, killed again and again, ends with the adapter of one that was left alone."""

import random
import shutil
import signal
import subprocess

import pytest
from cli_runs import ADAPTER, left_over, log_of, write_recipe

from komt.train.checkpoint import checkpoints, invalid

CHAINS, KILLS = 3, 9


@pytest.fixture(scope="module")
def place(tmp_path_factory, model_folder):
    """A recipe of 24 steps with dropout, in the middle of whose epochs (of 6 steps) it is saved."""
    folder = tmp_path_factory.mktemp("killed")
    write_recipe(folder, model_folder("gemma3"), epochs=4, lora={"dropout": 0.1})
    return folder


@pytest.fixture(scope="module")
def whole(place, launch):
    """The uninterrupted run, all of whose checkpoints are kept."""
    statuses, said = launch("train", place / "tiny.yaml", "train.keep=100", "--out", place / "whole")
    assert statuses == [0], said
    assert len(checkpoints(place / "whole" / "train" / "checkpoints")) == 12
    return place / "whole"


def same_checkpoints(out, whole):
    """Every checkpoint that a killed process left is that of the uninterrupted run: all hashes are equal."""
    for path in checkpoints(out / "train" / "checkpoints"):
        assert invalid(path) == ""
        other = whole / "train" / "checkpoints" / path.name
        assert (path / "manifest.json").read_bytes() == (other / "manifest.json").read_bytes()


def same_result(out, whole):
    """Adapter byte for byte, log line for line, and nothing half-made beside them."""
    for path in sorted((whole / "train" / "adapter").iterdir()):
        assert (out / "train" / "adapter" / path.name).read_bytes() == path.read_bytes(), path.name
    assert log_of(out) == log_of(whole)
    assert left_over(out) == []


def moment(kind, chance, out):
    """When the next process is killed: at some line of the run or of a save, or while files are written."""
    if kind == "written":
        done = next((int(path.name[-6:]) for path in checkpoints(out / "train" / "checkpoints")), 0)
        return {"signal": signal.SIGKILL, "step": done + chance.choice([2, 4])}
    return {"lines": chance.randrange({"run": 2500, "save": 450}[kind]), "during": kind}


@pytest.mark.parametrize("chain", range(CHAINS))
def test_killed_at_any_moment_and_resumed_is_uninterrupted(place, whole, launch, chain):
    out, chance = place / f"chain{chain}", random.Random(chain)
    kinds = ["run", "save", "written"] * (KILLS // 3)
    chance.shuffle(kinds)
    half_written = 0
    for kind in kinds:
        stop = moment(kind, chance, out)
        statuses, said = launch("train", place / "tiny.yaml", "--resume", "--out", out, stop=stop)
        assert statuses == [-signal.SIGKILL], said  # 24 steps are enough for all kills
        half_written += any("step-" in name for name in left_over(out))
        same_checkpoints(out, whole)
    assert half_written >= 1
    statuses, said = launch("train", place / "tiny.yaml", "--resume", "--out", out)
    assert statuses == [0], said
    same_checkpoints(out, whole)
    same_result(out, whole)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_asked_to_stop_it_saves_and_exits(place, whole, launch, number):
    out = place / f"stopped{number}"
    words = ("train", place / "tiny.yaml", "--out", out)
    statuses, (said,) = launch(*words, stop={"signal": number, "step": 4})
    assert statuses == [1]
    assert "stopped after step 5 of 24, which is saved" in said
    assert "--resume" in said
    assert "Traceback" not in said
    assert [path.name for path in checkpoints(out / "train" / "checkpoints")] == [
        "step-000005",
        "step-000004",
    ]
    statuses, (said,) = launch(*words)
    assert statuses == [2]
    assert "an unfinished training stands in" in said
    statuses, (said,) = launch(*words, "--resume")
    assert statuses == [0]
    assert "going on after step 5 of 24" in said
    same_result(out, whole)


def full_disk_is_told(said, kept, reason):
    (line,) = [line for line in said.splitlines() if line.startswith("komt: ")]
    assert line.startswith("komt: the checkpoint of step")
    assert reason in line
    assert line.endswith(f"); {kept} is whole")
    assert "Traceback" not in said


def test_where_a_file_cannot_be_written_the_checkpoint_before_is_used(place, whole, launch):
    out = place / "narrow"
    statuses, (said,) = launch("train", place / "tiny.yaml", "--out", out, stop={"bytes": 10_000, "step": 5})
    assert statuses == [1]
    full_disk_is_told(said, "step-000004", "File too large")
    same_checkpoints(out, whole)
    assert launch("train", place / "tiny.yaml", "--out", out, "--resume")[0] == [0]
    same_result(out, whole)


@pytest.fixture
def small_disk(tmp_path):
    """A file system of its own that holds some checkpoints; skipped where it may not be mounted."""
    folder = tmp_path / "disk"
    folder.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=600k", "tmpfs", folder], capture_output=True, check=False
    )
    if made.returncode:
        pytest.skip("a file system can be mounted by root only")
    yield folder
    subprocess.run(["umount", folder], check=True)


@pytest.mark.skipif(not shutil.which("mount"), reason="needs mount")
def test_a_full_disk_leaves_the_checkpoint_before(place, whole, launch, small_disk):
    out = small_disk / "run"
    words = ("train", place / "tiny.yaml", "train.keep=100", "--out", out)
    statuses, (said,) = launch(*words)
    assert statuses == [1]
    (newest, *_) = checkpoints(out / "train" / "checkpoints")
    full_disk_is_told(said, newest.name, "no space left on the disk")
    same_checkpoints(out, whole)
    assert left_over(out) == []
    subprocess.run(["mount", "-o", "remount,size=20m", small_disk], check=True)
    statuses, (said,) = launch(*words, "--resume")
    assert statuses == [0]
    assert f"going on after step {int(newest.name[-6:])} of 24" in said
    same_result(out, whole)


def test_the_result_may_be_that_of_the_best_checkpoint(place, launch, whole):
    out = place / "best"
    words = (
        "train",
        place / "tiny.yaml",
        "train.keep_best=true",
        "train.lr=0.3",
        "train.keep=1",
        "--out",
        out,
    )
    statuses, said = launch(*words)
    assert statuses == [0], said
    losses = [line["loss"] for line in log_of(out)]
    means = [sum(losses[step - 2 : step]) / 2 for step in range(2, 25, 2)]
    best = 2 * (means.index(min(means)) + 1)
    names = [path.name for path in checkpoints(out / "train" / "checkpoints")]
    assert best < 24  # with such a rate it gets worse
    assert names == ["step-000024", f"step-{best:06d}"]
    assert f'"best": "step-{best:06d}"' in (out / "train" / "train.json").read_text()
    from safetensors.torch import load_file

    kept = load_file(out / "train" / "checkpoints" / f"step-{best:06d}" / "trainable.safetensors")
    result = load_file(out / ADAPTER)
    assert {name.replace(".default", ""): tensor.sum().item() for name, tensor in kept.items()} == {
        name: tensor.sum().item() for name, tensor in result.items()
    }
