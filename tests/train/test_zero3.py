"""DeepSpeed ZeRO-3: two processes with half of everything train what one does, and go on after a kill."""

import json
import signal

import numpy as np
import pytest
import yaml
from cli_runs import ADAPTER, MODEL, difference, log_of, losses_of, same_training, write_recipe
from transformers import AutoModelForCausalLM
from zeroed import ZERO3, needs_deepspeed

from komt.errors import UsageError
from komt.recipe import parse_recipe
from komt.train.checkpoint import checkpoints
from komt.train.zero3 import check_settings

SETTINGS = {"zero_optimization": {"stage": 3, "offload_optimizer": {"device": "none", "nvme_path": None}}}


@pytest.fixture(scope="module")
def place(tmp_path_factory, model_folder):
    """A recipe of four steps, saved after every second."""
    folder = tmp_path_factory.mktemp("zero3")
    write_recipe(folder, model_folder("gemma3"), epochs=1, lr=1e-3, step_examples=6)
    change(folder, "held.yaml", evaluate=0.2)
    return folder


def change(folder, name, train=None, **file):
    """Another recipe beside that one, with some keys of its file and of its training changed."""
    values = yaml.safe_load((folder / "tiny.yaml").read_text("utf-8"))
    values["data"]["files"][0] |= file
    values["train"] |= train or {}
    (folder / name).write_text(yaml.safe_dump(values, allow_unicode=True), encoding="utf-8")


@pytest.fixture(scope="module")
def train(place, launch):
    """Trains in one process, and in several under ZeRO-3; returns both folders."""
    needs_deepspeed()

    def run(name, *words, recipe="tiny.yaml", several=2):
        outs = []
        for processes, call in ((1, None), (several, ZERO3)):
            out = place / f"{name}{processes}"
            words_of = ("train", place / recipe, "pack.tokens=100", *words, "--out", out)
            statuses, said = launch(*words_of, processes=processes, call=call)
            assert statuses == [0] * processes, said
            outs.append(out)
        return outs

    return run


def lines_of(path):
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def test_all_weights_of_a_model_are_trained_and_saved_whole(train):
    """Three processes divide none of its tensors evenly; its embedding is its head as well."""
    words = ("train.method=full", "train.lr=1e-4", "train.clip=0.5", "train.held_out={every_steps: 2}")
    one, two = train("full", *words, recipe="held.yaml", several=3)
    same_training(two, one, MODEL)
    assert losses_of(one)[-1] < losses_of(one)[0]
    ours, theirs = (lines_of(out / "train" / "held_out.jsonl") for out in (two, one))
    assert len(ours) == len(theirs) > 2
    for line, other in zip(ours, theirs, strict=True):
        assert line["loss"] == pytest.approx(other["loss"], rel=1e-5)
        assert {**line, "loss": 0, "perplexity": 0} == {**other, "loss": 0, "perplexity": 0}
    loaded = AutoModelForCausalLM.from_pretrained(two / "train" / "model")
    assert loaded.get_output_embeddings().weight is loaded.get_input_embeddings().weight


def test_groups_of_parameters_and_adapters_of_other_kinds_are_trained(train):
    lora = "train.lora={plus_ratio: 8.0, dora: true, modules_to_save: [lm_head]}"
    one, two = train("kinds", lora)
    same_training(two, one)


def test_in_bf16_the_curve_is_that_of_one_process_but_for_rounding(train):
    one, two = train("bf16", "model.bits=16")
    np.testing.assert_allclose(losses_of(two), losses_of(one), rtol=2e-3)
    assert losses_of(two)[-1] < losses_of(two)[0]
    assert difference(two, one) < 0.2


