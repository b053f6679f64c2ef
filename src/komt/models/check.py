"""Is a folder a model that can be loaded? Every answer but yes says which file is at fault, and why."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from komt.errors import ModelError

_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file.

    Raises:
        ModelError: not JSON (with the line), or no object.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ModelError(
            f"the file is not valid JSON: {error.msg}",
            where=f"{path}, line {error.lineno}",
            cure="fetch or write the model anew; the file may have been cut off",
        ) from error
    except UnicodeDecodeError as error:
        raise ModelError("the file is not UTF-8 text", where=str(path)) from error
    if not isinstance(value, dict):
        raise ModelError("the file holds no JSON object", where=str(path))
    return value


def check_model_folder(folder: Path) -> None:
    """Look at a base model's folder without loading it: configuration, weights whole, tokenizer there.

    Raises:
        ModelError: what is missing or broken, and where.
    """
    if not any(folder.iterdir()):
        raise ModelError("the folder is empty", where=str(folder), cure="give a folder with a model in it")
    if not (folder / "config.json").is_file():
        raise ModelError(
            "the folder holds no model: no config.json (nor adapter_config.json, nor a run's train/)",
            where=str(folder),
            cure="give the folder with config.json and *.safetensors, an adapter's folder, or runs/NAME",
        )
    read_json(folder / "config.json")
    check_weights(folder, "model")
    if not any((folder / name).is_file() for name in ("tokenizer.json", "tokenizer.model", "vocab.json")):
        raise ModelError(
            "the folder holds no tokenizer (tokenizer.json)",
            where=str(folder),
            cure="copy the tokenizer files of the model into the folder",
        )


def check_weights(folder: Path, stem: str) -> None:
    """Every safetensors file of a model (or adapter) is there and whole; pickles are refused.

    Args:
        folder: of the model or adapter.
        stem: "model" or "adapter_model".
    """
    index = folder / f"{stem}.safetensors.index.json"
    if index.is_file():
        names = sorted(set(read_json(index).get("weight_map", {}).values()))
        files = [folder / name for name in names]
    else:
        files = sorted(folder.glob(f"{stem}*.safetensors"))
    for file in files:
        check_safetensors(file)
    if files:
        return
    pickles = sorted(path.name for pattern in _PICKLES for path in folder.glob(pattern))
    pickles += sorted(path.name for path in folder.glob("*.bin.index.json"))
    if pickles:
        raise ModelError(
            f"the weights are Python pickles ({pickles[0]}), which can run any code when opened; komt reads "
            "safetensors only",
            where=str(folder),
            cure=f"if you trust the file, convert it:\n  {_convert_command(folder, stem)}",
        )
    raise ModelError(
        f"the folder holds no weights: there is no {stem}.safetensors",
        where=str(folder),
        cure="fetch the model anew (hf download …), or give the folder that holds its weights",
    )


def check_safetensors(file: Path) -> None:
    """The file's length is what its header says.

    Format: https://github.com/huggingface/safetensors#format (8 bytes length, JSON header, data).

    Raises:
        ModelError: missing, cut off, or no safetensors file.
    """
    cure = "copy or fetch the file again"
    if not file.is_file():
        raise ModelError(f"a file of the weights is missing: {file.name}", where=str(file.parent), cure=cure)
    size = file.stat().st_size
    try:
        with file.open("rb") as opened:
            length = int.from_bytes(opened.read(8), "little")
            if not 2 <= length <= 100_000_000 or length > size - 8:
                raise ValueError("its header is not there")
            header = json.loads(opened.read(length))
        ends = [int(one["data_offsets"][1]) for key, one in header.items() if key != "__metadata__"]
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise ModelError(
            f"not a whole safetensors file ({size:,} bytes): {error}", where=str(file), cure=cure
        ) from error
    whole = 8 + length + max(ends, default=0)
    if size != whole:
        raise ModelError(f"the weights are cut off: {size:,} bytes of {whole:,}", where=str(file), cure=cure)


def _convert_command(folder: Path, stem: str) -> str:
    if stem == "adapter_model":
        return (
            'python -c "import torch, safetensors.torch as s; '
            f"s.save_file(torch.load('{folder}/adapter_model.bin', weights_only=True), "
            f"'{folder}/adapter_model.safetensors')\""
        )
    return (
        'python -c "from transformers import AutoModelForCausalLM as M, AutoTokenizer as T; '
        f"f, g = '{folder}', '{folder}-safetensors'; "
        "M.from_pretrained(f, dtype='auto').save_pretrained(g); T.from_pretrained(f).save_pretrained(g)\""
    )


def licence_of(folder: Path) -> str:
    """The licence that komt.json, or the model card's header (README.md), names, or ""."""
    if (folder / "komt.json").is_file():
        return str(read_json(folder / "komt.json").get("licence", ""))
    card = folder / "README.md"
    if not card.is_file():
        return ""
    parts = card.read_text(encoding="utf-8", errors="replace").split("---", 2)
    try:
        head = yaml.safe_load(parts[1]) if len(parts) == 3 and not parts[0].strip() else {}
    except yaml.YAMLError:
        return ""
    named = head.get("license", "") if isinstance(head, dict) else ""
    return str(head.get("license_name") or named) if named == "other" else str(named or "")
