"""An adapter merged into its full-precision base, written as a plain model folder."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from komt.errors import ModelError
from komt.export.identity import NOTICES, about, notice_of
from komt.export.old_readers import add_old_names, old_tokenizer_names
from komt.files import staged_folder, write_atomic, write_json
from komt.models.adapt import make_readable
from komt.models.check import read_json
from komt.models.load import load_model, load_tokenizer
from komt.models.place import Place
from komt.models.quiet import quiet
from komt.models.template import end_token_id

Dtype = Literal["bf16", "fp16", "fp32"]
DTYPES: tuple[Dtype, ...] = ("bf16", "fp16", "fp32")
SHARD_SIZE = "4GB"
Note = Callable[[str], None]

# Ways of starting LoRA that also change the base's weights: the adapter fits that changed base alone.
_CHANGES_BASE = ("pissa", "corda", "olora", "loftq", "lora_ga")
# What a model folder tells of how it is sampled; a folder's other settings are of no meaning to others.
_SAMPLING = ("temperature", "top_p", "top_k", "min_p", "repetition_penalty")


def merge(
    place: Place,
    out: Path,
    dtype: Dtype = "bf16",
    *,
    shard_size: str = SHARD_SIZE,
    note: Note = lambda _: None,
) -> Path:
    """Leave a model in `out` that transformers loads alone; it appears whole or not at all, unmeasured.

    Args:
        place: an adapter with its base, or a model, which is then only written anew.
        out: folder that is replaced.
        dtype: how weights are stored.
        shard_size: the largest file of weights, as "4GB".
        note: told what is being done.

    Raises:
        ModelError: base or adapter cannot be merged exactly, with the reason.
    """
    note("loading the base in fp32")
    model, tokenizer = load_unmerged(place), load_tokenizer(place)
    note("merging")
    model = fold(model, place)
    with staged_folder(out) as staged:
        note(f"writing weights in {dtype}")
        save_merged(model, tokenizer, place, staged, dtype, shard_size)
    return out


def load_unmerged(place: Place) -> Any:
    """The base in fp32 with its adapter beside it, whatever width it was trained in.

    Raises:
        ModelError: the base's own weights are quantised, or the adapter is of a kind that does not merge.
    """
    check_mergeable(place)
    return load_model(place, 32)


def check_mergeable(place: Place) -> None:
    """Do nothing where base and adapter merge exactly.

    Raises:
        ModelError: they do not, and why.
    """
    _check_base(place.folder)
    if place.adapter is not None:
        _check_adapter(place.adapter)


def _check_base(folder: Path) -> None:
    stored = read_json(folder / "config.json").get("quantization_config")
    if stored:
        method = stored.get("quant_method", "unknown") if isinstance(stored, dict) else "unknown"
        raise ModelError(
            f"the model's weights are quantised ({method}); merging into them would round the tuning away",
            where=str(folder),
            cure="give the model in 16 or 32 bits (an adapter trained on 4 bits fits it: its base is named "
            "in komt.json or adapter_config.json beside the adapter)",
        )


def _check_adapter(folder: Path) -> None:
    config = read_json(folder / "adapter_config.json")
    start = str(config.get("init_lora_weights", True)).lower()
    reason = ""
    if start.startswith(_CHANGES_BASE) or config.get("loftq_config") or config.get("kasa_config"):
        kind = "KaSA" if config.get("kasa_config") else start if start != "true" else "loftq"
        reason = (
            f"its start ({kind}) also changed the base's weights, so it does not belong to the base as it is"
        )
        cure = (
            "save it with PEFT as plain LoRA: save_pretrained(…, path_initial_model_for_weight_conversion=…)"
        )
    elif config.get("alora_invocation_tokens"):
        reason, cure = (
            "it acts only after certain words (aLoRA), which merged weights cannot",
            "--format adapter",
        )
    elif config.get("layer_replication"):
        reason, cure = "it repeats layers of the base (layer_replication)", "--format adapter"
    if reason:
        raise ModelError(f"the adapter cannot be merged: {reason}", where=str(folder), cure=cure)


def fold(model: Any, place: Place) -> Any:
    """Put an adapter's change into the base's weights, in memory; a model without one comes back as it is.

    Embeddings that input and output share are parted where the adapter changes one of them, and the
    configuration then says so.

    Raises:
        ModelError: PEFT cannot merge this kind of adapter.
    """
    if not hasattr(model, "peft_config"):
        return model
    with quiet():
        try:
            _part_adapted_embeddings(model.get_base_model())
            merged = model.merge_and_unload()
        except Exception as error:
            kind = next(iter(model.peft_config.values())).peft_type
            raise ModelError(
                f"PEFT cannot merge an adapter of the kind {getattr(kind, 'value', kind)}: {error}",
                where=str(place.adapter),
                cure="--format adapter exports it unmerged",
            ) from error
    _settle_embeddings(merged)
    return merged


def _part_adapted_embeddings(base: Any) -> None:
    """Merging adds to weights in place: where both ends share one tensor, both would be changed."""
    import torch

    ends = [base.get_input_embeddings(), base.get_output_embeddings()]
    if not any(hasattr(end, "lora_A") for end in ends):
        return
    inner = [end.get_base_layer() if hasattr(end, "get_base_layer") else end for end in ends]
    if inner[0].weight is inner[1].weight:
        inner[1].weight = torch.nn.Parameter(inner[0].weight.detach().clone(), requires_grad=False)


def _settle_embeddings(model: Any) -> None:
    """The configuration says whether both ends share their weights, as they do now."""
    import torch

    source, head = model.get_input_embeddings(), model.get_output_embeddings()
    config = model.config.get_text_config()
    if head is None or not (config.tie_word_embeddings or model.config.tie_word_embeddings):
        return
    equal = torch.equal(source.weight, head.weight)
    if equal:
        head.weight = source.weight
    config.tie_word_embeddings = model.config.tie_word_embeddings = equal


def save_merged(
    model: Any, tokenizer: Any, place: Place, folder: Path, dtype: Dtype, shard_size: str = SHARD_SIZE
) -> None:
    """Write weights, configuration, tokenizer and template; the model in memory is left in `dtype`.

    Files are written one after another: callers stage the folder.

    Raises:
        ModelError: a weight is too large for fp16, or not a number.
    """
    import torch

    _check_range(model, dtype)
    model.to({"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}[dtype])
    model.generation_config = generation_config(model, tokenizer)
    folder.mkdir(parents=True, exist_ok=True)
    with quiet():
        model.save_pretrained(folder, max_shard_size=shard_size)
    add_old_names(folder)
    write_tokenizer(tokenizer, place, folder)
    write_notices(place, folder)
    write_json(folder / "komt.json", about(place))
    make_readable(folder)


def _check_range(model: Any, dtype: Dtype) -> None:
    import torch

    limit = torch.finfo(torch.float16).max if dtype == "fp16" else float("inf")
    for name, weight in model.named_parameters():
        largest = float(weight.abs().max()) if weight.numel() else 0.0
        if not largest < limit:
            what = f"{largest:.4g}, more than fp16 can hold" if dtype == "fp16" else "not a number"
            raise ModelError(f"the weight {name} is {what}", cure="--dtype bf16, or train again")


def generation_config(model: Any, tokenizer: Any) -> Any:
    """How programs end an answer by themselves: the template's end token, the model's own, and what it named.

    Sampling settings of the model's maker are kept where it samples.
    """
    from transformers import GenerationConfig

    own = model.generation_config
    named = own.eos_token_id if isinstance(own.eos_token_id, list) else [own.eos_token_id]
    ends = [end_token_id(tokenizer), tokenizer.eos_token_id, *named]
    unique = list(dict.fromkeys(int(token) for token in ends if token is not None))
    sampling = {}
    if own.do_sample:
        sampling = {key: getattr(own, key) for key in _SAMPLING if getattr(own, key, None) is not None}
        sampling["do_sample"] = True
    return GenerationConfig(
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=unique if len(unique) > 1 else unique[0],
        pad_token_id=tokenizer.pad_token_id,
        **sampling,
    )


def write_tokenizer(tokenizer: Any, place: Place, folder: Path) -> None:
    """Tokenizer with chat template, as transformers saves it, without traces of this machine."""
    with quiet():
        tokenizer.save_pretrained(folder)
    config = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    for key in ("is_local", "local_files_only", "name_or_path"):
        config.pop(key, None)
    config = old_tokenizer_names(config)
    write_atomic(
        folder / "tokenizer_config.json",
        json.dumps(config, ensure_ascii=False, indent=2, sort_keys=True) + "\n",
    )
    model_file = place.folder / "tokenizer.model"  # SentencePiece, which some programs outside ask for
    if model_file.is_file() and not (folder / model_file.name).exists():
        shutil.copyfile(model_file, folder / model_file.name)


def write_notices(place: Place, folder: Path) -> None:
    """Licence texts and notices that the base came with, and the notice that its terms ask for."""
    for path in sorted(place.folder.iterdir()):
        if path.is_file() and path.stem.upper().startswith(NOTICES):
            shutil.copyfile(path, folder / path.name)
    if (text := notice_of(place)) and not (folder / "NOTICE").exists():
        write_atomic(folder / "NOTICE", text)
