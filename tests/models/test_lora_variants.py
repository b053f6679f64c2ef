"""Variants of LoRA: each changes what it should, leaves the base as it is, and is refused where it cannot."""

import pytest
import torch

from komt.errors import UsageError
from komt.models.load import attach_lora, load_model
from komt.models.resolve import resolve
from komt.pack.probe import probe
from komt.recipe import LoraPart, parse_recipe
from komt.testing import tiny_model, tiny_model_folder

VARIANTS = {
    "lora": {},
    "rslora": {"rslora": True},
    "dora": {"dora": True},
    "gaussian": {"init": "gaussian"},
    "embeddings": {"modules_to_save": ("embed_tokens",)},
    "head": {"modules_to_save": ("lm_head",)},
    "all": {"rslora": True, "dora": True, "init": "gaussian", "modules_to_save": ("lm_head", "embed_tokens")},
}


def variant(name, **more):
    return LoraPart(r=4, alpha=8, **VARIANTS[name], **more)


@pytest.mark.parametrize("name", VARIANTS)
def test_a_fresh_adapter_changes_nothing_and_can_be_turned_off(name):
    ids = torch.arange(4, 20)[None]
    bare = tiny_model("llama")
    expected = bare(input_ids=ids).logits
    model = attach_lora(tiny_model("llama"), variant(name), seed=0).eval()
    torch.testing.assert_close(model(input_ids=ids).logits, expected, rtol=1e-5, atol=1e-6)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter) * 0.1)
    assert float((model(input_ids=ids).logits - expected).abs().max()) > 0.01
    with model.disable_adapter():
        torch.testing.assert_close(model(input_ids=ids).logits, expected)


def test_rslora_scales_by_the_root_of_the_rank():
    plain, stable = (attach_lora(tiny_model("llama"), variant(name), seed=0) for name in ("lora", "rslora"))
    scales = [
        model.base_model.model.model.layers[0].self_attn.q_proj.scaling["default"]
        for model in (plain, stable)
    ]
    assert scales == [8 / 4, 8 / 2]


def test_the_start_is_the_seeds_and_by_its_name():
    def first(name, seed):
        model = attach_lora(tiny_model("llama"), variant(name), seed)
        return model.base_model.model.model.layers[0].self_attn.q_proj.lora_A["default"].weight.detach()

    assert torch.equal(first("gaussian", 1), first("gaussian", 1))
    assert not torch.equal(first("gaussian", 1), first("gaussian", 2))
    assert not torch.equal(first("gaussian", 1), first("lora", 1))


@pytest.mark.parametrize("bits", [32, 16])
@pytest.mark.parametrize("name", VARIANTS)
def test_every_variant_is_trained_in_fp32_and_packs(tmp_path, name, bits):
    place = resolve(str(tiny_model_folder(tmp_path, "gemma3")))
    model = attach_lora(load_model(place, bits), variant(name, dropout=0.0), seed=0)
    trained = {n: p for n, p in model.named_parameters() if p.requires_grad}
    assert {p.dtype for p in trained.values()} == {torch.float32}
    parts = {
        part
        for n in trained
        for part in ("lora_A", "lora_magnitude_vector", "embed_tokens", "lm_head")
        if part in n
    }
    wanted = {"lora_A", *variant(name).modules_to_save} | (
        {"lora_magnitude_vector"} if variant(name).dora else set()
    )
    assert parts == wanted
    assert probe(model).way == "shared"


def test_a_whole_layer_is_a_copy_of_the_bases():
    base = tiny_model("llama")
    before = base.model.embed_tokens.weight.clone()
    model = attach_lora(base, variant("embeddings"), seed=0)
    wrapper = model.base_model.model.model.embed_tokens
    with torch.no_grad():
        wrapper.modules_to_save["default"].weight.add_(1)
    assert torch.equal(wrapper.original_module.weight, before)


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        (("embed_token",), r"'embed_token' names no layer of the model; did you mean 'embed_tokens'"),
        (("q_proj",), r"'q_proj' gets LoRA already"),
    ],
)
def test_whole_layers_that_cannot_be_are_refused(names, reason):
    with pytest.raises(UsageError, match=reason):
        attach_lora(tiny_model("llama"), LoraPart(modules_to_save=names), seed=0)


def test_a_quantised_layer_cannot_be_trained_whole(tmp_path):
    pytest.importorskip("bitsandbytes", reason="4 and 8 bits need the extra 'quant'")
    model = load_model(resolve(str(tiny_model_folder(tmp_path, "llama"))), 4)
    with pytest.raises(UsageError, match="'down_proj' is held in 4 or 8 bits"):
        attach_lora(model, LoraPart(targets=("q_proj",), modules_to_save=("down_proj",)), seed=0)


@pytest.mark.parametrize("start", ["pissa", "pissa_niter_4", "loftq", "LoftQ", "olora", "corda"])
def test_starts_that_rewrite_the_base_are_refused(start):
    with pytest.raises(UsageError, match=rf"(?i)train\.lora\.init: {start} rewrites the base's own weights"):
        parse_recipe({"name": "r", "data": {}, "train": {"lora": {"init": start}}}, "test")


@pytest.mark.parametrize("lora", [{"dora": True}, {"plus_ratio": 4}, {"modules_to_save": ["lm_head"]}])
def test_lora_options_have_no_part_in_full_fine_tuning(lora):
    with pytest.raises(UsageError, match=f"leave out lora.{next(iter(lora))}"):
        parse_recipe({"name": "r", "data": {}, "train": {"method": "full", "lora": lora}}, "test")
    values = {"name": "r", "data": {}, "train": {"method": "full", "lora": {"r": 4, "dora": False}}}
    assert parse_recipe(values, "test").train.method == "full"
