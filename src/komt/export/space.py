"""Is there room for an export? Told before anything is loaded, not after minutes of work."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from math import prod
from pathlib import Path

from komt.errors import KomtError

# Bytes of a weight, blocks' own numbers included; what some tensors take more is in the reserve.
_WEIGHT_BYTES = {"bf16": 2.0, "fp16": 2.0, "fp32": 4.0, "f16": 2.0, "q8_0": 1.07, "q4_0": 0.7, "q4_k_m": 0.75}
# Card and settings, for each format, beside the tokenizer.
_RESERVE_BYTES = 1 << 20


def weights_in(folder: Path) -> int:
    """How many weights the safetensors of a folder hold, by their headers.

    Format: https://github.com/huggingface/safetensors#format (8 bytes length, JSON header, data).
    """
    count = 0
    for path in folder.glob("*.safetensors"):
        with path.open("rb") as file:
            header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        count += sum(prod(about["shape"]) for name, about in header.items() if name != "__metadata__")
    return count


def space_needed(
    base: Path, adapter: Path | None, forms: Sequence[str], quants: Sequence[str], dtype: str | None
) -> int:
    """The most bytes that an export has on the disk at any time, a little rounded up.

    Args:
        base: the model's folder.
        adapter: the adapter's, or None.
        forms: some of merged, adapter, gguf.
        quants: of GGUF.
        dtype: of merged weights; None: bf16, or fp32 if need be.
    """
    weights, kept, most = weights_in(base), 0.0, 0.0
    tokenizer = sum(path.stat().st_size for path in base.glob("tokenizer*"))
    for form in forms:
        kept += _RESERVE_BYTES + tokenizer
        during = 0.0
        if form == "merged":
            kept += weights * _WEIGHT_BYTES[dtype or "fp32"]
        elif form == "adapter":
            kept += sum(path.stat().st_size for path in (adapter or base).glob("adapter_model*"))
        else:
            files = weights * sum(_WEIGHT_BYTES[quant] for quant in quants)
            # While it lasts: the merged model in fp32, and the full file that the others are made from.
            during = weights * (_WEIGHT_BYTES["fp32"] + (0 if "f16" in quants else _WEIGHT_BYTES["f16"]))
            kept += files
        most = max(most, kept + during)
    return int(most)


def check_space(needed: int, out: Path) -> None:
    """Do nothing where the disk of a folder, which need not be there yet, has so many bytes free.

    Raises:
        KomtError: it has not.
    """
    there = out.absolute()
    while not there.exists():
        there = there.parent
    free = shutil.disk_usage(there).free
    if free < needed:
        raise KomtError(
            f"the export needs up to {needed / 1e9:,.1f} GB, and {free / 1e9:,.1f} GB are free",
            where=str(there),
            cure="free some space, or point --out to another disk; fewer --quant or --format need less",
        )
