"""Over-long examples: shortened around their evidence, dropped, or an error."""

import math
import random
from dataclasses import replace

import numpy as np
import pytest
from tokenizers import normalizers

from komt.errors import DataError
from komt.example import Evidence, Example, Message
from komt.models.template import ensure_template
from komt.pack import encode, prompt_ids
from komt.pack.fit import BatchFit, _bounds, make_fit, most_tokens_per_byte
from komt.testing import tiny_model_folder, tiny_tokenizer

WORDS = [f"낱말{i}" for i in range(120)]
PASSAGE = " ".join(WORDS)
NAMES = ("task", "family", "kind", "source", "licence", "origin", "split", "template", "group")
HEAD, TAIL = "다음 글을 읽고 물음에 답하세요.\n\n", "\n\n질문: 무엇인가요?"


@pytest.fixture(params=["bytes", "metaspace"])
def tokenizer(request):
    made = tiny_tokenizer(request.param)
    ensure_template(made)
    return made


def example_of(evidence_word="낱말60", passage=PASSAGE, supervised=True):
    content = HEAD + passage + TAIL
    start = content.index(evidence_word) if evidence_word else 0
    return Example(
        *["x"] * 9,
        group="g",
        messages=(Message("user", content), Message("assistant", evidence_word or "답", supervised)),
        evidence=Evidence(0, start, start + len(evidence_word)) if evidence_word else None,
        metadata={"passage": [0, len(HEAD), len(HEAD) + len(passage)], "other": 1},
    )


def length(tokenizer, example):
    return max(map(len, encode(tokenizer, [example])))


def passage_of(example):
    place, start, end = example.metadata["passage"]
    return example.messages[place].content[start:end]


def evidence_of(example):
    at = example.evidence
    return example.messages[at.message].content[at.start : at.end]


def test_what_fits_is_left_alone(tokenizer):
    example = example_of()
    fit = make_fit(tokenizer, length(tokenizer, example), "error")
    assert fit(example) == (example, "")


@pytest.mark.parametrize("word", ["낱말0", "낱말3 낱말4", "낱말60", "낱말118", "낱말119"])
@pytest.mark.parametrize("share", [0.9, 0.5, 0.3])
def test_shortening_keeps_the_evidence_and_obeys_the_limit(tokenizer, word, share):
    example = example_of(word)
    limit = int(length(tokenizer, example) * share)
    shorter, reason = make_fit(tokenizer, limit, "shorten")(example)
    assert reason == "shortened"
    assert limit - 40 <= length(tokenizer, shorter) <= limit  # as much as fits, within a word or two
    assert evidence_of(shorter) == word
    content, passage = shorter.messages[0].content, passage_of(shorter)
    assert content == HEAD + passage + TAIL
    assert passage in PASSAGE
    assert shorter.messages[1:] == example.messages[1:]
    assert shorter.metadata["other"] == 1


def test_a_passage_is_cut_at_spaces(tokenizer):
    limit = length(tokenizer, example_of()) // 2
    shorter, _ = make_fit(tokenizer, limit, "shorten")(example_of())
    kept = passage_of(shorter).split()
    assert set(kept) <= set(WORDS)
    assert kept == WORDS[WORDS.index(kept[0]) : WORDS.index(kept[0]) + len(kept)]


def test_both_sides_of_the_evidence_are_kept(tokenizer):
    limit = length(tokenizer, example_of()) // 2
    shorter, _ = make_fit(tokenizer, limit, "shorten")(example_of("낱말60"))
    kept = passage_of(shorter).split()
    before, after = kept.index("낱말60"), len(kept) - kept.index("낱말60") - 1
    assert before > 5
    assert abs(before - after) <= 2


