"""The probe finds out what is exact for a model, and says why not more."""

import pytest
import torch
import transformers

from komt.pack import loss, pack_sequences
from komt.pack.masks import window_of
from komt.pack.probe import FP32_TOLERANCE, Parity, _evaluating, probe
from komt.testing import FAMILIES, TINY_SHAPE, tiny_model


class Wrapped(torch.nn.Module):
    """A model that does something else with the attention mask it is given."""

    def __init__(self, use_mask, model=None):
        super().__init__()
        self.inner = model or tiny_model("llama")
        self.config, self.use_mask = self.inner.config, use_mask

    def forward(self, attention_mask=None, **inputs):
        return self.inner(attention_mask=self.use_mask(attention_mask), **inputs)


def causal_whatever_is_asked(mask):
    return torch.ones_like(mask).tril() if mask is not None and mask.dim() == 4 else mask


def refusing(mask):
    if mask is not None and mask.dim() == 4:
        raise ValueError("attention_mask must be of shape (batch, length)")
    return mask


@pytest.mark.parametrize("family", FAMILIES)
def test_known_families_share_exactly(family):
    parity = probe(tiny_model(family))
    assert (parity.way, parity.reason, parity.allowed) == ("shared", "", FP32_TOLERANCE)
    assert 0 <= parity.error <= FP32_TOLERANCE


@pytest.mark.parametrize("family", FAMILIES)
def test_lora_on_a_bf16_base_shares_within_what_padding_changes(family, adapted):
    parity = probe(adapted(family).to(torch.bfloat16))
    assert parity.way == "shared"
    assert parity.error <= parity.allowed < 0.1


def test_a_model_that_ignores_masks_trains_one_by_one():
    parity = probe(Wrapped(causal_whatever_is_asked))
    assert parity.way == "single"
    assert "not packed: losses differ by" in parity.reason
    assert "not packed" in str(parity)


def test_a_model_that_refuses_such_masks_trains_one_by_one():
    parity = probe(Wrapped(refusing))
    assert parity.way == "single"
    assert "must be of shape" in parity.reason


def test_a_model_that_tells_sequences_apart_by_positions_alone_packs_without_sharing():
    # With no mask, transformers finds packed sequences by their positions, which start again at nought.
    parity = probe(Wrapped(lambda mask: None))
    assert parity.way == "packed"
    assert "not shared: losses differ by" in parity.reason


def test_layers_that_no_mask_confines_train_one_by_one(ragged, separate_loss):
    from transformers import AutoModelForCausalLM, Lfm2Config

    torch.manual_seed(0)
    config = Lfm2Config(
        vocab_size=600,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        layer_types=["conv", "full_attention"],
        pad_token_id=0,
        bos_token_id=2,
        eos_token_id=1,
    )
    model = AutoModelForCausalLM.from_config(config, attn_implementation="sdpa").eval()
    parity = probe(model)
    assert parity.way == "single"
    assert "layers of type conv cannot be confined" in parity.reason
    with torch.no_grad():
        for one in ragged:
            torch.testing.assert_close(loss(model, pack_sequences([one])), separate_loss(model, [one]))


def test_linear_attention_is_not_shared():
    model = Wrapped(lambda mask: mask)
    model.config.layer_types = ["full_attention", "linear_attention", "full_attention"]
    parity = probe(model)
    assert parity.way == "packed"  # it has none in truth, and tells sequences apart by their positions
    assert "not shared: layers of type linear_attention" in parity.reason


@pytest.mark.parametrize("training", [True, False])
def test_the_mode_of_the_model_is_left_as_it_was(training):
    model = tiny_model("llama").train(training)
    probe(model)
    assert model.training is training


def test_the_probe_is_longer_than_the_window():
    """A window that is wrong only in masks given from outside is noticed."""

    def twice_the_window(mask):
        if mask is None or mask.dim() == 2:
            return mask
        roots = torch.cumsum(mask[0, 0].sum(1) == 1, 0)  # a sequence's first token sees itself alone
        place = torch.arange(len(roots))
        distance = place[:, None] - place
        return ((roots[:, None] == roots) & (distance >= 0) & (distance < 16))[None, None]

    assert probe(Wrapped(lambda mask: mask, tiny_model("mistral"))).way == "shared"
    assert probe(Wrapped(twice_the_window, tiny_model("mistral"))).way == "single"


def test_a_window_out_of_reach_is_tried_as_a_narrow_one():
    """Where a model does not heed a wide window, masks that do would be wrong in long sequences only."""
    model, heedless = tiny_model("mistral"), tiny_model("llama")
    model.config.sliding_window = heedless.config.sliding_window = 4000
    heedless.config.use_sliding_window = True
    assert probe(model).way == "shared"
    assert probe(heedless).way == "single"
    assert model.config.sliding_window == heedless.config.sliding_window == 4000


def test_a_window_that_the_family_knows_nothing_of_is_none():
    model = tiny_model("llama")
    model.config.sliding_window = 16  # left over in a config.json, as transformers reads it
    assert window_of(model.config) == (0, False)
    assert probe(model).way == "shared"


@pytest.mark.parametrize("kind", ["longrope", "dynamic"])
def test_a_rotary_embedding_that_goes_by_length_is_not_packed_beyond_it(kind, sequence, separate_loss):
    parts = {"long_factor": [4.0, 3.0, 2.0, 1.5], "short_factor": [1.0] * 4} if kind == "longrope" else {}
    rope = {"rope_type": kind, "rope_theta": 10000.0, "factor": 4.0, **parts}
    config = transformers.Phi3Config if kind == "longrope" else transformers.LlamaConfig
    shape = {**TINY_SHAPE, "max_position_embeddings": 64, "rope_parameters": rope}
    if kind == "longrope":
        rope["original_max_position_embeddings"] = shape["original_max_position_embeddings"] = 64
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(config(**shape), attn_implementation="sdpa").eval()
    for weight in model.parameters():
        weight.data *= 4.0 if weight.dim() > 1 else 1.0  # so that places tell
    short, long = (sequence(range(4, 4 + size), 20) for size in (40, 80))
    with torch.no_grad():
        alone = separate_loss(model, [short])
        together, by_itself = (loss(model, pack_sequences(some)) for some in ([short, long], [long]))
    assert abs(2 * together - by_itself - alone) > 1e-3
    assert probe(model, 64).way == "shared"
    found = probe(model, 65)
    assert found.way == "single"
    assert f"its rotary embedding ({kind}) changes beyond 64 tokens" in found.reason


def test_the_finding_reads_as_a_sentence():
    assert str(Parity("shared", 1e-7, 1e-5)) == "packing: shared (loss differs by 1.0e-07, allowed 1.0e-05)"


def test_a_vocabulary_of_hundreds_of_thousands_does_not_look_like_a_difference():
    config = transformers.LlamaConfig(
        vocab_size=262_144,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
    )
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        model.lm_head.weight.mul_(40)  # logits as far apart as a trained model's
    assert probe(model).way == "shared"


@pytest.mark.parametrize("training", [True, False])
def test_layers_in_8_bits_are_probed_as_they_are_trained(training):
    bitsandbytes = pytest.importorskip("bitsandbytes")
    layer = bitsandbytes.nn.Linear8bitLt(64, 64, has_fp16_weights=False)
    model = torch.nn.Sequential(layer, torch.nn.Dropout(0.5)).train(training)
    with _evaluating(model):
        assert layer.training
        assert not model[1].training
    assert layer.training == model[1].training == training
