"""Texts to token ids, what they share encoded once: instructions, and passages that many questions follow."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache, partial
from itertools import chain
from typing import Any

import numpy as np

from komt.pack.words import Encoded, Ids, each, steps_of, whole, words_of

# A text is cut where a line begins with a letter: there no token of a tokenizer that `is_cuttable` goes on.
_CUT = re.compile(r"(?<=\n)(?=\S)")
_PROBES = (
    "하나\n둘\n\n셋\n\n\n 넷 \n\t다섯\r\n여섯\n",
    "a b\n1 2 3\n\n- 가\n- 나\n\n```\nx = 1\n\n  y\n```\n(끝)\n\n🙂\n漢字 \u0301\n\u0301",
    "\n\n### instruction: 글\n\n### Response:\n답",
)
# What byte levels write for each byte: itself where it is seen, else the next free code from U+0100 on.
_SEEN = (*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100))
_UNSEEN = (byte for byte in range(0x100) if byte not in _SEEN)
_BYTES = {chr(code): byte for code, byte in (*zip(_SEEN, _SEEN, strict=True), *enumerate(_UNSEEN, 0x100))}
_BREAK = "Ċ"
# A pre-tokenizer that breaks lines so (those of Llama 3, Qwen, GPT-4 and kin) joins none to the next.
_LINES_APART = r"\s*[\r\n]+"


def encode_texts(tokenizer: Any, texts: Sequence[str]) -> list[Ids]:
    """Ids of texts, no special token added: those of `backend.encode_batch_fast`.

    Where the tokenizer's tokens do not go from one line to the next, each different line of the texts is
    encoded once; where none goes from one word to the next either, each different word.

    Args:
        tokenizer: with a `backend_tokenizer`.
        texts: any number.

    Returns:
        An array for each text; they may share memory, so whoever changes one copies it.
    """
    backend = tokenizer.backend_tokenizer
    # As the tokenizer itself does at each call: a tokenizer.json may ask for either.
    backend.no_truncation()
    backend.no_padding()
    if len(texts) < 2 or not is_cuttable(tokenizer):
        return [np.asarray(ids, np.int32) for ids in whole(backend, texts)]
    encode_lines = partial(each, backend)
    if words := words_of(tokenizer):
        encode_lines = partial(_by_pieces, words.cut, words.encode)
    ids, starts, lengths = _by_pieces(_CUT, encode_lines, texts)
    return [ids[at : at + size] for at, size in zip(starts.tolist(), lengths.tolist(), strict=True)]


def _by_pieces(
    cut: re.Pattern[str], encode: Callable[[Sequence[str]], Encoded], texts: Sequence[str]
) -> Encoded:
    """Ids of texts, put together from those of their pieces, each different one encoded once."""
    pieces = [cut.split(text) for text in texts]
    places = {piece: place for place, piece in enumerate(dict.fromkeys(chain.from_iterable(pieces)))}
    which = np.fromiter(map(places.__getitem__, chain.from_iterable(pieces)), np.int64)
    ids, starts, lengths = encode(list(places))
    starts, lengths = starts[which], lengths[which]
    ends = np.cumsum(lengths)
    taken = np.repeat(starts - ends + lengths, lengths) + np.arange(int(lengths.sum()))
    ends = ends[np.cumsum([len(found) for found in pieces]) - 1]
    lengths = np.diff(ends, prepend=0)
    return ids[taken], ends - lengths, lengths


@lru_cache(maxsize=8)
def is_cuttable(tokenizer: Any) -> bool:
    """Whether encoding a text line by line gives the ids of the whole, as far as lines begin with a letter.

    Merges of BPE and the best path of Unigram are local: they cross a place only by a token that does. So it
    holds where nothing before the model looks across lines, and no token has a line break inside.
    """
    backend = tokenizer.backend_tokenizer
    if type(backend.model).__name__ not in {"BPE", "Unigram"}:
        return False
    if not _normalizer_is_local(backend) or not _added_tokens_are_local(backend):
        return False
    parts = steps_of(backend.pre_tokenizer)
    kinds = [part["type"] for part in parts]
    if kinds and kinds[-1] == "ByteLevel":
        before = [json.dumps(part.get("pattern", "")) for part in parts[:-1] if part["type"] == "Split"]
        apart = any(json.dumps(_LINES_APART)[1:-1] in pattern for pattern in before)
        if not apart or parts[-1].get("add_prefix_space") or parts[-1].get("use_regex"):
            return False
    elif any(part["type"] != "Split" or part["pattern"] != {"String": " "} for part in parts):
        return False
    if any(map(_CUT.search, _tokens_with_breaks(backend))):
        return False
    return all(
        list(chain.from_iterable(whole(backend, _CUT.split(probe)))) == whole(backend, [probe])[0]
        for probe in _PROBES
    )


def _tokens_with_breaks(backend: Any) -> Iterator[str]:
    """The tokens that hold a line break, as text; of letters cut within �."""
    for token in backend.get_vocab():
        if "\n" in token:
            yield token
        elif _BREAK in token and set(token) <= _BYTES.keys():
            yield bytes(map(_BYTES.__getitem__, token)).decode("utf-8", "replace")


def _normalizer_is_local(backend: Any) -> bool:
    """Only NFC, and replacing of one string without line breaks: neither adds nor looks across lines."""
    return all(
        part["type"] == "NFC" or (part["type"] == "Replace" and part["pattern"] == {"String": " "})
        for part in steps_of(backend.normalizer)
    )


def _added_tokens_are_local(backend: Any) -> bool:
    """No added token takes white space beside it, asks what stands beside it, or goes across lines."""
    return not any(
        token.lstrip or token.rstrip or token.single_word or _CUT.search(token.content)
        for token in backend.get_added_tokens_decoder().values()
    )