def test_without_evidence_the_beginning_is_kept(tokenizer):
    example = example_of("")
    shorter, reason = make_fit(tokenizer, length(tokenizer, example) // 2, "shorten")(example)
    assert reason == "shortened"
    assert passage_of(shorter).split() == WORDS[: len(passage_of(shorter).split())]
    assert shorter.evidence is None


def test_evidence_in_another_message_is_left_where_it_is(tokenizer):
    example = replace(example_of(), evidence=Evidence(1, 0, 2))
    shorter, _ = make_fit(tokenizer, length(tokenizer, example) // 2, "shorten")(example)
    assert shorter.evidence == Evidence(1, 0, 2)
    assert passage_of(shorter).startswith("낱말0 ")


def test_what_would_leave_nothing_of_the_passage_is_dropped(tokenizer):
    bare = length(tokenizer, example_of("", passage=""))
    assert make_fit(tokenizer, bare, "shorten")(example_of("")) == (None, "over_long")


def test_evidence_that_does_not_fit_is_dropped_not_cut(tokenizer):
    example = example_of(" ".join(WORDS[10:90]))
    limit = length(tokenizer, replace(example, messages=(Message("user", HEAD + TAIL), example.messages[1])))
    assert make_fit(tokenizer, limit + 20, "shorten")(example) == (None, "over_long")


def test_without_a_passage_there_is_nothing_to_shorten(tokenizer):
    example = replace(example_of(), metadata={})
    assert make_fit(tokenizer, 100, "shorten")(example) == (None, "over_long")


def test_drop_drops(tokenizer):
    assert make_fit(tokenizer, 100, "drop")(example_of()) == (None, "over_long")


def test_error_names_task_example_and_both_lengths(tokenizer):
    example = replace(example_of(), id="the-id", task="the.task")
    with pytest.raises(DataError) as caught:
        make_fit(tokenizer, 100, "error")(example)
    assert "the.task" in str(caught.value)
    assert "the-id" in str(caught.value)
    assert f"{length(tokenizer, example)} tokens is over the limit of 100" in str(caught.value)


def test_a_reserve_is_kept_free_for_the_answer_to_come(tokenizer):
    example = example_of(supervised=False)
    example = replace(example, messages=example.messages[:1])
    whole = len(prompt_ids(tokenizer, example.messages))
    assert make_fit(tokenizer, whole + 32, "error", reserve=32)(example) == (example, "")
    shorter, reason = make_fit(tokenizer, whole + 31, "shorten", reserve=32)(example)
    assert reason == "shortened"
    assert len(prompt_ids(tokenizer, shorter.messages)) <= whole - 1


@pytest.fixture
def batch_fit(tokenizer, monkeypatch):
    """A BatchFit with the tiny tokenizer, by its limit."""
    monkeypatch.setattr("komt.pack.fit.tokenizer_named", lambda model, remote_code: tokenizer)
    _bounds.cache_clear()
    yield lambda limit: BatchFit("tiny", False, limit, "drop")
    _bounds.cache_clear()


def conversation(*texts):
    roles = ["user", "assistant"] * len(texts)
    messages = tuple(
        Message(role, text, role == "assistant") for role, text in zip(roles, texts, strict=False)
    )
    return Example(id=" ".join(texts), **dict.fromkeys(NAMES, "x"), messages=messages)


def test_what_surely_fits_is_never_too_long(tokenizer, batch_fit):
    chance = random.Random(0)
    letters = "가나뷁힣ㅋ漢字aZ0 \n\t  🙂é…“”㈜㎏ﬁ<[|>]"
    examples = [
        conversation(*("".join(chance.choices(letters, k=chance.randrange(1, 40))) for _ in range(turns)))
        for turns in [2, 2, 2, 4, 6]
        for _ in range(60)
    ]
    sizes = np.array([sum(len(m.content.encode()) for m in one.messages) for one in examples])
    messages = np.array([len(one.messages) for one in examples])
    lengths = [length(tokenizer, one) for one in examples]
    for limit in (20, 60, 100, 200, 400):
        sure = batch_fit(limit).surely(sizes, messages)
        assert all(tokens <= limit for tokens, yes in zip(lengths, sure, strict=True) if yes)
    assert sure.sum() > 250  # and it does know of most, where the limit is far away


def test_a_tokenizer_that_takes_characters_apart_is_trusted_less(tokenizer):
    assert most_tokens_per_byte(tokenizer) == 1
    tokenizer.backend_tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC()])
    assert most_tokens_per_byte(tokenizer) == 4
    assert most_tokens_per_byte(object()) == math.inf


def test_many_at_a_time_are_fitted_as_one_by_one(tokenizer, batch_fit):
    examples = [conversation("가" * number, "나") for number in range(1, 60, 7)]
    fit = make_fit(tokenizer, 40, "drop")
    assert batch_fit(40)(examples) == [fit(example) for example in examples]
    assert {reason for _, reason in batch_fit(40)(examples)} == {"", "over_long"}


def test_a_pair_fits_when_both_answers_do(tokenizer):
    asked = (Message("user", "무엇인가요?"), Message("assistant", "답입니다.", True))
    pair = Example(*["x"] * 9, group="g", messages=asked, chosen="답입니다.", rejected="낱말 " * 30)
    longest = length(tokenizer, replace(pair, messages=(asked[0], Message("assistant", pair.rejected, True))))
    assert longest > 2 * length(tokenizer, pair)
    assert make_fit(tokenizer, longest, "shorten")(pair) == (pair, "")
    assert make_fit(tokenizer, longest - 1, "shorten")(pair) == (None, "over_long")
    with pytest.raises(DataError, match=f"an example of {longest} tokens"):
        make_fit(tokenizer, longest - 1, "error")(pair)


def test_batch_fit_counts_the_rejected_answer(tmp_path):
    folder = tiny_model_folder(tmp_path / "model", "llama")
    asked = (Message("user", "무엇인가요?"), Message("assistant", "답입니다.", True))
    pair = Example("e", *["x"] * 8, group="g", messages=asked, chosen="답입니다.", rejected="낱말 " * 30)
    plain = replace(pair, id="f", chosen="", rejected="")
    fit = BatchFit(str(folder), False, 60, "drop")
    assert fit([pair, plain]) == [(None, "over_long"), (plain, "")]
