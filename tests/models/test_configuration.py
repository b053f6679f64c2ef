"""What a configuration tells before any weight is read."""

import json

import pytest
from transformers import BertConfig, LlamaConfig, RobertaConfig, T5Config

from komt.errors import ModelError
from komt.models.configuration import read_configuration
from komt.testing import TINY_SHAPE

OWN = """
from transformers import LlamaConfig, LlamaForCausalLM

class OwnConfig(LlamaConfig):
    model_type = "own"

class OwnForCausalLM(LlamaForCausalLM):
    config_class = OwnConfig
"""


@pytest.fixture
def own_code(tmp_path, monkeypatch):
    """A model whose Python code lies beside its configuration."""
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    folder = tmp_path / "own"
    folder.mkdir()
    (folder / "code_of_its_own.py").write_text(OWN)
    classes = {"AutoConfig": "OwnConfig", "AutoModelForCausalLM": "OwnForCausalLM"}
    values = {**LlamaConfig(**TINY_SHAPE).to_dict(), "model_type": "own"}
    values["auto_map"] = {auto: f"code_of_its_own.{name}" for auto, name in classes.items()}
    (folder / "config.json").write_text(json.dumps(values))
    return folder


@pytest.mark.parametrize(
    ("config", "what"),
    [
        (BertConfig(), "bert is an encoder:"),
        (RobertaConfig(), "roberta is an encoder:"),
        (T5Config(), "t5 is an encoder with a decoder:"),
    ],
)
def test_what_does_not_write_from_left_to_right_is_refused(tmp_path, config, what):
    config.save_pretrained(tmp_path)
    with pytest.raises(ModelError, match=what):
        read_configuration(tmp_path)


def test_a_decoder_is_read(tmp_path):
    LlamaConfig(**TINY_SHAPE).save_pretrained(tmp_path)
    assert read_configuration(tmp_path).hidden_size == 32


def test_code_of_its_own_runs_only_when_allowed(own_code):
    with pytest.raises(ModelError, match="only when you allow it") as told:
        read_configuration(own_code)
    assert "model.remote_code=true" in told.value.cure
    assert read_configuration(own_code, remote_code=True).model_type == "own"


def test_memory_is_predicted_with_code_of_its_own(own_code, capsys):
    from komt.cli import main

    words = ["check", "llama2-7b-qlora-24gb", f"model.name={own_code}", "--memory", "24"]
    assert main(words) == 1
    assert "model.remote_code=true" in capsys.readouterr().err
    assert main([*words, "model.remote_code=true"]) == 0
    assert "it fits" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "what"), [("{", "not valid JSON"), ('{"model_type": "no-such"}', "no-such")]
)
def test_an_unreadable_one_is_told(tmp_path, text, what):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(ModelError, match=what):
        read_configuration(tmp_path)
