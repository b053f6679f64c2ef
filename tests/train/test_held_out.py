"""Held-out figures: the right ones, by task, and training does not notice that they were taken."""

import json
import math
from functools import partial

import pytest
import torch

from komt.commands._samples import answers_of
from komt.errors import DataError
from komt.models.load import attach_lora, load_model, load_tokenizer
from komt.models.resolve import resolve
from komt.pack import loss, pack_sequences
from komt.pack.encode import TokenSequence
from komt.pack.plan import plan_steps
from komt.train.held_out import HeldOut, held_out_examples, held_out_sequences
from komt.train.loop import make_loop
from komt.train.run import train
from komt.train.step_lines import StepLines
from komt.train.undisturbed import undisturbed

ADAPTER = "adapter/adapter_model.safetensors"


def loop_of(recipe, sequences, model, way="shared"):
    return make_loop(recipe, sequences, plan_steps(sequences, recipe.pack, recipe.train, 0), model, way)


def plainly(model, sequences):
    """Loss and accuracy by task, one sequence at a time, by torch's own loss."""
    rows = {}
    with torch.no_grad():
        for one in sequences:
            ids = torch.from_numpy(one.ids).long()
            logits = model.eval()(input_ids=ids[None]).logits[0, :-1].float()
            kept = torch.from_numpy(one.weights[1:]) > 0
            losses = torch.nn.functional.cross_entropy(logits, ids[1:], reduction="none")[kept]
            hits = (logits.argmax(1) == ids[1:])[kept]
            for task in ("", one.task):
                rows.setdefault(task, []).append((losses, hits))
    return {
        task: (
            float(torch.cat([a for a, _ in own]).mean()),
            float(torch.cat([b for _, b in own]).float().mean()),
        )
        for task, own in rows.items()
    }


@pytest.mark.parametrize("way", ["shared", "packed", "single"])
def test_the_figures_are_those_of_the_sequences_one_by_one(toy_recipe, toy_sequences, adapted, way):
    recipe = toy_recipe(pack={"tokens": 64})
    model = adapted(recipe)
    with torch.no_grad():  # a model that is right now and then
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.3)
    likely = [TokenSequence(one.ids.copy(), one.weights, one.example, one.task) for one in toy_sequences]
    with torch.no_grad():
        for one in likely[::2]:
            one.ids[-1] = int(model(input_ids=torch.from_numpy(one.ids).long()[None]).logits[0, -2].argmax())
    expected = plainly(model, likely)
    found = HeldOut(likely, recipe, way).measure(loop_of(recipe, likely, model, way))
    assert [one.task for one in found] == ["", "task0", "task1"]
    for one in found:
        mean, accuracy = expected[one.task]
        assert one.loss == pytest.approx(mean, rel=1e-5)
        assert one.accuracy == pytest.approx(accuracy)
        assert one.perplexity == pytest.approx(math.exp(mean), rel=1e-4)
    assert [one.targets for one in found] == [72, 36, 36]
    assert 0 < found[0].accuracy < 1


def test_measuring_leaves_modes_gradients_and_random_numbers_alone(toy_recipe, toy_sequences, adapted):
    recipe = toy_recipe(lora={"dropout": 0.3})
    model = adapted(recipe).train()
    model.base_model.model.model.layers[0].eval()
    modes = [module.training for module in model.modules()]
    needed = [parameter.requires_grad for parameter in model.parameters()]
    torch.manual_seed(5)
    state = torch.get_rng_state()
    with undisturbed(model):
        torch.rand(3)
        model.requires_grad_(False)
        assert not any(module.training for module in model.modules())
        assert not torch.is_grad_enabled()
    assert torch.equal(torch.get_rng_state(), state)
    assert [module.training for module in model.modules()] == modes
    assert [parameter.requires_grad for parameter in model.parameters()] == needed


@pytest.fixture
def settings(settings):
    return partial(settings, save_steps=2)


