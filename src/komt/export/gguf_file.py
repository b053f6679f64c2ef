"""GGUF files as they lie on disk: tensors read piece by piece, and copies with tensors of other types.

A copy takes the metadata over byte for byte, so that a vocabulary of a quarter of a million tokens is neither
parsed into Python objects nor written in another way.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from komt.errors import ModelError
from komt.models.gguf_header import GgufHeader, read_header

_SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
_STRING, _ARRAY = 8, 9
_FILE_TYPE = b"general.file_type"
# Weights that are in memory at the same time, as fp32: 64 MiB.
_CHUNK_WEIGHTS = 1 << 24


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor of a file.

    Attributes:
        shape: the length of a row first, as GGUF has it.
        kind: llama.cpp's name of its type: F32, F16, Q4_K, …
        start: byte in the file where its data begins.
    """

    name: str
    shape: tuple[int, ...]
    kind: str
    start: int

    @property
    def rows(self) -> int:
        """Number of rows."""
        return prod(self.shape[1:])

    @property
    def row_bytes(self) -> int:
        """Bytes of one row."""
        return row_bytes(self.shape[0], self.kind)


@dataclass(frozen=True)
class GgufFile:
    """A GGUF file's parts.

    Attributes:
        header: its metadata.
        count: number of metadata pairs; pairs: the bytes of all of them.
        file_type_at: where in them the number of `general.file_type` stands, or None.
        tensors: in the file's order.
        alignment: bytes to whose multiples tensors begin.
    """

    path: Path
    header: GgufHeader
    count: int
    pairs: bytes
    file_type_at: int | None
    tensors: tuple[Tensor, ...]
    alignment: int

    def weights(self, tensor: Tensor) -> Iterator[npt.NDArray[np.float32]]:
        """A tensor's weights in fp32, a few rows at a time: (rows, row length)."""
        from gguf import GGMLQuantizationType, dequantize

        kind = GGMLQuantizationType[tensor.kind]
        for data in self.raw(tensor):
            values = data.view(np.float32) if tensor.kind == "F32" else dequantize(data, kind)
            yield np.asarray(values, dtype=np.float32).reshape(len(data), tensor.shape[0])

    def raw(self, tensor: Tensor) -> Iterator[npt.NDArray[np.uint8]]:
        """A tensor's bytes, a few rows at a time: (rows, bytes of a row)."""
        step = max(1, _CHUNK_WEIGHTS // tensor.shape[0])
        with self.path.open("rb") as file:
            file.seek(tensor.start)
            for first in range(0, tensor.rows, step):
                rows = min(step, tensor.rows - first)
                data = file.read(rows * tensor.row_bytes)
                yield np.frombuffer(data, dtype=np.uint8).reshape(rows, tensor.row_bytes)


def row_bytes(length: int, kind: str) -> int:
    """Bytes of a row of a type."""
    from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

    block, size = GGML_QUANT_SIZES[GGMLQuantizationType[kind]]
    return int(length) // int(block) * int(size)


def read_gguf(path: Path) -> GgufFile:
    """Find a file's parts; weights stay on the disk.

    Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md

    Raises:
        ModelError: no GGUF, cut off, or with a type of tensor that the package gguf does not know.
    """
    header = read_header(path)  # checks that the file is whole
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        tensors, count = struct.unpack_from("<QQ", data, 8)
        at, file_type_at = 24, None
        for _ in range(count):
            key, at = _string(data, at)
            (kind,) = struct.unpack_from("<I", data, at)
            if key == _FILE_TYPE:
                file_type_at = at + 4 - 24
            at = _after(data, at + 4, kind)
        pairs = data[24:at]
        infos = []
        for _ in range(tensors):
            info, at = _tensor_info(data, at, path)
            infos.append(info)
    alignment = int(header.values.get("general.alignment", 32)) or 32
    start = _aligned(at, alignment)
    found = tuple(Tensor(name, shape, kind, start + offset) for name, shape, kind, offset in infos)
    return GgufFile(path, header, count, pairs, file_type_at, found, alignment)


def _string(data: Any, at: int) -> tuple[bytes, int]:
    (length,) = struct.unpack_from("<Q", data, at)
    return data[at + 8 : at + 8 + length], at + 8 + length


def _after(data: Any, at: int, kind: int) -> int:
    """Where a metadata value ends."""
    if kind == _STRING:
        return int(at + 8 + struct.unpack_from("<Q", data, at)[0])
    if kind != _ARRAY:
        return at + _SIZES[kind]
    inner, length = struct.unpack_from("<IQ", data, at)
    at += 12
    if inner not in {_STRING, _ARRAY}:
        return int(at + length * _SIZES[inner])
    for _ in range(length):
        at = _after(data, at, inner)
    return at


def _tensor_info(data: Any, at: int, path: Path) -> tuple[tuple[str, tuple[int, ...], str, int], int]:
    from gguf import GGMLQuantizationType

    name, at = _string(data, at)
    (dimensions,) = struct.unpack_from("<I", data, at)
    shape = struct.unpack_from(f"<{dimensions}Q", data, at + 4)
    at += 4 + 8 * dimensions
    kind, offset = struct.unpack_from("<IQ", data, at)
    try:
        kind_name = str(GGMLQuantizationType(kind).name)
    except ValueError as error:
        raise ModelError(
            f"the tensor {name.decode()} has a type that is not known here: {kind}",
            where=str(path),
            cure="pip install --upgrade gguf",
        ) from error
    return (name.decode("utf-8"), shape, kind_name, offset), at + 12


def _aligned(at: int, alignment: int) -> int:
    return -(-at // alignment) * alignment


Encode = Callable[[npt.NDArray[np.float32], str], npt.NDArray[np.uint8]]


def write_copy(source: GgufFile, out: Path, kinds: Mapping[str, str], file_type: int, encode: Encode) -> None:
    """Write a file with the same metadata and tensors, some of them as another type.

    Args:
        source: the file to copy.
        out: the file to write; callers stage it.
        kinds: new types by tensor; tensors that are not named are copied as they are.
        file_type: number for `general.file_type`.
        encode: (rows, row length) in fp32 to bytes of a type, (rows, bytes of a row).
    """
    pairs = bytearray(source.pairs)
    if source.file_type_at is not None:
        struct.pack_into("<I", pairs, source.file_type_at, file_type)
    with out.open("wb") as file:
        file.write(b"GGUF" + struct.pack("<IQQ", 3, len(source.tensors), source.count))
        file.write(pairs)
        _write_infos(source, file, kinds)
        _pad(file, source.alignment)
        for tensor in source.tensors:
            kind = kinds.get(tensor.name, tensor.kind)
            if kind == tensor.kind:
                for data in source.raw(tensor):
                    file.write(data.data)
            else:
                for weights in source.weights(tensor):
                    file.write(np.ascontiguousarray(encode(weights, kind)).data)
            _pad(file, source.alignment)


def _write_infos(source: GgufFile, file: BinaryIO, kinds: Mapping[str, str]) -> None:
    from gguf import GGMLQuantizationType

    offset = 0
    for tensor in source.tensors:
        kind = kinds.get(tensor.name, tensor.kind)
        name = tensor.name.encode("utf-8")
        file.write(struct.pack("<Q", len(name)) + name)
        file.write(struct.pack(f"<I{len(tensor.shape)}Q", len(tensor.shape), *tensor.shape))
        file.write(struct.pack("<IQ", int(GGMLQuantizationType[kind]), offset))
        offset += _aligned(tensor.rows * row_bytes(tensor.shape[0], kind), source.alignment)


def _pad(file: BinaryIO, alignment: int) -> None:
    file.write(bytes(-file.tell() % alignment))
