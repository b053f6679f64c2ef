"""A full GGUF file to a quantised one, tensor by tensor."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from komt.errors import ModelError, UsageError, need
from komt.export.gguf_file import GgufFile, read_gguf, write_copy
from komt.export.staged import staged_file
from komt.export.tensor_types import FORMS, tensor_types

QUANTS = tuple(FORMS)
PROGRAM = "llama-quantize"
_FULL = {"F32", "F16", "BF16"}
# Types that the package gguf makes; the K types come from libgguf.
_PLAIN = {"F16", "Q8_0", "Q4_0", "Q5_0", "Q5_1"}


def quantise(source: Path, out: Path, form: str) -> Path:
    """Write a quantised copy of a GGUF file, whole or not at all; a part of a tensor is in memory at a time.

    Q4_K_M is made by llama.cpp's own `llama-quantize` where that is on the PATH.

    Args:
        source: a file with weights in 16 or 32 bits.
        out: the file to write.
        form: q8_0, q4_0 or q4_k_m.

    Raises:
        UsageError: another form.
        MissingExtra: a package that makes this form is not installed.
        ModelError: the source is quantised already, or the program refuses.
    """
    form = form.lower()
    if form not in FORMS:
        raise UsageError(f"no quantised form '{form}'", cure=f"one of: {', '.join(QUANTS)}")
    program = shutil.which(PROGRAM) if form == "q4_k_m" else None
    with staged_file(out) as staged:
        if program:
            _run(program, source, staged, form)
        else:
            _write(read_gguf(source), staged, form)
    return out


def planned_types(file: GgufFile, form: str) -> dict[str, str]:
    """Type of each tensor that a form changes, as llama.cpp chooses them.

    Raises:
        ModelError: the file is quantised already, or a mixture of experts.
    """
    if narrow := next((tensor for tensor in file.tensors if tensor.kind not in _FULL), None):
        raise ModelError(
            f"the file is quantised already: {narrow.name} is {narrow.kind}",
            where=str(file.path),
            cure="quantise the file in 16 bits",
        )
    own = f"{file.header.architecture}.attention.head_count"
    heads = [file.header.values.get(key) for key in (own, f"{own}_kv")]
    return tensor_types(
        {tensor.name: tensor.shape for tensor in file.tensors},
        form,
        architecture=file.header.architecture,
        grouped=heads[1] is not None and heads[0] != heads[1],
    )


def _write(source: GgufFile, out: Path, form: str) -> None:
    types = planned_types(source, form)
    if not set(types.values()) <= _PLAIN:
        need("libgguf", "export")
    write_copy(source, out, _changed(source, types), FORMS[form][1], encode)


def _changed(source: GgufFile, types: Mapping[str, str]) -> dict[str, str]:
    """A matrix that fits no block stays in 16 bits, in whichever of them it is."""
    kinds = {tensor.name: tensor.kind for tensor in source.tensors}
    return {
        name: kind for name, kind in types.items() if not (kind == "F16" and kinds[name] in {"F16", "BF16"})
    }


def encode(weights: npt.NDArray[np.float32], kind: str) -> npt.NDArray[np.uint8]:
    """Rows of weights as a type.

    Args:
        weights: (rows, row length), fp32.
        kind: F16, Q8_0, Q4_0, Q5_0, Q5_1, Q4_K, Q5_K or Q6_K.

    Returns:
        (rows, bytes of a row).

    Raises:
        ModelError: a weight is not a number.
    """
    import gguf

    if not np.isfinite(weights).all():
        raise ModelError(
            "a weight is not a finite number, and cannot be quantised",
            cure="export again with --dtype bf16 or fp32; if that fails too, the training went astray",
        )
    kind_number = gguf.GGMLQuantizationType[kind]
    if kind in _PLAIN:
        encoded = gguf.quantize(weights, kind_number)
    else:
        encoded = need("libgguf", "export").quantize_rows(weights, int(kind_number))
    return np.ascontiguousarray(encoded).view(np.uint8).reshape(len(weights), -1)


def _run(program: str, source: Path, out: Path, form: str) -> None:
    done = subprocess.run(
        [program, str(source), str(out), form.upper()],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode or not out.is_file():
        lines = [line.strip() for line in done.stdout.splitlines() if line.strip()]
        raise ModelError(
            f"{PROGRAM} failed: {lines[-1] if lines else f'exit status {done.returncode}'}",
            where=program,
            cure="bring llama.cpp up to date, or take it off the PATH: komt then quantises by itself",
        )
