"""Writes docs/families.md: how komt packs each model family, found out on tiny random models of it.

Each model is built from its configuration class in transformers and put through komt's own probe
(`komt.pack.probe`); where that allows packing, loss and the gradient of every weight are compared as well.
Without the class in the installed transformers a family is called untested.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from komt.testing import TINY_SHAPE

_SLIDES = {
    "sliding_window": 8,
    "layer_types": ["sliding_attention", "sliding_attention", "full_attention"],
}
_LINEAR = {
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
    "layer_types": ["linear_attention", "linear_attention", "full_attention"],
}
_EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}
_GROUPED = {**_EXPERTS, "n_routed_experts": 4, "n_group": 1, "topk_group": 1}
_LATENT = {
    "q_lora_rank": 16,
    "kv_lora_rank": 16,
    "qk_rope_head_dim": 8,
    "qk_nope_head_dim": 8,
    "v_head_dim": 8,
    "num_key_value_heads": 4,
}
# Of a loss and of a gradient, relative; a gradient that is nought in theory is measured by the whole one.
_LOSS, _GRADIENT, _NOUGHT = 1e-5, 1e-4, 1e-6


@dataclass(frozen=True)
class Family:
    """A family: its name, models of it, its configuration class, and what that needs beyond `TINY_SHAPE`."""

    name: str
    models: str
    config: str
    extra: dict[str, Any] = field(default_factory=dict)


FAMILIES = (
    Family("Llama", "Llama 2 and 3, komt-llama2, SOLAR 10.7B, Kanana Nano 2.1B", "LlamaConfig"),
    Family("Mistral", "Mistral 7B, komt-mistral", "MistralConfig", {"sliding_window": 8}),
    Family("Mixtral", "Mixtral 8x7B", "MixtralConfig", {"num_local_experts": 4, "num_experts_per_tok": 2}),
    Family("Qwen2", "Qwen2, Qwen2.5", "Qwen2Config"),
    Family("Qwen3", "Qwen3 0.6B to 32B", "Qwen3Config"),
    Family("Qwen3 MoE", "Qwen3 30B-A3B", "Qwen3MoeConfig", _EXPERTS),
    Family("Qwen3.5", "Qwen3.5 (text)", "Qwen3_5TextConfig", _LINEAR),
    Family("Gemma 2", "Gemma 2", "Gemma2Config", {**_SLIDES, "query_pre_attn_scalar": 8}),
    Family("Gemma 3", "Gemma 3 270M, 1B (text)", "Gemma3TextConfig", {**_SLIDES, "query_pre_attn_scalar": 8}),
    Family(
        "Gemma 4",
        "Gemma 4 (text)",
        "Gemma4TextConfig",
        {
            **_SLIDES,
            "vocab_size_per_layer_input": 600,
            "hidden_size_per_layer_input": 8,
            "global_head_dim": 8,
        },
    ),
    Family("EXAONE 3", "EXAONE 3.0, 3.5: Python code of their own", ""),
    Family("EXAONE 4", "EXAONE 4.0", "Exaone4Config", _SLIDES),
    Family(
        "EXAONE MoE",
        "K-EXAONE 236B-A23B",
        "ExaoneMoeConfig",
        {**_SLIDES, **_GROUPED, "num_shared_experts": 1, "mlp_layer_types": ["dense", "sparse", "sparse"]},
    ),
    Family("HyperCLOVA X", "HyperCLOVA X SEED Think 14B", "HyperCLOVAXConfig"),
    Family("Solar Open", "Solar Open 100B", "SolarOpenConfig", _GROUPED),
    Family("Phi", "Phi-1.5, Phi-2", "PhiConfig"),
    Family("Phi-3", "Phi-3, Phi-4", "Phi3Config", {"sliding_window": 8}),
    Family("GPT-NeoX", "Polyglot-Ko", "GPTNeoXConfig"),
    Family(
        "DeepSeek V3", "DeepSeek V3 and R1, Kanana 2 30B-A3B", "DeepseekV3Config", {**_GROUPED, **_LATENT}
    ),
    Family(
        "gpt-oss",
        "gpt-oss 20B",
        "GptOssConfig",
        {**_SLIDES, "num_local_experts": 4, "num_experts_per_tok": 2},
    ),
    Family(
        "Llama 4",
        "Llama 4 (text)",
        "Llama4TextConfig",
        {"num_local_experts": 2, "intermediate_size_mlp": 48, "attention_chunk_size": 8},
    ),
    Family("Falcon Mamba", "Falcon Mamba 7B", "FalconMambaConfig", {"state_size": 4}),
)


@dataclass(frozen=True)
class Found:
    """How komt packs a family: shared, packed, single, or untested; and why not more."""

    way: str
    reason: str


def model_of(family: Family) -> Any:
    """A tiny random model in fp32, attending as `komt.models.load` would have it; None if not installed."""
    import torch
    import transformers
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING

    kind = getattr(transformers, family.config, None) if family.config else None
    if kind is None:
        return None
    way = "sdpa" if MODEL_FOR_CAUSAL_LM_MAPPING[kind]._supports_sdpa else "eager"
    torch.manual_seed(0)
    config = kind(**{**TINY_SHAPE, **family.extra})
    return transformers.AutoModelForCausalLM.from_config(config, attn_implementation=way).eval()


def find(family: Family) -> Found:
    """Probe a family, and compare the gradients of the way that the probe allows."""
    from komt.models.quiet import quiet
    from komt.pack.probe import probe

    with quiet():
        model = model_of(family)
    if model is None:
        reason = "not in transformers; komt probes it when it is loaded (`model.remote_code: true`)"
        return Found("untested", reason if not family.config else "the installed transformers lacks it")
    with quiet():
        parity = probe(model)
    if parity.way != "single" and (wrong := worst(model, share=parity.way == "shared")):
        raise SystemExit(f"{family.name}: packed as the probe allows, {wrong}")
    # Sizes of differences are left out: they are another machine's.
    reason = re.sub(r" by [\d.e+-]+", "", parity.reason).replace("losses differ", "the loss would be another")
    return Found(parity.way, reason)


def worst(model: Any, *, share: bool) -> str:
    """What differs between a packed batch and separate sequences, loss and all gradients; "" if nothing."""
    import torch

    from komt.pack import loss, pack_sequences
    from komt.pack.probe import _ragged_sequences

    sequences = _ragged_sequences(model)
    weights = sum(float(one.weights[1:].sum()) for one in sequences)
    alone, expected = 0.0, {}
    for one in sequences:
        ids = torch.from_numpy(one.ids.astype("int64"))[None]
        logits = model(input_ids=ids, use_cache=False).logits[0, :-1].float()
        losses = torch.nn.functional.cross_entropy(logits, ids[0, 1:], reduction="none")
        own = (losses * torch.from_numpy(one.weights[1:])).sum() / weights
        own.backward()
        alone += own.item()
    expected = _gradients(model)
    packed = loss(model, pack_sequences(sequences, share=share))
    packed.backward()
    found = _gradients(model)
    if abs(packed.item() - alone) > _LOSS * alone:
        return f"the loss is {packed.item()}, not {alone}"
    whole = sum(float(one.norm()) ** 2 for one in expected.values()) ** 0.5
    for name, one in expected.items():
        if float((found[name] - one).norm()) > _GRADIENT * float(one.norm()) + _NOUGHT * whole:
            return f"the gradient of {name} is another"
    return ""


def _gradients(model: Any) -> dict[str, Any]:
    found = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    return found


def page() -> str:
    """The whole page."""
    import torch

    torch.set_num_threads(1)  # tensors as small as these wait for a second thread
    return "\n".join([*_HEAD, *_rows(), *_TAIL]) + "\n"


def _rows() -> Iterator[str]:
    for family in FAMILIES:
        found = find(family)
        yield f"| {family.name} | {family.models} | {_WORDS[found.way]} | {found.reason or '–'} |"


_WORDS = {"shared": "shared", "packed": "unshared", "single": "one by one", "untested": "untested"}
_HEAD = """# Model families

Generated by `make docs` from tiny random models of each family in transformers, on a CPU, in fp32. komt's
own probe, which runs before every training, compares packed with separate losses; here the gradient of every
weight was compared as well.

| packing | means |
|---|---|
| shared | examples that start alike are computed once; loss and gradients as those of separate examples |
| unshared | examples are packed into full rows, each on its own |
| one by one | each example is a forward pass of its own: exact, but slower |
| untested | not tried here |

| family | for example | packing | why not more |
|---|---|---|---|""".splitlines()
_TAIL = """
Mixtures of experts choose experts for each token by itself, so that sharing changes nothing. What the kernels
of a GPU can do beyond this (linear attention that keeps to the boundaries of packed sequences, as that of
`causal_conv1d` and `flash-linear-attention`) the probe finds out there. Not measured on a GPU yet.
""".rstrip().splitlines()
