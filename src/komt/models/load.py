"""From a Place to a tokenizer and a model in memory."""

from __future__ import annotations

import logging
import os
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from komt.errors import KomtError, ModelError, need, one_line
from komt.models.adapt import attach_lora, save_adapter, save_full
from komt.models.configuration import read_configuration
from komt.models.place import Place
from komt.models.quiet import quiet
from komt.models.template import ensure_template
from komt.process import collecting_seldom

__all__ = ["attach_lora", "load_model", "load_tokenizer", "save_adapter", "save_full"]

# Tokens that some models hold for padding without naming them so; never an end token.
_PADS = ("<pad>", "[PAD]", "<|pad|>", "<|finetune_right_pad_id|>", "<|endoftext|>", "<unk>")


def load_tokenizer(place: Place) -> Any:
    """The tokenizer, with a chat template, a padding token and padding on the left.

    An adapter's own tokenizer goes first: it holds the template the adapter was trained with.

    Raises:
        ModelError: the tokenizer cannot be read, or has no end token.
    """
    from transformers import AutoTokenizer

    folder = place.folder
    own = place.adapter is not None and (place.adapter / "tokenizer_config.json").is_file()
    if own and place.adapter is not None:
        folder = place.adapter
    try:
        # A vocabulary is read into a million lists, and Python's search for cycles takes half of that time.
        with quiet(), collecting_seldom():
            tokenizer = AutoTokenizer.from_pretrained(
                folder, trust_remote_code=place.remote_code, local_files_only=True
            )
    except Exception as error:
        raise _unreadable("tokenizer", folder, error) from error
    tokenizer.chat_template = _template(tokenizer, place, own)
    ensure_template(tokenizer)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = _pad_token(tokenizer)
    tokenizer.padding_side = "left"
    return tokenizer


def _template(tokenizer: Any, place: Place, own: bool) -> str | None:
    """The chat template: an adapter's own, else what the catalogue prescribes, else the base's; or None."""
    found = tokenizer.chat_template
    if isinstance(found, dict):  # several by name, for tools or search: this one is for talks
        found = found.get("default")
    if own and not found:  # older adapters came with a tokenizer and without a template
        return str(load_tokenizer(replace(place, adapter=None)).chat_template)
    return place.template if place.template and not own else found


def _pad_token(tokenizer: Any) -> str:
    """A token of the vocabulary other than the end token; that one, if there is no other."""
    known = tokenizer.get_vocab()
    return next(
        (pad for pad in _PADS if pad in known and pad != tokenizer.eos_token), str(tokenizer.eos_token)
    )


def load_model(
    place: Place, bits: Literal[4, 8, 16, 32] = 16, *, adapter: bool = True, trainable: bool = False
) -> Any:
    """The model in eval mode, on this process's GPU if there is one; under FSDP and DeepSpeed on the CPU.

    Args:
        place: from `resolve`.
        bits: how the base's weights are held: 32 (fp32), 16 (bf16), 8 (int8) or 4 (NF4, doubly quantised);
            with 4 and 8 bits the rest of the model computes in bf16.
        adapter: put the place's adapter on the base (a PeftModel).
        trainable: whether the adapter's weights, and of a bare base all weights, get gradients.

    Raises:
        MissingExtra: 4 or 8 bits without bitsandbytes.
        ModelError: the weights cannot be loaded.
    """
    import torch

    with quiet():
        from transformers import AutoModelForCausalLM

    if bits not in {4, 8, 16, 32}:
        raise ModelError(f"weights cannot be held in {bits} bits", cure="bits is 4, 8, 16 or 32")
    options: dict[str, Any] = {"dtype": torch.float32 if bits == 32 else torch.bfloat16}
    with quiet():
        if bits in {4, 8}:
            options["quantization_config"] = _quantisation(bits)
        try:
            model, found = AutoModelForCausalLM.from_pretrained(
                place.folder,
                output_loading_info=True,
                attn_implementation=_attention(place),
                use_safetensors=True,
                trust_remote_code=place.remote_code,
                local_files_only=True,
                device_map={"": _device()},
                **options,
            )
        except KomtError:
            raise
        except Exception as error:
            raise _unreadable("model", place.folder, error) from error
        check_complete(found, place.folder)
        if bits == 4:
            keep_weights_unpacked(model)
        wants_adapter = adapter and place.adapter is not None
        model.requires_grad_(trainable and not wants_adapter and bits > 8)
        return _with_adapter(model, place, trainable) if wants_adapter else model


def check_complete(found: Any, folder: Path) -> None:
    """Do nothing where a model's files held all its weights; transformers makes up those that are missing.

    Args:
        found: what transformers tells beside a model with `output_loading_info=True`.
        folder: of the model.

    Raises:
        ModelError: some were missing.
    """
    missing = sorted(found["missing_keys"])
    if missing:
        more = f" and {len(missing) - 1:,} more" if len(missing) > 1 else ""
        raise ModelError(
            f"the files hold no weights for {missing[0]}{more}: the answers would be noise",
            where=str(folder),
            cure="fetch the model anew; its files may belong to another kind of model",
        )


def _quantisation(bits: int) -> Any:
    import torch
    from transformers import BitsAndBytesConfig

    need("bitsandbytes", "quant")
    if bits == 8:
        # It warns at every layer that inputs are rounded to float16, as its method has it.
        logging.getLogger("bitsandbytes.autograd._functions").setLevel(logging.ERROR)
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )


def keep_weights_unpacked(model: Any) -> None:
    """Stop 4-bit layers from repacking themselves on AVX-512-bf16 CPUs when evaluated.

    bitsandbytes repacks for its inference kernel in the first evaluation pass; the gradients of every later
    training step then vanish without an error.
    """
    import bitsandbytes

    for module in model.modules():
        if isinstance(module, bitsandbytes.nn.Linear4bit):
            module.support_avx512bf16_for_cpu = False


def _with_adapter(model: Any, place: Place, trainable: bool) -> Any:
    from peft import PeftModel

    try:
        tuned = PeftModel.from_pretrained(model, str(place.adapter), is_trainable=trainable)
    except Exception as error:
        raise _unreadable("adapter", place.adapter, error) from error
    return tuned.eval()


def _attention(place: Place) -> str:
    """SDPA, or the family's own form where it has none (soft caps and sinks: Gemma 2, gpt-oss)."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING

    config = read_configuration(place.folder, remote_code=place.remote_code)
    family = MODEL_FOR_CAUSAL_LM_MAPPING.get(type(config), None)  # none: the model's own Python code
    return "sdpa" if getattr(family, "_supports_sdpa", True) else "eager"


def _device() -> str:
    import torch

    if any(os.environ.get(f"ACCELERATE_USE_{way}") == "true" for way in ("FSDP", "DEEPSPEED")):
        return "cpu"  # a base that is to be divided need not fit on one GPU
    return f"cuda:{os.environ.get('LOCAL_RANK', '0')}" if torch.cuda.is_available() else "cpu"


def _unreadable(what: str, folder: Path | None, error: Exception) -> ModelError:
    return ModelError(
        f"the {what} cannot be loaded: {one_line(error)}",
        where=str(folder),
        cure="check that the files belong together and that this transformers version knows the model",
    )
