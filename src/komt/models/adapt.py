"""LoRA on a model, and models and adapters to folders that programs outside komt load as well."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

from komt import __version__
from komt.errors import ModelError, UsageError, did_you_mean
from komt.files import write_json
from komt.models.place import Place
from komt.models.quiet import quiet
from komt.models.template import end_token_id
from komt.recipe import LoraPart


def attach_lora(model: Any, lora: LoraPart, seed: int) -> Any:
    """Freeze a model and put fresh LoRA weights (fp32) on its linear layers; the same seed, the same weights.

    Works on bases of any width, 4 and 8 bits included. With gradient checkpointing call the result's
    `enable_input_require_grads()` as well: no base weight has a gradient.

    Raises:
        UsageError: a target that names no linear layer (the message lists those there are), or a module to
            save that is none, is quantised, or is a target as well; dropout or DoRA on experts.
    """
    import torch

    with quiet():
        from peft import LoraConfig, get_peft_model

    targets = lora.targets if isinstance(lora.targets, str) else tuple(lora.targets)
    if targets != "all-linear":
        targets = (targets,) if isinstance(targets, str) else targets
        _check_targets(model, targets)
    _check_whole(model, lora)
    config = LoraConfig(
        r=lora.r,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=targets if isinstance(targets, str) else sorted(targets),
        bias="none",
        use_rslora=lora.rslora,
        use_dora=lora.dora,
        init_lora_weights="gaussian" if lora.init == "gaussian" else True,
        modules_to_save=sorted(lora.modules_to_save) or None,
        task_type="CAUSAL_LM",
    )
    model.requires_grad_(False)
    layers = linear_layers(model)
    with quiet(), torch.random.fork_rng():
        torch.manual_seed(seed)
        try:
            adapted = get_peft_model(model, config, autocast_adapter_dtype=True)
        except ValueError as error:
            raise _explained(error, layers) from error
    _train_whole_layers_in_fp32(adapted)
    if lora.dropout and next(model.parameters()).device.type == "cpu":
        _use_cpu_dropout(adapted)
    return adapted


def _explained(error: ValueError, layers: list[str]) -> Exception:
    """All linear layers of a mixture of experts are the experts, too, on which LoRA knows fewer options."""
    if "ParamWrapper does not work" not in str(error):
        return error
    return UsageError(
        "LoRA on the experts of this model takes neither dropout nor DoRA",
        where="train.lora",
        cure="train.lora.dropout=0 (and train.lora.dora=false), or leave the experts out: "
        f"train.lora.targets=[{', '.join(layers)}]",
    )


def _train_whole_layers_in_fp32(model: Any) -> None:
    """As PEFT does with LoRA (bf16 loses small updates); in and out goes what the base computes in."""
    from peft.utils import ModulesToSaveWrapper

    wrappers = [module for module in model.modules() if isinstance(module, ModulesToSaveWrapper)]
    for layer in (layer for wrapper in wrappers for layer in wrapper.modules_to_save.values()):
        dtype = next(layer.parameters()).dtype
        layer.float()
        layer.register_forward_pre_hook(
            lambda _, given: tuple(x.float() if x.is_floating_point() else x for x in given)
        )
        layer.register_forward_hook(lambda _, given, result, dtype=dtype: result.to(dtype))


def _use_cpu_dropout(model: Any) -> None:
    """On a CPU torch's dropout draws one number at a time; this takes a seventh of a training step away."""
    from komt.models.dropout import CpuDropout

    for module in model.modules():
        for name, dropout in getattr(module, "lora_dropout", {}).items():
            module.lora_dropout[name] = CpuDropout(dropout.p)


def linear_layers(model: Any) -> list[str]:
    """Last names of the linear layers that LoRA can go on (`q_proj`, `down_proj`, …), the LM head apart."""
    import torch

    head = model.get_output_embeddings()
    return sorted(
        {
            name.rpartition(".")[2]
            for name, module in model.named_modules()
            if isinstance(module, torch.nn.Linear) and module is not head
        }
    )


