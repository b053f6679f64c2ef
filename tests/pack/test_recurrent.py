"""Linear attention trains exactly: one by one, or packed where a model keeps to the boundaries it is told."""

from types import SimpleNamespace

import pytest
import torch

from komt.pack import loss, pack_sequences
from komt.pack.masks import boundaries
from komt.pack.probe import probe
from komt.testing import tiny_model

SHAPE = {
    "vocab_size": 600,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "pad_token_id": 0,
    "eos_token_id": 1,
    "bos_token_id": 2,
}
LINEAR = {
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
    "layer_types": ["linear_attention", "full_attention"],
}
EXPERTS = {
    "num_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 16,
    "shared_expert_intermediate_size": 16,
}


def recurrent_model(name):
    import transformers

    torch.manual_seed(0)
    config = getattr(transformers, name)(**SHAPE, **LINEAR, **(EXPERTS if name == "Qwen3NextConfig" else {}))
    return transformers.AutoModelForCausalLM.from_config(config, attn_implementation="sdpa")


@pytest.mark.parametrize("name", ["Qwen3NextConfig", "Qwen3_5TextConfig"])
def test_linear_attention_trains_exactly_one_by_one_and_the_probe_says_so(name, ragged, separate_loss):
    model = recurrent_model(name).train()
    parity = probe(model)
    assert parity.way == "single"
    # On a CPU transformers refuses boundaries, and says what is missing.
    assert "linear_attention cannot be confined by an attention mask; not packed: `causal_conv1d" in str(
        parity
    )
    for one in ragged[:3]:
        model.zero_grad()
        ours = loss(model, pack_sequences([one]))
        ours.backward()
        found = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
        model.zero_grad()
        theirs = separate_loss(model, [one])
        theirs.backward()
        expected = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-5)


class KeepingToBoundaries(torch.nn.Module):
    """What kernels for linear attention do with the boundaries that they are told."""

    def __init__(self):
        super().__init__()
        self.inner = recurrent_model("Qwen3NextConfig")
        self.config = self.inner.config

    def forward(self, input_ids, cu_seq_lens_q=None, logits_to_keep=0, attention_mask=None, **ignored):
        if cu_seq_lens_q is None:
            return self.inner(
                input_ids, attention_mask=attention_mask, use_cache=False, logits_to_keep=logits_to_keep
            )
        assert attention_mask is None
        pieces = input_ids.tensor_split(cu_seq_lens_q[1:-1].long(), dim=1)
        logits = torch.cat([self.inner(piece, use_cache=False).logits for piece in pieces], 1)
        return SimpleNamespace(logits=logits[:, logits_to_keep])


def test_a_model_that_keeps_to_boundaries_is_packed_without_sharing():
    parity = probe(KeepingToBoundaries())
    assert parity.way == "packed"
    assert "not shared: layers of type linear_attention cannot be confined" in parity.reason


def test_boundaries_are_those_of_the_sequences(sequence):
    apart = pack_sequences([sequence([5, 6, 7]), sequence([5, 6]), sequence([9, 8, 7, 6])], share=False)
    told = boundaries(apart.ends, apart.positions[0])
    assert told["cu_seq_lens_q"].tolist() == told["cu_seq_lens_k"].tolist() == [0, 3, 5, 9]
    assert told["seq_idx"].tolist() == [[0, 0, 0, 1, 1, 2, 2, 2, 2]]
    assert told["max_length_q"] == told["max_length_k"] == 4
    shared = pack_sequences([sequence([5, 6, 7]), sequence([5, 6, 8])])
    assert boundaries(shared.ends, shared.positions[0]) is None


def test_a_model_without_such_layers_is_told_nothing(sequence):
    model, seen = tiny_model("llama"), {}
    model.register_forward_pre_hook(lambda module, args, kwargs: seen.update(kwargs), with_kwargs=True)
    with torch.no_grad():
        loss(model, pack_sequences([sequence([5, 6, 7]), sequence([9, 8])], share=False))
    assert "attention_mask" in seen
    assert "seq_idx" not in seen
