"""A model's configuration, or one clear message why komt cannot train or use such a model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from komt.errors import KomtError, ModelError, one_line
from komt.models.check import read_json
from komt.models.quiet import quiet


def read_configuration(folder: Path, *, remote_code: bool = False) -> Any:
    """What transformers makes of a folder's config.json.

    Raises:
        ModelError: it cannot be read, needs Python code of its own that was not allowed, or is of a model
            that does not write from left to right (an encoder).
    """
    with quiet():
        from transformers import AutoConfig

    if not (folder / "config.json").is_file():
        raise ModelError(
            "the folder holds no config.json",
            where=str(folder),
            cure="give model.name a folder that holds the model's config.json",
        )
    _check_code(folder, remote_code)
    try:
        with quiet():
            config = AutoConfig.from_pretrained(folder, trust_remote_code=remote_code, local_files_only=True)
    except KomtError:
        raise
    except Exception as error:
        raise ModelError(
            f"the configuration cannot be read: {one_line(error)}",
            where=f"{folder}/config.json",
            cure="look whether the file is whole, and whether this version of transformers knows the model",
        ) from error
    _check_direction(config, folder)
    return config


def _check_code(folder: Path, allowed: bool) -> None:
    """A model of transformers' own, or one whose Python code may run."""
    from transformers import CONFIG_MAPPING

    values = read_json(folder / "config.json")
    own = "AutoConfig" in (values.get("auto_map") or {})
    if own and not allowed and values.get("model_type") not in CONFIG_MAPPING:
        raise ModelError(
            "the model needs Python code that comes with it, and that may run only when you allow it",
            where=str(folder),
            cure="read the code, and if you trust it: model.remote_code=true in a recipe, "
            "--trust-remote-code elsewhere",
        )


def _check_direction(config: Any, folder: Path) -> None:
    from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES

    kind = str(config.model_type)
    fills_gaps = kind in MODEL_FOR_MASKED_LM_MAPPING_NAMES and not getattr(config, "is_decoder", False)
    if fills_gaps or getattr(config, "is_encoder_decoder", False):
        what = "an encoder with a decoder" if getattr(config, "is_encoder_decoder", False) else "an encoder"
        raise ModelError(
            f"{kind} is {what}: komt trains models that write one token after another from left to right",
            where=f"{folder}/config.json",
            cure="choose a causal language model, as Llama, Qwen, Gemma or EXAONE",
        )
