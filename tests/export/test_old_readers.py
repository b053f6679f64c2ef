"""Exported folders for programs on transformers 4: old names beside the new ones, of the same meaning."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoConfig, AutoTokenizer, Gemma3TextConfig, LlamaConfig

from komt.export.merge import merge
from komt.export.old_readers import add_old_names, old_tokenizer_names
from komt.models.place import Place

Make = Callable[..., Place]
LLAMA_3 = {
    "rope_type": "llama3",
    "rope_theta": 500000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}


def written(config: Any, folder: Path) -> dict[str, Any]:
    """What stands in a folder's config.json; transformers 5 must read it as it did before."""
    config.save_pretrained(folder)
    before = AutoConfig.from_pretrained(folder).to_dict()
    add_old_names(folder)
    after = AutoConfig.from_pretrained(folder).to_dict()
    assert {key: after[key] for key in before} == before
    return dict(json.loads((folder / "config.json").read_text(encoding="utf-8")))


def test_a_scaled_llama_is_told_as_transformers_4_knows_it(tmp_path: Path) -> None:
    found = written(LlamaConfig(rope_parameters=LLAMA_3, dtype="bfloat16"), tmp_path)
    assert found["rope_theta"] == 500000.0
    assert found["rope_scaling"] == {key: value for key, value in LLAMA_3.items() if key != "rope_theta"}
    assert found["rope_parameters"] == LLAMA_3
    assert found["torch_dtype"] == found["dtype"] == "bfloat16"


def test_gemmas_two_base_frequencies_keep_their_layers(tmp_path: Path) -> None:
    rope = {
        "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 2e6},
        "sliding_attention": {"rope_type": "default", "rope_theta": 2e4},
    }
    found = written(Gemma3TextConfig(num_hidden_layers=2, rope_parameters=rope), tmp_path)
    assert (found["rope_theta"], found["rope_local_base_freq"]) == (2e6, 2e4)
    assert found["rope_scaling"] == {"rope_type": "linear", "factor": 8.0}
    assert found["sliding_window_pattern"] == 6


def test_a_model_without_rotary_positions_stays_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "gpt2"}')
    add_old_names(tmp_path)
    assert (tmp_path / "config.json").read_text() == '{"model_type": "gpt2"}'


@pytest.mark.parametrize("family", ["llama", "gemma3"])
def test_a_merged_folder_bears_names_that_both_know(base: Make, family: str, tmp_path: Path) -> None:
    place = base(family)
    tokenizer = AutoTokenizer.from_pretrained(place.folder)
    tokenizer.add_special_tokens({"extra_special_tokens": ["<|끝|>"]})
    tokenizer.save_pretrained(place.folder)
    out = merge(place, tmp_path / "out")
    config = json.loads((out / "config.json").read_text(encoding="utf-8"))
    assert config["torch_dtype"] == "bfloat16"
    assert config["rope_theta"] > 0
    told = json.loads((out / "tokenizer_config.json").read_text(encoding="utf-8"))
    assert told["tokenizer_class"] == "PreTrainedTokenizerFast"
    assert told["additional_special_tokens"] == ["<|끝|>"]
    assert "extra_special_tokens" not in told
    again = AutoTokenizer.from_pretrained(out)
    assert again.extra_special_tokens == ["<|끝|>"]
    text = "한국어<|끝|> 물음"
    assert again(text)["input_ids"] == tokenizer(text)["input_ids"]


def test_special_tokens_by_name_stay_by_name() -> None:
    named = {"tokenizer_class": "GemmaTokenizer", "extra_special_tokens": {"image_token": "<image>"}}
    assert old_tokenizer_names(named) == named