def lines_of(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("bits", [32, 16])
def test_the_weights_are_the_same_byte_for_byte_with_and_without(settings, data_folder, tmp_path, bits):
    train(settings(bits=bits), data_folder, tmp_path / "plain", quiet=True)
    part = {"every_steps": 1, "examples": 3}
    summary = train(settings(bits=bits, held_out=part), data_folder, tmp_path / "seen", quiet=True)
    assert (tmp_path / "seen" / ADAPTER).read_bytes() == (tmp_path / "plain" / ADAPTER).read_bytes()
    lines = lines_of(tmp_path / "seen" / "held_out.jsonl")
    assert [line["step"] for line in lines if line["task"] == ""] == list(range(summary["steps"] + 1))
    assert list(lines[0]) == ["step", "task", "loss", "accuracy", "perplexity", "targets"]
    assert {line["task"] for line in lines} == {"", "toy.0", "toy.1"}
    assert lines[-3]["loss"] < lines[0]["loss"]
    assert summary["held_out"] == lines[-3:]


@pytest.mark.parametrize("bits", [4, 8])
def test_gradients_through_a_quantised_base_are_the_same_after_measuring(
    toy_recipe, toy_sequences, wide_folder, bits
):
    """On some CPUs bitsandbytes repacks 4-bit layers at eval(); later gradients through them are gone."""
    pytest.importorskip("bitsandbytes", reason="4 and 8 bits need the extra 'quant'")
    recipe = toy_recipe(wide_folder, bits=bits)
    model = attach_lora(
        load_model(resolve(str(wide_folder)), bits, trainable=True), recipe.train.lora, 0
    ).train()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.1)
    batch = pack_sequences(toy_sequences)

    def gradients():
        model.zero_grad()
        loss(model, batch).backward()
        return [parameter.grad.clone() for parameter in model.parameters() if parameter.requires_grad]

    before = gradients()
    HeldOut(toy_sequences, recipe, "shared").measure(loop_of(recipe, toy_sequences, model))
    assert all(torch.equal(one, other) for one, other in zip(gradients(), before, strict=True))
    assert all(one.any() for one in before)


@pytest.mark.parametrize("bits", [4, 8])
def test_a_quantised_base_trains_the_same_with_and_without(
    toy_recipe, wide_folder, data_folder, tmp_path, bits
):
    pytest.importorskip("bitsandbytes", reason="4 and 8 bits need the extra 'quant'")
    settings = {"epochs": 2, "step_tokens": 1200, "pack": {"tokens": 512}}
    looked_at = {
        "held_out": {"every_steps": 1, "examples": 2},
        "generate": {"every_steps": 1, "examples": 1, "max_new_tokens": 3},
    }
    for name, more in (("plain", {}), ("seen", looked_at)):
        recipe = toy_recipe(wide_folder, bits=bits, **settings, **more)
        train(recipe, data_folder, tmp_path / name, quiet=True, answer=answers_of)
    assert (tmp_path / "seen" / ADAPTER).read_bytes() == (tmp_path / "plain" / ADAPTER).read_bytes()
    lines = [line for line in lines_of(tmp_path / "seen" / "held_out.jsonl") if line["task"] == ""]
    assert lines[-1]["loss"] < lines[0]["loss"]


def test_figures_are_taken_every_so_often_and_at_the_end(settings, data_folder, tmp_path):
    recipe = settings(held_out={"every_steps": 4})
    steps = train(recipe, data_folder, tmp_path / "train", quiet=True)["steps"]
    lines = lines_of(tmp_path / "train" / "held_out.jsonl")
    assert [line["step"] for line in lines if not line["task"]] == sorted({0, 4, 8, steps} - {steps + 1})


def test_what_does_not_change_the_weights_does_not_train_again(settings, data_folder, tmp_path):
    first = train(settings(), data_folder, tmp_path / "train", quiet=True)
    again = train(settings(held_out={"every_steps": 4}), data_folder, tmp_path / "train", quiet=True)
    assert again == first


def test_examples_too_long_are_told_and_none_at_all_is_an_error(settings, data_folder, capsys):
    recipe = settings(held_out={"examples": 4})
    tokenizer = load_tokenizer(resolve(recipe.model.name))
    lengths = sorted(map(len, held_out_sequences(recipe, data_folder, tokenizer)))
    assert len(lengths) == 8
    assert lengths[3] < lengths[4]  # one passage is longer than the other
    assert capsys.readouterr().err == ""
    short = recipe.model_copy(update={"pack": recipe.pack.model_copy(update={"tokens": lengths[3]})})
    assert len(held_out_sequences(short, data_folder, tokenizer)) == 4
    assert "held out: 4 of 8 sequences are longer than pack.tokens" in capsys.readouterr().err
    (data_folder / "evaluate.parquet").unlink()
    with pytest.raises(DataError, match="no such file"):
        held_out_examples(data_folder, 2)


def test_a_file_of_steps_forgets_what_came_after_the_checkpoint(tmp_path):
    path = tmp_path / "f.jsonl"
    StepLines(path, 0).add({"step": step, "글": "가"} for step in (0, 2, 2, 4))
    with path.open("a") as file:
        file.write('{"step": 6, "cut')
    StepLines(path, 2).add([{"step": 3}])
    assert [line["step"] for line in lines_of(path)] == [0, 2, 2, 3]
    StepLines(path, 0)
    assert not path.exists()
