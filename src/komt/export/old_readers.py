"""Names that programs on transformers 4 look for, beside those that transformers 5 writes.

transformers 5 renamed keys and still reads the old ones; programs on transformers 4 know the old ones alone,
and pass over the new ones in silence: a Llama 3 whose `rope_theta` they do not find answers garbage.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from komt.files import write_json
from komt.models.check import read_json

# What transformers 5 calls a tokenizer that is no more than its tokenizer.json, and the name both know.
_ANY_TOKENIZER = {"TokenizersBackend": "PreTrainedTokenizerFast"}
# Layers that see everything keep the main name; those with a window have one of their own (Gemma 3).
_THETAS = {"full_attention": "rope_theta", "sliding_attention": "rope_local_base_freq"}


def add_old_names(folder: Path) -> None:
    """Write old names beside the new ones into a model folder's `config.json`; the values are the same."""
    path = folder / "config.json"
    config = read_json(path)
    written = _with_old_names(config)
    if written != config:
        write_json(path, written)


def _with_old_names(config: dict[str, Any]) -> dict[str, Any]:
    added: dict[str, Any] = {}
    inner = config.get("text_config")
    if config.get("dtype"):
        added["torch_dtype"] = config["dtype"]
    if "_sliding_window_pattern" in config:
        added["sliding_window_pattern"] = config["_sliding_window_pattern"]
    rope = config.get("rope_parameters") or {}
    if "rope_theta" in rope:
        added |= _old_rope(rope, "rope_theta")
    elif rope.keys() <= _THETAS.keys():
        for kind, name in _THETAS.items():
            added |= _old_rope(rope.get(kind) or {}, name)
    parts = {"text_config": _with_old_names(inner)} if isinstance(inner, dict) else {}
    return dict(sorted({**added, **config, **parts}.items()))


def _old_rope(rope: dict[str, Any], theta: str) -> dict[str, Any]:
    """One `rope_parameters` as the base frequency and, where positions are scaled, `rope_scaling`."""
    found = {theta: rope["rope_theta"]} if "rope_theta" in rope else {}
    if "partial_rotary_factor" in rope:
        found["partial_rotary_factor"] = rope["partial_rotary_factor"]
    if rope.get("rope_type", "default") != "default":
        apart = {"rope_theta", "partial_rotary_factor"}
        found["rope_scaling"] = {key: value for key, value in rope.items() if key not in apart}
    return found


def old_tokenizer_names(config: dict[str, Any]) -> dict[str, Any]:
    """A `tokenizer_config.json` by names that both know: of the class, and of a list of special tokens."""
    changed = {**config}
    if changed.get("tokenizer_class") in _ANY_TOKENIZER:
        changed["tokenizer_class"] = _ANY_TOKENIZER[changed["tokenizer_class"]]
    if isinstance(changed.get("extra_special_tokens"), list):
        changed["additional_special_tokens"] = changed.pop("extra_special_tokens")
    return changed
