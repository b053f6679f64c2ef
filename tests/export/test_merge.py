"""Merging: the written folder answers as base and adapter did, whatever the adapter trains."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from komt.errors import ModelError
from komt.export.measure import load_exported, load_exported_tokenizer, text_logits
from komt.export.merge import load_unmerged, merge
from komt.export.text import reference_ids
from komt.models.load import load_model, load_tokenizer
from komt.models.place import Place
from komt.models.resolve import resolve
from komt.models.template import end_token_id
from komt.testing import FAMILIES

Make = Callable[..., Place]
KINDS: dict[str, dict[str, Any]] = {
    "lora": {},
    "rslora": {"use_rslora": True, "r": 8},
    "dora": {"use_dora": True},
    "ranks": {"rank_pattern": {"q_proj": 2}, "alpha_pattern": {"q_proj": 32}},
    "embeddings": {"target_modules": ["q_proj", "embed_tokens"]},
    "head": {"target_modules": ["q_proj", "lm_head"]},
    "whole embeddings": {"target_modules": ["q_proj"], "modules_to_save": ["embed_tokens"]},
    "whole ends": {"target_modules": ["q_proj"], "modules_to_save": ["embed_tokens", "lm_head"]},
    "tokens": {"target_modules": ["q_proj"], "trainable_token_indices": [5, 6, 7]},
}


def difference(place: Place, out: Path) -> float:
    """The largest difference of a logit between base + adapter and the merged folder, both in fp32."""
    ids = reference_ids(load_tokenizer(place), 64)
    expected = text_logits(load_unmerged(place), ids)
    found = text_logits(load_exported(out), ids)
    assert float(expected.abs().max()) > 1  # else a small difference shows nothing
    return float((expected - found).abs().max())


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_merges_exactly(base: Make, adapted: Make, family: str, tmp_path: Path) -> None:
    place = adapted(base(family))
    bare = text_logits(load_model(place, 32, adapter=False), reference_ids(load_tokenizer(place), 64))
    tuned = text_logits(load_unmerged(place), reference_ids(load_tokenizer(place), 64))
    assert float((bare - tuned).abs().max()) > 0.1
    assert difference(place, merge(place, tmp_path / "out", "fp32")) < 1e-3


@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_adapter_merges_exactly(
    base: Make, adapted: Make, kind: str, tied: bool, tmp_path: Path
) -> None:
    place = adapted(base("llama", tied=tied), **KINDS[kind])
    assert difference(place, merge(place, tmp_path / "out", "fp32")) < 1e-3


@pytest.mark.parametrize(("kind", "stays"), [("lora", True), ("tokens", True), ("embeddings", False)])
def test_the_configuration_says_whether_embeddings_are_still_tied(
    base: Make, adapted: Make, kind: str, stays: bool, tmp_path: Path
) -> None:
    out = merge(adapted(base("llama", tied=True), **KINDS[kind]), tmp_path / "out", "fp32")
    assert json.loads((out / "config.json").read_text())["tie_word_embeddings"] is stays


def test_weights_are_stored_in_shards_no_larger_than_asked(base: Make, adapted: Make, tmp_path: Path) -> None:
    place = adapted(base())
    out = merge(place, tmp_path / "out", "fp32", shard_size="60KB")
    shards = sorted(path.name for path in out.glob("*.safetensors"))
    assert shards[0] == f"model-00001-of-{len(shards):05d}.safetensors"
    assert len(shards) > 2
    assert difference(place, out) < 1e-3


@pytest.mark.parametrize("dtype", ["bf16", "fp16", "fp32"])
def test_weights_are_stored_in_the_dtype_that_is_asked(base: Make, dtype: Any, tmp_path: Path) -> None:
    out = merge(base(), tmp_path / "out", dtype)
    names = {"bf16": "bfloat16", "fp16": "float16", "fp32": "float32"}
    assert json.loads((out / "config.json").read_text())["dtype"] == names[dtype]
    model = load_model(resolve(str(out)), 32)
    assert all(torch.isfinite(weight).all() for weight in model.parameters())


def test_other_programs_stop_where_the_template_and_the_model_do(base: Make, tmp_path: Path) -> None:
    place = base()
    path = place.folder / "generation_config.json"
    path.write_text(json.dumps({"eos_token_id": [9, 1], "do_sample": True, "temperature": 0.6}))
    out = merge(place, tmp_path / "out")
    told = json.loads((out / "generation_config.json").read_text())
    tokenizer = load_exported_tokenizer(out)
    assert told["eos_token_id"] == [end_token_id(tokenizer), 9]
    assert (told["do_sample"], told["temperature"]) == (True, 0.6)
    assert told["pad_token_id"] == tokenizer.pad_token_id


def test_a_fully_tuned_model_is_written_as_it_is(base: Make, tmp_path: Path) -> None:
    place = base("gemma3")
    assert difference(place, merge(place, tmp_path / "out", "fp32")) == 0


def test_a_weight_too_large_for_fp16_is_named(base: Make, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    place = base()
    model = AutoModelForCausalLM.from_pretrained(place.folder)
    with torch.no_grad():
        model.model.layers[1].mlp.down_proj.weight[0, 0] = 1e5
    model.save_pretrained(place.folder)
    with pytest.raises(ModelError, match=r"model\.layers\.1\.mlp\.down_proj\.weight is 1e\+05"):
        merge(resolve(str(place.folder)), tmp_path / "out", "fp16")
    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.glob(".out*"))


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("init_lora_weights", "pissa_niter_4", "pissa_niter_4"),
        ("init_lora_weights", "loftq", "loftq"),
        ("init_lora_weights", "olora", "olora"),
        ("alora_invocation_tokens", [1, 2], "aLoRA"),
        ("layer_replication", [[0, 2], [1, 3]], "layer_replication"),
    ],
)
def test_adapters_that_do_not_belong_to_the_base_as_it_is_are_refused(
    base: Make, adapted: Make, key: str, value: Any, reason: str, tmp_path: Path
) -> None:
    place = adapted(base())
    assert place.adapter is not None
    path = place.adapter / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), key: value}))
    with pytest.raises(ModelError, match=reason):
        merge(place, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_peft_cannot_merge_is_told(base: Make, adapted: Make, tmp_path: Path) -> None:
    place = adapted(base(), lora_bias=True)
    with pytest.raises(ModelError, match="PEFT cannot merge an adapter of the kind LORA") as caught:
        merge(place, tmp_path / "out")
    assert "--format adapter" in str(caught.value)


def test_a_quantised_base_is_never_merged_into(base: Make, adapted: Make, tmp_path: Path) -> None:
    place = adapted(base())
    path = place.folder / "config.json"
    quantised = {"quant_method": "bitsandbytes", "load_in_4bit": True}
    path.write_text(json.dumps({**json.loads(path.read_text()), "quantization_config": quantised}))
    with pytest.raises(ModelError, match="round the tuning away"):
        merge(place, tmp_path / "out")


def test_an_adapter_trained_on_4_bits_is_merged_into_the_full_base(
    base: Make, adapted: Make, tmp_path: Path
) -> None:
    """The base's folder holds full weights; that training rounded them leaves no trace in what is merged."""
    place = adapted(base())
    out = merge(place, tmp_path / "out", "fp32")
    merged = load_exported(out).state_dict()
    bare = load_model(place, 32, adapter=False).state_dict()
    name = "model.layers.0.self_attn.q_proj.weight"
    steps = len(torch.unique(merged[name]))
    assert steps > 900  # of 1,024; NF4 leaves sixteen per block
    assert not torch.equal(merged[name], bare[name])
    assert torch.equal(merged["model.embed_tokens.weight"], bare["model.embed_tokens.weight"])


def test_nothing_of_this_machine_is_told(base: Make, adapted: Make, tmp_path: Path) -> None:
    out = merge(adapted(base()), tmp_path / "out")
    for path in out.iterdir():
        assert str(tmp_path).encode() not in path.read_bytes(), path.name
    told = json.loads((out / "tokenizer_config.json").read_text())
    assert not {"is_local", "local_files_only", "name_or_path"} & told.keys()