def test_killed_while_a_checkpoint_is_written_it_goes_on_bit_by_bit(place, launch):
    needs_deepspeed()
    words = ("train", place / "tiny.yaml", "pack.tokens=100", "train.keep=100", "train.lora.dropout=0.1")
    for name, stop in (("whole", None), ("killed", {"signal": signal.SIGKILL, "step": 4})):
        statuses, said = launch(*words, "--out", place / name, processes=2, call=ZERO3, stop=stop)
        assert (statuses == [0, 0]) == (stop is None), said
    statuses, said = launch(*words, "--out", place / "killed", "--resume", processes=2, call=ZERO3)
    assert statuses == [0, 0], said
    assert "going on after step" in said[0]
    assert "rounding" not in said[0]
    assert log_of(place / "killed") == log_of(place / "whole")
    for path in checkpoints(place / "whole" / "train" / "checkpoints"):
        other = place / "killed" / "train" / "checkpoints" / path.name
        assert (path / "manifest.json").read_bytes() == (other / "manifest.json").read_bytes()
    assert (place / "killed" / ADAPTER).read_bytes() == (place / "whole" / ADAPTER).read_bytes()


def test_preference_pairs(train, place):
    rows = [
        {"prompt": f"{n}의 다음 수는?", "chosen": f"{n + 1}입니다.", "rejected": f"{n}입니다."}
        for n in range(12)
    ]
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (place / "pairs.jsonl").write_text(text, encoding="utf-8")
    file = {
        "path": "pairs.jsonl",
        "prompt": "{{ prompt }}",
        "answer": "{{ chosen }}",
        "rejected": "{{ rejected }}",
    }
    change(place, "pairs.yaml", {"objective": "dpo", "lr": 1e-2}, **file, evaluate=0.25)
    one, two = train("pairs", recipe="pairs.yaml")
    same_training(two, one)
    ours, theirs = (
        json.loads((out / "train" / "pairs.json").read_text("utf-8"))["pairs"] for out in (two, one)
    )
    assert [pair["log_probs"] for pair in ours] == [
        pytest.approx(pair["log_probs"], rel=1e-5) for pair in theirs
    ]


def test_a_step_that_is_not_finite_leaves_the_weights_and_names_its_batch(place, launch):
    needs_deepspeed()
    words = ("train", place / "tiny.yaml", "pack.tokens=100", "--out", place / "bad")
    statuses, said = launch(*words, processes=2, call="zeroed:poisoned")
    assert statuses == [1, 1]
    assert all("gradient (nan) of step 1 is not finite" in text for text in said)
    (path,) = (place / "bad" / "train").glob("non-finite-step-*.json")
    assert len(json.loads(path.read_text("utf-8"))["sequences"]) == 6


@pytest.mark.parametrize(
    ("settings", "changes", "message"),
    [
        ({"zero_optimization": {"stage": 2}}, {}, "ZeRO stage 3, not 2"),
        ({"zero_optimization": {"stage": 3, "offload_param": {"device": "cpu"}}}, {}, "offload_param to cpu"),
        ({**SETTINGS, "bf16": {"enabled": True}}, {}, "would round the trained weights"),
        (SETTINGS, {"model": {"name": "x", "bits": 4}}, "a base in 4 bits cannot be divided"),
        (SETTINGS, {"train": {"optim": "adamw_8bit"}}, "adamw_8bit cannot be divided"),
    ],
)
def test_what_cannot_be_resumed_exactly_is_refused(settings, changes, message):
    recipe = parse_recipe({"name": "x", "data": {}, **changes}, "test")
    with pytest.raises(UsageError, match=message) as caught:
        check_settings(settings, recipe)
    assert caught.value.cure
    check_settings(SETTINGS, parse_recipe({"name": "x", "data": {}}, "test"))


def test_live_samples_are_refused(place, launch):
    needs_deepspeed()
    words = ("train", place / "held.yaml", "train.generate={every_steps: 2}")
    statuses, said = launch(*words, "--out", place / "samples", processes=2, call=ZERO3)
    assert statuses == [2, 2]
    assert all("train.generate answers in one process" in text for text in said)