def _check_targets(model: Any, targets: tuple[str, ...]) -> None:
    known = linear_layers(model)
    names = [name for name, _ in model.named_modules()]
    for target in targets:
        if not any(name == target or name.endswith(f".{target}") for name in names):
            raise UsageError(
                f"LoRA target '{target}' names no layer of the model{did_you_mean(target, known)}",
                where="train.lora.targets",
                cure=f"all-linear, or some of: {', '.join(known)}",
            )


def _check_whole(model: Any, lora: LoraPart) -> None:
    """`modules_to_save` names layers that can be trained whole, and that get no LoRA besides."""
    import torch

    adapted = linear_layers(model) if lora.targets == "all-linear" else lora.targets
    for wanted in lora.modules_to_save:
        found = [module for name, module in model.named_modules() if f".{name}".endswith(f".{wanted}")]
        reason = ""
        if not found:
            known = {name.rpartition(".")[2] for name, _ in model.named_modules()}
            reason = f"names no layer of the model{did_you_mean(wanted, known)}"
        elif any(not p.is_floating_point() for module in found for p in module.parameters()):
            reason = "is held in 4 or 8 bits, which cannot be trained"
        elif wanted.rpartition(".")[2] in adapted and isinstance(found[0], torch.nn.Linear):
            reason = "gets LoRA already (train.lora.targets)"
        if reason:
            raise UsageError(
                f"'{wanted}' {reason}",
                where="train.lora.modules_to_save",
                cure="embed_tokens or lm_head; other layers only where targets does not name them",
            )


def save_adapter(
    model: Any, tokenizer: Any, place: Place, folder: Path, weights: dict[str, Any] | None = None
) -> None:
    """Write an adapter with its tokenizer; PEFT alone loads it too. Same weights, same bytes.

    Files are written into the folder one after another: callers stage the folder.

    Args:
        model: a PeftModel.
        tokenizer: saved with its chat template.
        place: of the base that the adapter belongs to.
        folder: made when it is not there.
        weights: trained parameters by name, where the model's own are divided between processes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with quiet():
        model.save_pretrained(folder, save_embedding_layers=False, state_dict=weights)
        tokenizer.save_pretrained(folder)
    (folder / "README.md").unlink(missing_ok=True)  # PEFT's empty model card
    config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    config["base_model_name_or_path"] = str(place.folder.resolve())
    for key, value in config.items():
        if isinstance(value, list) and all(isinstance(item, str) for item in value):
            config[key] = sorted(value)  # PEFT keeps sets: their order changes from process to process
    write_json(folder / "adapter_config.json", dict(sorted(config.items())))
    write_json(folder / "komt.json", _about(place))
    make_readable(folder)


def save_full(
    model: Any, tokenizer: Any, place: Place, folder: Path, weights: dict[str, Any] | None = None
) -> None:
    """Write a whole model (not in 4 or 8 bits) as a plain model folder; callers stage the folder.

    Args:
        model: in plain form.
        tokenizer: saved with its chat template.
        place: of the base.
        folder: made when it is not there.
        weights: parameters by name, where the model's own are divided between processes.

    Raises:
        ModelError: the weights are quantised: saved so, the tuning would be rounded away.
    """
    if getattr(model, "quantization_method", None) is not None or hasattr(model, "peft_config"):
        raise ModelError(
            "only a plain model in 16 or 32 bits can be saved whole",
            cure="merge the adapter into the base in 16 or 32 bits first",
        )
    folder.mkdir(parents=True, exist_ok=True)
    model.generation_config.eos_token_id = end_token_id(tokenizer)
    with quiet():
        model.save_pretrained(folder, state_dict=weights)
        tokenizer.save_pretrained(folder)
    write_json(folder / "komt.json", _about(place))
    make_readable(folder)


def _about(place: Place) -> dict[str, str]:
    return {
        "base": place.base or str(place.folder),
        "base_revision": place.base_revision,
        "licence": place.licence,
        "komt": __version__,
    }


def make_readable(folder: Path) -> None:
    """Give files their folder's permissions (not to run): safetensors come readable to the owner only."""
    mode = stat.S_IMODE(folder.stat().st_mode) & 0o666
    for path in folder.iterdir():
        if path.is_file():
            path.chmod(mode)
