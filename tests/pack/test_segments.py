"""Encoding texts by pieces gives the ids of the whole, or is not done."""

from __future__ import annotations

import random
from dataclasses import dataclass
from itertools import permutations
from typing import Any

import pytest
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from komt.pack import words
from komt.pack.segments import encode_texts, is_cuttable
from komt.pack.words import words_of


@dataclass(eq=False)
class Holder:
    """What holds a tokenizer of `tokenizers`, as those of transformers do."""

    backend_tokenizer: Any


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


def like_gemma(added=("\n", "\n\n", "\n\n\n"), within=("\n",)):
    """BPE over the whole text, where runs of line breaks are tokens of their own.

    What it learns goes across no character `within` but at its beginning; nor do most of Gemma's own tokens.
    """
    tokenizer = trained(
        models.BPE(byte_fallback=True, unk_token="<unk>"),
        trainers.BpeTrainer(vocab_size=400, special_tokens=["<unk>"]),
        normalizer=normalizers.Replace(" ", "▁"),
        pre_tokenizer=pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(mark, "isolated" if mark == "\n" else "merged_with_next")
                for mark in within
            ]
        ),
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


def of_words():
    """As Gemma: within words, but for two tokens that go on after `>` or `음` and a space."""
    return like_gemma(added=("\n", "\n\n", ">▁</", "다음 글을"), within=("\n", "▁"))


def knowing_few_letters():
    """Unknown characters become one token for all of a run, and no byte tokens."""
    tokenizer = like_gemma()
    tokenizer.model = models.BPE(
        vocab={"<unk>": 0, "▁": 1, "다": 2, "\n": 3}, merges=[], unk_token="<unk>", fuse_unk=True
    )
    return tokenizer


def odd_texts(seed):
    """Texts with what words are not cut at, and with what a tokenizer may do more to than to mark it."""
    draw = random.Random(seed)
    some = [
        *WORDS,
        "> </a",
        ">",
        "▁",
        "▁▁다음",
        "다음 글을",
        " ",
        "  ",
        "\n",
        " \n",
        "\n\n ",
        "a b c",
        "\u0301",
        "",
    ]
    return ["".join(draw.choice(some) for _ in range(20)) for _ in range(300)]


@pytest.mark.parametrize("make", [like_gemma, like_llama_3, of_words, knowing_few_letters])
def test_pieces_together_have_the_ids_of_the_whole(make):
    backend = make()
    tokenizer = Holder(backend)
    assert is_cuttable(tokenizer)
    some = texts(400, seed=2)
    for group in (some, odd_texts(seed=3), [], ["", "\n"], ["", ""], [" ", "다음", ""], some[:1]):
        assert [ids.tolist() for ids in encode_texts(tokenizer, group)] == whole(backend, group)


def test_words_are_cut_where_no_token_goes_on():
    found = words_of(Holder(of_words()))
    assert found.crossed == {" ", "▁", ">", "음"}
    assert found.cut.split("질문: 다음 글을  a b> </a") == ["질문:", " 다음 글을", "  a", " b> </a"]


@pytest.mark.parametrize("make", [like_llama_3, like_llama_2])
def test_tokenizers_that_do_more_than_to_mark_spaces_get_lines(make):
    assert words_of(Holder(make())) is None


def test_many_words_are_encoded_in_few_texts(monkeypatch):
    backend, asked = of_words(), []
    inner = words.whole
    monkeypatch.setattr(words, "whole", lambda b, some: asked.extend(some) or inner(b, some))
    different = ["".join(letters) for letters in permutations("훈민정은세종이창제하", 2)]
    lines = [" ".join(different[start : start + 30]) for start in range(60)]
    expected = whole(backend, lines)
    assert [ids.tolist() for ids in encode_texts(Holder(backend), lines)] == expected
    # The first word of each line stands alone; the others, each once, in texts of 64.
    assert len(different) == 90
    assert len(asked) == 60 + 2


@pytest.mark.parametrize("make", [like_gpt_2, like_llama_2, across_lines, stripping, word_piece])
def test_a_tokenizer_that_looks_across_lines_gets_whole_texts(make):
    assert not is_cuttable(Holder(make()))


@pytest.mark.parametrize("options", [{"use_regex": True}, {"add_prefix_space": True}])
def test_byte_levels_that_look_at_words_get_whole_texts(options):
    assert not is_cuttable(Holder(like_llama_3(**options)))


# As GPT-4o, gpt-oss and Llama 4 have it: a slash goes on after punctuation and a line break.
SLASHES = LINES_APART.replace(r"[\r\n]*|", r"[\r\n/]*|")


def test_a_pattern_that_goes_on_in_the_next_line_is_told_by_the_tokens():
    some = [f"// 하나\n//\n// {n}\n//\n//" for n in range(3)]
    plain, across = like_llama_3(SLASHES), like_llama_3(SLASHES)
    trainer = trainers.BpeTrainer(vocab_size=500, initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    across.train_from_iterator(some * 20, trainer)
    assert "Ċ//" in "".join(across.get_vocab())
    assert (is_cuttable(Holder(plain)), is_cuttable(Holder(across))) == (True, False)
    for backend in (plain, across):
        assert [ids.tolist() for ids in encode_texts(Holder(backend), some)] == whole(backend, some)


def test_what_texts_share_is_encoded_once(monkeypatch):
    backend, asked = like_llama_3(), []
    tokenizer = Holder(backend)
    assert is_cuttable(tokenizer)
    inner = words.whole
    monkeypatch.setattr(words, "whole", lambda b, some: asked.extend(some) or inner(b, some))
    passage = "다음 글을 읽고\n훈민정음은 세종이 창제하였다.\n\n"
    encode_texts(tokenizer, [f"{passage}질문: {n}" for n in range(5)])
    assert len(asked) == 2 + 5


def test_words_met_before_are_not_encoded_again(monkeypatch):
    tokenizer, asked = Holder(of_words()), []
    encode_texts(tokenizer, ["훈민정음은 세종이 창제하였다.", "다음 글을"])
    inner = words.whole
    monkeypatch.setattr(words, "whole", lambda b, some: asked.extend(some) or inner(b, some))
    again = ["세종이 질문:", "훈민정음은 세종이 창제하였다."]
    expected = whole(tokenizer.backend_tokenizer, again)
    assert [ids.tolist() for ids in encode_texts(tokenizer, again)] == expected
    assert asked == ["세종이", " 질문:"]


def test_only_so_many_words_are_kept(monkeypatch):
    monkeypatch.setattr(words, "_REMEMBERED", 100)
    tokenizer = Holder(of_words())
    for seed in range(3):
        some = texts(200, seed)
        expected = whole(tokenizer.backend_tokenizer, some)
        assert [ids.tolist() for ids in encode_texts(tokenizer, some)] == expected
    assert len(words_of(tokenizer)._known) < len(set(" ".join(texts(200, 2)).split(" "))) + 100
