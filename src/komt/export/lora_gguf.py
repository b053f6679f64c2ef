"""LoRA adapters as GGUF files, which llama.cpp and Ollama put on a GGUF base."""

from __future__ import annotations

import contextlib
import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from komt.errors import ModelError
from komt.export.gguf_convert import converter, explain, run_converter
from komt.export.staged import staged_file
from komt.models.check import read_json

_CONFIG, _WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
_CURE = "--format gguf or merged exports adapter and base as one model"


def lora_name(name: str) -> str:
    """File name of an adapter: `sample-lora-F16.gguf`."""
    return f"{name}-lora-F16.gguf"


def convert_lora(adapter: Path, base: Path, out: Path) -> Path:
    """Convert a PEFT adapter of the kind LoRA to a GGUF file, whole or not at all.

    Args:
        adapter: its folder, with weights as safetensors.
        base: folder of the model it belongs to; its configuration is read, not its weights.
        out: the file to write.

    Raises:
        MissingExtra: the package with the converter is not installed.
        ModelError: an adapter that llama.cpp cannot apply.
    """
    script = converter("convert_lora_to_gguf.py")
    adapter, base, out = adapter.absolute(), base.absolute(), out.absolute()  # it runs elsewhere
    config = read_json(adapter / _CONFIG)
    _check_kind(adapter, config)
    with _prepared(adapter, config, out.parent) as view, staged_file(out) as staged:
        said = run_converter(
            script, [str(view), "--base", str(base), "--outfile", str(staged), "--outtype", "f16"]
        )
        if said is not None:
            raise explain(said, adapter)
    return out


def _check_kind(adapter: Path, config: dict[str, Any]) -> None:
    reason = ""
    if config.get("peft_type") != "LORA":
        reason = f"it is of the kind {config.get('peft_type')}, and llama.cpp applies LoRA only"
    elif config.get("use_dora"):
        reason = "it is a DoRA, and llama.cpp applies plain LoRA only"
    elif config.get("modules_to_save") or config.get("trainable_token_indices"):
        reason = "it holds whole layers or rows of embeddings beside LoRA"
    elif config.get("alpha_pattern") or (config.get("use_rslora") and config.get("rank_pattern")):
        reason = "its layers are scaled by different factors, and a GGUF adapter holds one"
    elif config.get("bias", "none") != "none" or config.get("lora_bias"):
        reason = "it holds biases, and llama.cpp applies matrices only"
    if reason:
        raise ModelError(f"the adapter cannot become a GGUF file: {reason}", where=str(adapter), cure=_CURE)


@contextlib.contextmanager
def _prepared(adapter: Path, config: dict[str, Any], beside: Path) -> Iterator[Path]:
    """The adapter's folder as the converter must see it: llama.cpp always scales by alpha / rank."""
    if not config.get("use_rslora"):
        yield adapter
        return
    beside.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".komt-lora-", dir=beside) as made:
        view = Path(made)
        shutil.copyfile(adapter / _WEIGHTS, view / _WEIGHTS)
        scaled = {**config, "lora_alpha": config["lora_alpha"] * config["r"] ** 0.5, "use_rslora": False}
        (view / _CONFIG).write_text(json.dumps(scaled), encoding="utf-8")
        yield view
