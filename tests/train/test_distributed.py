"""Two processes train what one does, divided or not, and go on where another number of them stopped."""

import signal

import pytest
from cli_runs import ADAPTER, losses_of, same_training, write_recipe
from safetensors.torch import load_file
from zeroed import ZERO3, needs_deepspeed

from komt.train.checkpoint import checkpoints, load_snapshot

SHARDED, ACCELERATED = "sharded:main", "sharded:accelerated"


every_way = pytest.mark.parametrize(
    "call",
    [None, SHARDED, ACCELERATED, ZERO3],
    ids=["ddp", "fully_shard", "accelerate_fsdp2", "deepspeed_zero3"],
)


@pytest.fixture(scope="module")
def place(tmp_path_factory, model_folder):
    """A recipe whose steps hold odd numbers of bins: one process must wait with nothing of its own.

    Gradients are not clipped, so that the optimiser's state shows their size; Adam's steps hide it.
    """
    folder = tmp_path_factory.mktemp("distributed")
    write_recipe(folder, model_folder("gemma3"), epochs=1, lr=1e-3, step_examples=3, clip=1000.0)
    return folder


@pytest.fixture(scope="module")
def train(place, launch):
    """Trains into a folder; returns it and what was said by each process."""

    def run(name, *words, expect=0, **options):
        if options.get("call") == ZERO3:
            needs_deepspeed()
        out = place / name
        statuses, said = launch(
            "train", place / "tiny.yaml", "pack.tokens=100", "--out", out, *words, **options
        )
        assert statuses == [expect] * len(statuses), said
        return out, said

    return run


@pytest.fixture(scope="module")
def one(train):
    """What one process trains, all checkpoints kept."""
    return train("one", "train.keep=100")[0]


@every_way
def test_two_processes_train_the_adapter_of_one(train, one, call):
    out, said = train(f"two{call}", processes=2, call=call)
    assert losses_of(one)[-1] < losses_of(one)[0]
    same_training(out, one)
    assert "8 steps" in said[0]
    assert "trained on" not in said[1]  # the first one speaks


@every_way
@pytest.mark.parametrize(("before", "after"), [(1, 2), (2, 1)])
def test_another_number_of_processes_goes_on(train, one, call, before, after):
    name = f"{before}to{after}{call}"
    stop = {"signal": signal.SIGTERM, "step": 4}
    calls = [call if processes == 2 else None for processes in (before, after)]
    out, said = train(name, processes=before, stop=stop, call=calls[0], expect=1)
    assert "stopped after step 5 of 8" in said[0]
    _, said = train(name, "--resume", processes=after, call=calls[1])
    assert f"the same training but for rounding: processes: {before} then, {after} now" in said[0]
    assert "going on after step 5 of 8" in said[0]
    same_training(out, one)


@every_way
def test_the_checkpoints_of_two_processes_are_those_of_one(train, one, call):
    """Also the size of the gradients: the first moment after the first steps is a tenth of them and more."""
    out, _ = train(f"kept{call}", "train.keep=100", processes=2, call=call)
    ours, theirs = checkpoints(out / "train" / "checkpoints"), checkpoints(one / "train" / "checkpoints")
    assert [path.name for path in ours] == [path.name for path in theirs]
    for mine, other in zip(map(load_snapshot, ours), map(load_snapshot, theirs), strict=True):
        for part in ("weights", "moments"):
            tensors, expected = getattr(mine, part), getattr(other, part)
            assert tensors.keys() == expected.keys()
            for name, tensor in tensors.items():
                assert tensor.shape == expected[name].shape
                size = float(expected[name].norm())
                assert float((tensor - expected[name]).norm()) <= 1e-4 * size + 1e-12, name
    adapter = load_file(out / ADAPTER)
    kept = load_snapshot(ours[0]).weights
    assert {name.replace(".default", "") for name in kept} == set(adapter)
    assert all((kept[name] == adapter[name.replace(".default", "")]).all() for name in kept)


def test_what_stops_one_process_stops_all(train):
    train("stopped", processes=1, stop={"signal": signal.SIGTERM, "step": 2}, expect=1)
    _, said = train("stopped", processes=2, expect=2)  # without --resume
    assert all("an unfinished training stands in" in text for text in said)
    _, said = train("stopped", "--resume", "train.lr=0.5", processes=2, expect=2)
    assert all("train.lr: 0.001 then, 0.5 now" in text for text in said)


def test_a_log_that_cannot_be_opened_by_the_first_process_stops_all(train, place):
    (place / "unwritable" / "train" / "log.jsonl").mkdir(parents=True)
    _, said = train("unwritable", processes=2, expect=1)
    assert all("log.jsonl" in text for text in said)
