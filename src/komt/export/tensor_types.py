"""Which type llama.cpp gives to each tensor of a quantised file.

Rules read off llama.cpp (src/llama-quant.cpp, `llama_tensor_get_type_impl` and `tensor_type_fallback`; MIT),
for dense models and the forms that komt makes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from komt.errors import ModelError

# What tensors of a form hold unless a rule says otherwise, and the form's number in `general.file_type`.
FORMS: Mapping[str, tuple[str, int]] = {"q8_0": ("Q8_0", 7), "q4_0": ("Q4_0", 2), "q4_k_m": ("Q4_K", 15)}
# Weights in a block: a row must hold whole blocks.
_BLOCKS = {"Q8_0": 32, "Q4_0": 32, "Q5_0": 32, "Q5_1": 32, "Q4_K": 256, "Q5_K": 256, "Q6_K": 256}
_INSTEAD = {"Q4_K": "Q5_0", "Q5_K": "Q5_1", "Q6_K": "Q8_0"}
_LAYER = re.compile(r"blk\.(\d+)\.")
_VALUES = ("attn_v.weight", "attn_qkv.weight", "attn_kv_b.weight")


def tensor_types(
    shapes: Mapping[str, Sequence[int]], form: str, *, architecture: str = "", grouped: bool = False
) -> dict[str, str]:
    """Type of each tensor that is quantised; the others keep theirs.

    Args:
        shapes: of all tensors by name, the length of a row first, as GGUF has it.
        form: q8_0, q4_0 or q4_k_m.
        architecture: as the file names it.
        grouped: whether keys and values have fewer heads than queries.

    Raises:
        ModelError: a mixture of experts, for which other rules hold.
    """
    experts = [name for name, shape in shapes.items() if "_exps" in name or len(shape) > 2]
    if experts:
        raise ModelError(
            f"a mixture of experts ({experts[0]}) is not quantised by komt",
            cure="--quant f16, or put llama.cpp's own llama-quantize on the PATH",
        )
    plain, _ = FORMS[form]
    layers = 1 + max((int(found[1]) for found in map(_LAYER.match, shapes) if found), default=-1)
    values = sorted((name for name in shapes if name.endswith(_VALUES)), key=_layer_of)
    tied = "output.weight" not in shapes
    large = architecture == "llama" and layers == 80 and grouped  # Llama 2 70B and its like
    types = {}
    for name, shape in shapes.items():
        if not _is_quantised(name, shape):
            continue
        kind = plain
        if name == "output.weight" or (tied and name == "token_embd.weight"):
            kind = _output_type(plain, shape[0])
        elif form == "q4_k_m" and name in values:
            more = _gets_more_bits(values.index(name), len(values))
            kind = "Q6_K" if more else "Q5_K" if large else kind
        elif form == "q4_k_m" and "ffn_down" in name and _gets_more_bits(_layer_of(name), layers):
            kind = "Q6_K"
        types[name] = _fitting(kind, shape[0])
    return types


def _is_quantised(name: str, shape: Sequence[int]) -> bool:
    """Matrices, except norms, which are small and matter much."""
    return (
        sum(length > 1 for length in shape[1:]) > 0 and name.endswith("weight") and "_norm.weight" not in name
    )


def _output_type(plain: str, row: int) -> str:
    """The LM head, and embeddings that serve as such, matter more than other matrices."""
    if plain == "Q8_0" or row % _BLOCKS[plain]:
        return "Q8_0"
    return "Q6_K"


def _gets_more_bits(place: int, count: int) -> bool:
    """The first and last eighth of the layers, and every third one between."""
    return place < count // 8 or place >= 7 * count // 8 or (place - count // 8) % 3 == 2


def _layer_of(name: str) -> int:
    found = _LAYER.match(name)
    return int(found[1]) if found else 0


def _fitting(kind: str, row: int) -> str:
    """The type itself, or the next larger one whose blocks fill a row."""
    if row % _BLOCKS[kind]:
        kind = _INSTEAD.get(kind, kind)
    return kind if row % _BLOCKS[kind] == 0 else "F16"
