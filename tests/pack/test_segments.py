"""Encoding texts by pieces gives the ids of the whole, or is not done."""

from __future__ import annotations

import random
from types import SimpleNamespace

import pytest
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from komt.pack import segments
from komt.pack.segments import encode_texts, is_cuttable

LINES_APART = (
    r"(?i:'s|'t)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
WORDS = [
    "훈민정음은",
    "세종이",
    "1443년에",
    "창제하였다.",
    "다음 글을",
    "질문:",
    "a b",
    "\t",
    "🙂",
    "漢字",
    "ﬁ㎏",
]
BREAKS = ["\n", "\n\n", "\n\n\n", " \n", "\n ", "\r\n", "\n\t", " ", "  "]


def texts(count, seed):
    """Texts of several lines that share lines."""
    draw = random.Random(seed)
    return ["".join(draw.choice(draw.choice([WORDS, BREAKS])) for _ in range(30)) for _ in range(count)]


def trained(model, trainer, **steps):
    tokenizer = Tokenizer(model)
    for name, step in steps.items():
        setattr(tokenizer, name, step)
    tokenizer.train_from_iterator(texts(300, seed=1), trainer)
    return tokenizer


def like_gemma(added=("\n", "\n\n", "\n\n\n")):
    """BPE over the whole text, where runs of line breaks are tokens of their own."""
    tokenizer = trained(
        models.BPE(byte_fallback=True, unk_token="<unk>"),
        trainers.BpeTrainer(vocab_size=400, special_tokens=["<unk>"]),
        normalizer=normalizers.Replace(" ", "▁"),
        pre_tokenizer=pre_tokenizers.Split("\n", "isolated"),
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    tokenizer.add_tokens([AddedToken(text, normalized=False) for text in added])
    return tokenizer


def like_llama_3(pattern=LINES_APART, **options):
    return trained(
        models.BPE(),
        trainers.BpeTrainer(vocab_size=500, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()),
        normalizer=normalizers.NFC(),
        pre_tokenizer=pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(Regex(pattern), "isolated"),
                pre_tokenizers.ByteLevel(**{"add_prefix_space": False, "use_regex": False, **options}),
            ]
        ),
        decoder=decoders.ByteLevel(),
    )


def like_gpt_2():
    return trained(
        models.BPE(),
        trainers.BpeTrainer(vocab_size=500, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()),
        pre_tokenizer=pre_tokenizers.ByteLevel(add_prefix_space=False),
    )


def like_llama_2():
    tokenizer = like_gemma()
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    return tokenizer


def across_lines():
    """A vocabulary with a token that goes on in the next line."""
    tokenizer = like_gemma()
    tokenizer.add_tokens([AddedToken("글\n다음", normalized=False)])
    return tokenizer


def stripping():
    tokenizer = like_gemma()
    tokenizer.add_tokens([AddedToken("<mask>", lstrip=True, normalized=False)])
    return tokenizer


def word_piece():
    return trained(
        models.WordPiece(unk_token="<unk>"),
        trainers.WordPieceTrainer(vocab_size=300, special_tokens=["<unk>"]),
        pre_tokenizer=pre_tokenizers.Whitespace(),
    )


def whole(backend, some):
    return [encoding.ids for encoding in backend.encode_batch(some, add_special_tokens=False)]


@pytest.mark.parametrize("make", [like_gemma, like_llama_3])
def test_pieces_together_have_the_ids_of_the_whole(make, monkeypatch):
    backend = make()
    tokenizer = SimpleNamespace(backend_tokenizer=backend)
    cuttable = is_cuttable.__wrapped__(tokenizer)
    assert cuttable
    monkeypatch.setattr(segments, "is_cuttable", lambda _: True)
    some = texts(400, seed=2)
    for group in (some, [], ["", "\n"], some[:1]):
        assert [ids.tolist() for ids in encode_texts(tokenizer, group)] == whole(backend, group)


@pytest.mark.parametrize("make", [like_gpt_2, like_llama_2, across_lines, stripping, word_piece])
def test_a_tokenizer_that_looks_across_lines_gets_whole_texts(make):
    assert not is_cuttable.__wrapped__(SimpleNamespace(backend_tokenizer=make()))


@pytest.mark.parametrize("options", [{"use_regex": True}, {"add_prefix_space": True}])
def test_byte_levels_that_look_at_words_get_whole_texts(options):
    assert not is_cuttable.__wrapped__(SimpleNamespace(backend_tokenizer=like_llama_3(**options)))


def test_what_texts_share_is_encoded_once(monkeypatch):
    backend, asked = like_gemma(), []
    inner = segments._whole
    monkeypatch.setattr(segments, "is_cuttable", lambda _: True)
    monkeypatch.setattr(segments, "_whole", lambda b, some: asked.extend(some) or inner(b, some))
    passage = "다음 글을 읽고\n훈민정음은 세종이 창제하였다.\n\n"
    encode_texts(SimpleNamespace(backend_tokenizer=backend), [f"{passage}질문: {n}" for n in range(5)])
    assert len(asked) == 2 + 5
