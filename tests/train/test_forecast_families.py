"""Experts and linear attention: what is predicted from a configuration is what a real tiny model has."""

import json
import sys
from pathlib import Path

import pytest
import torch

from komt.cli import main
from komt.errors import UsageError
from komt.models.load import load_model
from komt.models.place import Place
from komt.train.forecast import count_saved, held_bytes, meta_model, without_values
from komt.train.memory import weight_bytes

DOCS = Path(__file__).parents[2] / "docs"
sys.path.insert(0, str(DOCS))
from generate_families import FAMILIES, model_of  # noqa: E402

sys.path.remove(str(DOCS))
# Of layers as wide as bitsandbytes' kernels want them.
WIDE = {"hidden_size": 64, "moe_intermediate_size": 64, "intermediate_size": 64, "head_dim": 16}


@pytest.fixture(scope="module", params=["Llama", "Mixtral", "Qwen3 MoE", "Qwen3.5", "gpt-oss"])
def folder(request, tmp_path_factory):
    """A real tiny model of a family."""
    path = tmp_path_factory.mktemp("family")
    family = next(family for family in FAMILIES if family.name == request.param)
    model_of(type(family)(family.name, "", family.config, {**family.extra, **WIDE})).save_pretrained(path)
    return path


def loaded(folder, bits):
    return load_model(Place("tiny", "base", folder, None, ""), bits)


def bytes_of(model):
    """Of all weights, the scales of those in 4 bits among them."""
    total = sum(parameter.nbytes for parameter in model.parameters())
    for parameter in model.parameters():
        if state := getattr(parameter, "quant_state", None):
            total += state.absmax.nbytes + state.state2.absmax.nbytes
    return total


@pytest.mark.parametrize("bits", [4, 8, 16])
def test_parameters_and_bytes_are_those_of_the_real_model(folder, bits, toy_recipe):
    recipe = toy_recipe(folder, bits=bits)
    empty = meta_model(recipe, folder)
    base = [p for p in empty.parameters() if not p.requires_grad]
    adapter = sum(4.0 * p.numel() for p in empty.parameters() if p.requires_grad)
    assert sum(p.numel() for p in base) == sum(p.numel() for p in loaded(folder, 16).parameters())
    real = bytes_of(loaded(folder, bits))
    # The last block of a scale's scales is a part of one in layers as small as these.
    tolerance = 0.005 if bits == 4 else 0.0
    assert held_bytes(empty, recipe) - adapter == pytest.approx(real, rel=tolerance)
    assert weight_bytes(folder, bits) == pytest.approx(real, rel=tolerance)


def test_without_values_the_same_is_counted_as_with_them(folder, toy_recipe):
    recipe = toy_recipe(folder, bits=16)
    full = meta_model(recipe, folder).to_empty(device="cpu")
    with torch.no_grad():
        for tensor in (*full.parameters(), *full.buffers()):
            tensor.fill_(0.01)
    with without_values(meta_model(recipe, folder)) as empty:
        found = count_saved(empty)
    assert found == count_saved(full)
    assert found.token > 0


def test_each_family_is_predicted(folder, capsys):
    words = ["check", "llama2-7b-qlora-24gb", f"model.name={folder}", "train.lora.dropout=0"]
    assert main([*words, "train.lora.targets=all-linear", "--memory", "24", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["fits"]


def test_dropout_on_experts_is_told_with_what_to_do(folder, toy_recipe):
    if json.loads((folder / "config.json").read_text())["model_type"] not in {"mixtral", "qwen3_moe"}:
        return  # LoRA goes on no experts here
    with pytest.raises(UsageError, match="neither dropout nor DoRA") as told:
        meta_model(toy_recipe(folder, bits=16, lora={"dropout": 0.1}), folder)
    assert "train.lora.targets=[k_proj, o_proj, q_proj, v_proj]" in str(told.value)
