"""The head of a GGUF file: what model it holds, and whether all of it is there."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

from komt.errors import ModelError

_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9
# Arrays longer than this are vocabularies, which llama.cpp reads itself.
_MOST_ITEMS = 4096


@dataclass(frozen=True)
class GgufHeader:
    """What a GGUF file says of itself.

    Attributes:
        values: metadata by key; of long arrays and arrays of strings only the length.
    """

    values: Mapping[str, Any]

    @property
    def architecture(self) -> str:
        """As llama.cpp names it: llama, gemma3, qwen3, …; "" where the file does not say."""
        return str(self.values.get("general.architecture", ""))

    @property
    def kind(self) -> str:
        """`model`, or `adapter` for a LoRA file."""
        return str(self.values.get("general.type", "model"))

    @property
    def context_tokens(self) -> int:
        """The context that the model was trained with, 0 where the file does not say."""
        return int(self._own("context_length", 0))

    @property
    def cache_bytes(self) -> int:
        """Bytes that the keys and values of one token take, in 16 bits, at most (windows may need less)."""
        layers, heads = int(self._own("block_count", 0)), _largest(self._own("attention.head_count", 1))
        width = int(self._own("embedding_length", 0)) // max(heads, 1)
        widths = [int(self._own(f"attention.{part}_length", width)) for part in ("key", "value")]
        return layers * _largest(self._own("attention.head_count_kv", heads)) * sum(widths) * 2

    def _own(self, key: str, default: Any) -> Any:
        return self.values.get(f"{self.architecture}.{key}", default)


def read_header(path: Path) -> GgufHeader:
    """Read the metadata of a GGUF file, and check that its tensors lie within the file.

    Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md

    Raises:
        ModelError: there is no such file, it is no GGUF, of an unknown version, or cut off.
    """
    if not path.is_file():
        raise ModelError("there is no such file" if not path.exists() else "not a file", where=str(path))
    with path.open("rb") as file:
        magic, version = file.read(4), file.read(4)
        if magic != b"GGUF":
            raise ModelError(
                f"not a GGUF file: it begins with {magic!r}",
                where=str(path),
                cure="fetch the file again (a web page saved in its place begins with <), "
                "or convert a model folder: komt export MODEL --format gguf --out FOLDER",
            )
        if version[:4] not in {b"\x02\0\0\0", b"\x03\0\0\0"}:
            raise ModelError(
                f"GGUF of version {int.from_bytes(version, 'little')}; komt reads 2 and 3, little-endian",
                where=str(path),
                cure="convert the model anew with a current llama.cpp",
            )
        try:
            tensors, count = struct.unpack("<QQ", _take(file, 16))
            values = dict(_pair(file) for _ in range(count))
            end = max((_tensor_end(file) for _ in range(tensors)), default=0)
        except (EOFError, struct.error, UnicodeDecodeError, KeyError, MemoryError, OverflowError) as error:
            raise _cut_off(path, "its head is not whole") from error
        aligned = int(values.get("general.alignment", 32)) or 32
        size = -(-file.tell() // aligned) * aligned + end
    if path.stat().st_size < size:
        raise _cut_off(path, f"{path.stat().st_size:,} bytes of {size:,}")
    return GgufHeader(values)


def _cut_off(path: Path, what: str) -> ModelError:
    return ModelError(
        f"the GGUF file is cut off or damaged: {what}", where=str(path), cure="copy or fetch the file again"
    )


def _take(file: BinaryIO, size: int) -> bytes:
    if size > 1 << 30:
        raise EOFError
    data = file.read(size)
    if len(data) != size:
        raise EOFError
    return data


def _text(file: BinaryIO) -> str:
    return _take(file, struct.unpack("<Q", _take(file, 8))[0]).decode("utf-8")


def _pair(file: BinaryIO) -> tuple[str, Any]:
    return _text(file), _value(file, struct.unpack("<I", _take(file, 4))[0])


def _value(file: BinaryIO, kind: int) -> Any:
    if kind == _STRING:
        return _text(file)
    if kind != _ARRAY:
        letter = _SCALARS[kind]
        return struct.unpack(f"<{letter}", _take(file, struct.calcsize(letter)))[0]
    inner, length = struct.unpack("<IQ", _take(file, 12))
    if inner in {_STRING, _ARRAY}:
        for _ in range(length):
            _value(file, inner)
        return int(length)
    data = _take(file, length * struct.calcsize(_SCALARS[inner]))
    return list(struct.unpack(f"<{length}{_SCALARS[inner]}", data)) if length <= _MOST_ITEMS else int(length)


def _tensor_end(file: BinaryIO) -> int:
    """Where a tensor ends, counted from the first one's beginning; 0 for a type that is not known here."""
    from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

    _text(file)
    (dimensions,) = struct.unpack("<I", _take(file, 4))
    shape = struct.unpack(f"<{dimensions}Q", _take(file, 8 * dimensions))
    kind, offset = struct.unpack("<IQ", _take(file, 12))
    try:
        block, size = GGML_QUANT_SIZES[GGMLQuantizationType(kind)]
    except (ValueError, KeyError):
        return int(offset)
    return int(offset) + int(prod(shape)) // int(block) * int(size)


def _largest(value: Any) -> int:
    return max(map(int, value), default=0) if isinstance(value, list) else int(value)
