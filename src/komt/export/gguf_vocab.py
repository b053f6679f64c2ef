"""Tokenizers on their way into GGUF: what llama.cpp's converter cannot see in a folder, told to it."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

_SPACE = "\u2581"
_CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+"
_REST = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_QWEN2 = rf"{_CONTRACTIONS}|\p{{N}}|{_REST}"
_LLAMA3 = rf"{_CONTRACTIONS}|\p{{N}}{{1,3}}|{_REST}"
_TEKKEN = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"
    r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
# llama.cpp's name for (regular expression, whether a whole word of the vocabulary is taken without merging).
_NAMES = {
    (_QWEN2, False): "qwen2",
    (_LLAMA3, True): "llama-bpe",
    (_LLAMA3, False): "smaug-bpe",
    (_TEKKEN, True): "tekken",
}


def read_tokenizer(folder: Path) -> dict[str, Any]:
    """The folder's `tokenizer.json`, or nothing where it has none."""
    path = folder / "tokenizer.json"
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else {}


def certain_pre_tokenizer(parts: dict[str, Any]) -> str:
    """llama.cpp's name for the way a tokenizer cuts text into words, "" where it is not surely one it knows.

    The converter knows tokenizers by the ids they give to one text, so that any new vocabulary is strange to
    it. The way of cutting does not depend on the vocabulary: it stands in `tokenizer.json`. Names and regular
    expressions: llama.cpp, src/llama-vocab.cpp.

    Args:
        parts: the content of `tokenizer.json`.
    """
    model = parts.get("model", {})
    whole_words = bool(model.get("ignore_merges"))
    steps = _flat(parts.get("pre_tokenizer"), "pretokenizers")
    if model.get("byte_fallback"):
        # Merges run over the whole text: nothing to cut at is left once the spaces are replaced.
        blank = [step for step in steps if step.get("pattern") != {"String": " "}]
        return "gemma4" if not blank and not whole_words and space_prefix(parts) is False else ""
    if not steps or steps[-1].get("type") != "ByteLevel" or steps[-1].get("add_prefix_space"):
        return ""
    if len(steps) == 1:
        return "gpt-2" if steps[0].get("use_regex", True) and not whole_words else ""
    cut = steps[0]
    plain = cut.get("type") == "Split" and cut.get("behavior") == "Isolated" and not cut.get("invert")
    if len(steps) != 2 or not plain or steps[1].get("use_regex", True):
        return ""
    return _NAMES.get((cut.get("pattern", {}).get("Regex", ""), whole_words), "")


def space_prefix(parts: dict[str, Any]) -> bool | None:
    """Whether a SentencePiece-like tokenizer puts a space before a text; None for other kinds."""
    spaces = {"type": "Replace", "pattern": {"String": " "}, "content": _SPACE}
    steps = _flat(parts.get("normalizer"), "normalizers")
    if steps == [spaces]:
        return False
    if steps == [{"type": "Prepend", "prepend": _SPACE}, spaces]:
        return True
    cuts = _flat(parts.get("pre_tokenizer"), "pretokenizers")
    if not steps and len(cuts) == 1 and cuts[0].get("type") == "Metaspace" and not cuts[0].get("split", True):
        return str(cuts[0].get("prepend_scheme", "always")) != "never"
    return None


def _flat(step: Any, key: str) -> list[dict[str, Any]]:
    if not step:
        return []
    return list(step[key]) if step.get("type") == "Sequence" else [step]


def sentencepiece_model(parts: dict[str, Any], *, exact: bool) -> bytes | None:
    """A SentencePiece model (`tokenizer.model`) of a tokenizer that was one before it was `tokenizer.json`.

    A piece's score is the negative rank of the merge that makes it. SentencePiece joins any two neighbours
    whose union is a piece, the highest score first; merges join the lowest rank first. Both are the same
    where every way to part a piece into two pieces is among its merges.

    Args:
        parts: the content of `tokenizer.json`.
        exact: give None where the two are not surely the same.

    Returns:
        The file's bytes, or None for tokenizers of another kind.
    """
    model = parts.get("model", {})
    if model.get("type") != "BPE" or not model.get("byte_fallback") or space_prefix(parts) is None:
        return None
    merges = [tuple(m.split(" ", 1)) if isinstance(m, str) else tuple(m) for m in model["merges"]]
    vocabulary: dict[str, int] = dict(model["vocab"])
    added = {token["content"]: token for token in parts.get("added_tokens", [])}
    if exact and not _merges_are_complete(vocabulary, merges, set(added)):
        return None
    ranks: dict[str, int] = {}
    for rank, (left, right) in enumerate(merges):
        ranks.setdefault(left + right, rank)
    vocabulary.update((content, token["id"]) for content, token in added.items())
    names = {place: piece for piece, place in vocabulary.items()}
    pieces = []
    for place in range(max(names) + 1):
        piece = names.get(place, f"<no piece {place}>")
        kind = _kind(piece, place in names, added.get(piece), model.get("unk_token"))
        pieces.append((piece, float(-ranks.get(piece, len(merges))), kind))
    return _model_proto(pieces, bool(space_prefix(parts)))


def _merges_are_complete(vocabulary: dict[str, int], merges: Sequence[Any], added: set[str]) -> bool:
    """Whether merges come piece by piece, and each piece with all its parts of two pieces."""
    ways: dict[str, set[tuple[str, str]]] = {}
    last = ""
    for left, right in merges:
        piece = left + right
        if piece != last and piece in ways:
            return False
        ways.setdefault(piece, set()).add((left, right))
        last = piece
    for piece in vocabulary:
        if piece in added or _is_byte(piece):
            continue
        cuts = ((piece[:i], piece[i:]) for i in range(1, len(piece)))
        if {cut for cut in cuts if cut[0] in vocabulary and cut[1] in vocabulary} != ways.get(piece, set()):
            return False
    return True


_NORMAL, _UNKNOWN, _CONTROL, _USER_DEFINED, _UNUSED, _BYTE = range(1, 7)


def _kind(piece: str, known: bool, added: dict[str, Any] | None, unknown: str | None) -> int:
    if not known:
        return _UNUSED
    if piece == unknown:
        return _UNKNOWN
    if _is_byte(piece):
        return _BYTE
    if added is not None:
        return _CONTROL if added.get("special") else _USER_DEFINED
    return _NORMAL


def _is_byte(piece: str) -> bool:
    return len(piece) == 6 and piece.startswith("<0x") and piece.endswith(">")


def _model_proto(pieces: Sequence[tuple[str, float, int]], prefix: bool) -> bytes:
    """Format: https://github.com/google/sentencepiece/blob/master/src/sentencepiece_model.proto."""

    def chunks() -> Iterator[bytes]:
        for piece, score, kind in pieces:
            text = piece.encode("utf-8")
            yield _field(1, _field(1, text) + b"\x15" + struct.pack("<f", score) + _number(3, kind))
        yield _field(2, _number(3, 2) + _number(35, 1))  # trainer: BPE, bytes for unknown characters
        yield _field(3, _field(1, b"identity") + _number(3, prefix) + _number(4, 0) + _number(5, 1))

    return b"".join(chunks())


def _field(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _number(number: int, value: int) -> bytes:
    return _varint(number << 3) + _varint(value)


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 127:
        encoded.append(value & 127 | 128)
        value >>= 7
    return bytes([*encoded, value])
