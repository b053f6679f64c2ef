"""Memory from the configuration alone: the count of a model with weights, and the recipes for 24 GB."""

import json
from pathlib import Path

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from komt.cli import main
from komt.errors import ModelError
from komt.recipe import load_recipe
from komt.testing import tiny_model
from komt.train.forecast import count_saved, held_bytes, meta_model
from komt.train.memory import weight_bytes

# From the published config.json of each model.
LLAMA2_7B = {
    "model_type": "llama",
    "architectures": ["LlamaForCausalLM"],
    "vocab_size": 32000,
    "hidden_size": 4096,
    "intermediate_size": 11008,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 32,
    "max_position_embeddings": 4096,
    "rms_norm_eps": 1e-05,
    "tie_word_embeddings": False,
}
QWEN3_8B = {
    "model_type": "qwen3",
    "architectures": ["Qwen3ForCausalLM"],
    "vocab_size": 151936,
    "hidden_size": 4096,
    "intermediate_size": 12288,
    "num_hidden_layers": 36,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "max_position_embeddings": 40960,
    "rms_norm_eps": 1e-06,
    "tie_word_embeddings": False,
}
RECIPES = {
    "llama2-7b-qlora-24gb": (LLAMA2_7B, 6_738_415_616),
    "qwen3-8b-qlora-24gb": (QWEN3_8B, 8_190_735_360),
    "komt-llama2-7b": (LLAMA2_7B, 6_738_415_616),
}


@pytest.fixture
def folder(tmp_path):
    """A folder with nothing but a config.json."""

    def make(config):
        (tmp_path / "config.json").write_text(json.dumps(config))
        return tmp_path

    return make


@pytest.mark.parametrize("family", ["llama", "gemma3"])
def test_without_storage_the_same_is_counted_as_with_weights(family, toy_recipe, folder):
    tiny = tiny_model(family)
    path = folder({**tiny.config.to_dict(), "architectures": [type(tiny).__name__]})
    recipe = toy_recipe(path, bits=16)
    empty = meta_model(recipe, path)
    full = empty.to_empty(device="cpu")
    with torch.no_grad():
        for tensor in (*full.parameters(), *full.buffers()):
            tensor.fill_(0.01)
    expected = count_saved(full)
    found = count_saved(meta_model(recipe, path))
    assert found.token == pytest.approx(expected.token)
    assert found.row == pytest.approx(expected.row)
    assert found.token > 0


@pytest.mark.parametrize("bits", [4, 8, 16])
def test_weights_are_counted_as_from_their_files(bits, toy_recipe, tmp_path):
    tiny_model("llama").save_pretrained(tmp_path)
    recipe = toy_recipe(tmp_path, bits=bits)
    model = meta_model(recipe, tmp_path)
    adapter = 4.0 * sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert held_bytes(model, recipe) == pytest.approx(weight_bytes(tmp_path, bits) + adapter, rel=1e-3)


@pytest.mark.parametrize("name", RECIPES)
def test_the_recipes_for_24_gb_fit_by_the_prediction(name, folder, capsys):
    config, parameters = RECIPES[name]
    path = folder(config)
    with torch.device("meta"):
        base = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(path))
    assert sum(p.numel() for p in base.parameters()) == parameters
    assert load_recipe(name).model.bits == 4
    assert main(["check", name, f"model.name={path}", "--memory", "24", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["fits"]
    assert 4 < found["total"] / 2**30 < 22


def test_what_does_not_fit_is_told_what_would(folder, capsys):
    path = folder({**LLAMA2_7B, "num_hidden_layers": 4})
    words = ["check", "llama2-7b-qlora-24gb", f"model.name={path}", "train.gradient_checkpointing=false"]
    assert main([*words, "--memory", "4"]) == 1
    said = capsys.readouterr().out
    assert "it does not fit" in said
    assert "this would: train.gradient_checkpointing=true" in said


def test_a_folder_without_configuration_is_told(tmp_path, capsys):
    words = ["check", "llama2-7b-qlora-24gb", f"model.name={tmp_path}", "--memory", "24"]
    assert main(words) == 1
    assert "config.json" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["{}/models/absent", "models/absent"])
def test_an_absent_folder_is_told_at_once_with_what_lies_beside_it(name, tmp_path, monkeypatch, capsys):
    (tmp_path / "models" / "present").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    name = name.format(tmp_path)
    assert main(["check", "llama2-7b-qlora-24gb", f"model.name={name}", "--memory", "24"]) == 2
    said = capsys.readouterr().err
    assert f"there is no folder '{name}'" in said
    assert "present" in said


def test_without_the_hub_the_configuration_is_asked_for_once(monkeypatch, capsys):
    asked = []

    def refuse(name, **kwargs):
        from huggingface_hub.errors import LocalEntryNotFoundError

        asked.append(kwargs["allow_patterns"])
        raise LocalEntryNotFoundError("no network")

    monkeypatch.setattr("huggingface_hub.snapshot_download", refuse)
    assert main(["check", "llama2-7b-qlora-24gb", "model.name=org/name", "--memory", "24"]) == 1
    assert "the hub cannot be reached" in capsys.readouterr().err
    assert asked == [["config.json"]]


@pytest.mark.gpu
def test_an_8b_shape_in_nf4_trains_under_24_gib_as_predicted(folder, monkeypatch):
    if not torch.cuda.is_available():
        pytest.skip("no GPU")
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "bench"))
    from gpu import train_under_cap

    predicted, measured = train_under_cap(folder(QWEN3_8B), 24.0, tokens=4096)
    assert measured < 24 * 2**30
    assert abs(predicted / measured - 1) <= 0.15


@pytest.mark.parametrize(
    "values",
    [
        {"model_type": "vit", "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4},
        {"model_type": "llama", "hidden_size": -64},
        {"model_type": "llama", "num_hidden_layers": 0},
    ],
)
def test_a_configuration_of_no_language_model_is_told(tmp_path, values):
    (tmp_path / "config.json").write_text(json.dumps(values), encoding="utf-8")
    with pytest.raises(ModelError, match="no language model that can be trained"):
        meta_model(load_recipe("sample", [f"model.name={tmp_path}"]), tmp_path)


@pytest.mark.parametrize("memory", ["0", "-1", "nan", "inf"])
def test_memory_is_a_number_of_gib(memory, capsys):
    assert main(["check", "sample", "--memory", memory]) == 2
    assert "more than 0" in capsys.readouterr().err
