"""Tokenizers for llama.cpp."""

import json

import pytest
import sentencepiece

from komt.export.gguf_vocab import _LLAMA3, certain_pre_tokenizer, sentencepiece_model, space_prefix
from komt.testing import tiny_tokenizer


def parts_of(kind):
    return json.loads(tiny_tokenizer(kind).backend_tokenizer.to_str())


def cut_at(regex, **level):
    split = {"type": "Split", "pattern": {"Regex": regex}, "behavior": "Isolated", "invert": False}
    bytes_only = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False, **level}
    return {"type": "Sequence", "pretokenizers": [split, bytes_only]}


def test_the_way_of_cutting_is_named_only_where_it_is_certain():
    parts = parts_of("bytes")
    assert certain_pre_tokenizer(parts) == "gpt-2"
    parts["pre_tokenizer"] = cut_at(_LLAMA3)
    assert certain_pre_tokenizer(parts) == "smaug-bpe"
    parts["model"]["ignore_merges"] = True
    assert certain_pre_tokenizer(parts) == "llama-bpe"
    parts["pre_tokenizer"] = cut_at(_LLAMA3, add_prefix_space=True)
    assert certain_pre_tokenizer(parts) == ""
    parts["pre_tokenizer"] = cut_at(_LLAMA3 + "|x")
    assert certain_pre_tokenizer(parts) == ""
    parts["pre_tokenizer"] = None
    assert certain_pre_tokenizer(parts) == ""


def test_merges_over_the_whole_text_are_gemmas_way_unless_a_space_is_put_before():
    parts = parts_of("metaspace")
    assert space_prefix(parts) is True
    assert certain_pre_tokenizer(parts) == ""
    parts["normalizer"] = parts["normalizer"]["normalizers"][1]
    assert space_prefix(parts) is False
    assert certain_pre_tokenizer(parts) == "gemma4"


def test_a_sentencepiece_model_is_read_by_sentencepiece_with_the_same_pieces():
    tokenizer = tiny_tokenizer("metaspace")
    data = sentencepiece_model(parts_of("metaspace"), exact=False)
    pieces = sentencepiece.SentencePieceProcessor()
    pieces.LoadFromSerializedProto(data)
    assert pieces.GetPieceSize() == len(tokenizer)
    names = tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))
    assert [pieces.IdToPiece(i) for i in range(len(tokenizer))] == names
    assert [i for i in range(len(tokenizer)) if pieces.IsControl(i)] == [0, 1, 2]
    assert pieces.unk_id() == 3
    assert sum(map(pieces.IsByte, range(len(tokenizer)))) == 256
    text = "세종은 1443년에 훈민정음을 만들었다."
    assert pieces.EncodeAsIds(text) == tokenizer(text, add_special_tokens=False)["input_ids"]


def test_merges_that_leave_ways_out_are_not_surely_sentencepieces():
    parts = parts_of("metaspace")
    assert sentencepiece_model(parts, exact=True) is not None
    parts["model"]["merges"].pop(100)
    assert sentencepiece_model(parts, exact=True) is None
    assert sentencepiece_model(parts, exact=False) is not None


def test_byte_level_tokenizers_are_no_sentencepiece_models():
    assert sentencepiece_model(parts_of("bytes"), exact=False) is None


@pytest.mark.parametrize(("scheme", "prefix"), [("never", False), ("always", True), ("first", True)])
def test_the_space_before_a_text_as_newer_tokenizers_write_it(scheme, prefix):
    parts = parts_of("metaspace")
    parts["normalizer"] = None
    parts["pre_tokenizer"] = {
        "type": "Metaspace",
        "replacement": "▁",
        "prepend_scheme": scheme,
        "split": False,
    }
    assert space_prefix(parts) is prefix
