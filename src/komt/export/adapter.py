"""An adapter alone: LoRA weights, tokenizer with template, and its base by a name that others know."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

from komt.errors import UsageError
from komt.export.gates import Gate
from komt.export.identity import about, base_of
from komt.export.measure import agreement, load_exported_tokenizer, text_logits
from komt.export.merge import write_notices, write_tokenizer
from komt.export.parity import Reference, parity_gates, template_gates
from komt.files import sha256, write_json
from komt.models.adapt import make_readable
from komt.models.check import read_json
from komt.models.load import load_model, load_tokenizer
from komt.models.place import Place

_ALWAYS = (
    *("peft_type", "task_type", "base_model_name_or_path", "inference_mode", "r", "lora_alpha"),
    *("lora_dropout", "target_modules", "modules_to_save", "bias", "fan_in_fan_out", "init_lora_weights"),
)
# PEFT's names; weights above a size come in several files with an index.
_WEIGHTS = "adapter_model*.safetensors*"


def write_adapter(place: Place, folder: Path) -> None:
    """Copy an adapter to a folder; its base is named as the hub does, or by its folder's last name.

    Files are written one after another: callers stage the folder.

    Raises:
        UsageError: the model has no adapter.
    """
    if place.adapter is None:
        raise UsageError(
            f"'{place.name}' has no adapter: all its weights were trained, or none",
            cure="--format merged exports it whole",
        )
    folder.mkdir(parents=True, exist_ok=True)
    for path in sorted(place.adapter.glob(_WEIGHTS)):
        shutil.copyfile(path, folder / path.name)
    config = _as_older_ones_read_it(read_json(place.adapter / "adapter_config.json"))
    base = base_of(place)
    config["base_model_name_or_path"] = base.hub or base.name
    write_json(folder / "adapter_config.json", config)
    write_tokenizer(load_tokenizer(place), place, folder)
    write_notices(place, folder)
    write_json(folder / "komt.json", about(place))
    make_readable(folder)


def _as_older_ones_read_it(config: dict[str, Any]) -> dict[str, Any]:
    """Without the settings that PEFT has by default, but for those every reader asks for.

    A PEFT that does not know a name refuses the whole file, and each version brings new names.
    """
    if config.get("peft_type") != "LORA":
        return config
    from peft import LoraConfig

    usual = LoraConfig(task_type="CAUSAL_LM").to_dict()
    return {
        key: value
        for key, value in config.items()
        if key in _ALWAYS or (key in usual and value != usual[key] and key != "peft_version")
    }


def adapter_gates(place: Place, folder: Path, reference: Reference) -> list[Gate]:
    """The exported adapter on its base, in fp32, against the trained one; and its tokenizer.

    Raises:
        ModelError: PEFT or transformers cannot load what was written.
    """
    assert place.adapter is not None
    names = [path.name for path in sorted(place.adapter.glob(_WEIGHTS))]
    same = sum(sha256(place.adapter / name) == sha256(folder / name) for name in names)
    loaded = load_model(replace(place, adapter=folder), 32)
    found = agreement(reference.logits, text_logits(loaded, reference.ids))
    return [
        Gate("adapter: files of weights equal", same == len(names), f"{same} of {len(names)}", "all"),
        *parity_gates("adapter on the base in fp32", found),
        *template_gates(load_tokenizer(place), load_exported_tokenizer(folder)),
    ]
