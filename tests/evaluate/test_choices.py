"""Choices by log-likelihood."""

from dataclasses import replace

import pytest
import torch

from komt.errors import DataError, ModelError, UsageError
from komt.evaluate.choices import can_choose, choose, is_choice, log_likelihoods, shown_choices
from komt.evaluate.metrics import METRICS
from komt.example import Example, Message
from komt.pack.encode import encode_answers, prompt_ids


def example_of(question: str, choices: tuple[str, ...], right: int = 0, **more) -> Example:
    return Example(
        id=question,
        task="t",
        family="f",
        kind="plain",
        source="s",
        licence="CC0",
        origin="native",
        split="test",
        template="a",
        group="",
        messages=(Message("user", question), Message("assistant", choices[right], True)),
        references=(choices[right],),
        choices=choices,
        answer_index=right,
        **more,
    )


EXAMPLES = [
    example_of("고양이는 왜 물을 싫어하나요?", ("털이 젖으면 무거워서", "물", "몰라요")),
    example_of("고양이는 무엇을 좋아하나요?", ("물", "바다와 바람", "서울"), 2),
    example_of("서울은 수도인가요?", ("예", "아니요"), 1),
    example_of("서울은 수도인가요?", ("예", "예상", "아니요"), 1),
]


def plain(engine, ids, continuation) -> float:
    with torch.no_grad():
        logits = engine._model(torch.tensor([[*ids, *continuation]])).logits[0].log_softmax(-1)
    return sum(float(logits[len(ids) - 1 + i, token]) for i, token in enumerate(continuation))


def totals_of(engine, example, choices) -> list[float]:
    ids = prompt_ids(engine.tokenizer, example.prompt)
    return [plain(engine, ids, one) for one in encode_answers(engine.tokenizer, list(choices))]


def test_the_likeliest_choice_is_chosen(engine):
    done = []
    found = choose(engine, EXAMPLES, on_done=done.append)
    assert sorted(done) == [0, 1, 2, 3]
    for example, one in zip(EXAMPLES, found, strict=True):
        totals = totals_of(engine, example, example.choices)
        assert one.values == pytest.approx(totals, abs=1e-4)
        assert one.index == max(range(len(totals)), key=totals.__getitem__)
        assert one.text == example.choices[one.index]
        assert one.by == "loglikelihood"


def test_lengths_are_taken_out_by_token_or_byte(engine):
    raw = choose(engine, EXAMPLES)
    by_token = choose(engine, EXAMPLES, normalise="token")
    by_byte = choose(engine, EXAMPLES, normalise="byte")
    for example, one, token, byte in zip(EXAMPLES, raw, by_token, by_byte, strict=True):
        counts = [len(ids) for ids in encode_answers(engine.tokenizer, list(example.choices))]
        assert token.values == pytest.approx([v / n for v, n in zip(one.values, counts, strict=True)])
        sizes = [len(text.encode()) for text in example.choices]
        assert byte.values == pytest.approx([v / n for v, n in zip(one.values, sizes, strict=True)])


def test_the_unconditional_likelihood_is_that_after_an_empty_question(engine):
    raw, found = choose(engine, EXAMPLES), choose(engine, EXAMPLES, normalise="unconditional")
    for example, one, relative in zip(EXAMPLES, raw, found, strict=True):
        empty = replace(example, messages=(Message("user", ""), *example.messages[1:]))
        alone = totals_of(engine, empty, example.choices)
        assert relative.values == pytest.approx(
            [v - a for v, a in zip(one.values, alone, strict=True)], abs=1e-4
        )


def test_numbers_are_chosen_where_the_prompt_shows_numbers(engine):
    numbered = replace(EXAMPLES[0], metadata={"marks": ["1", "2", "3"]})
    assert shown_choices(numbered) == ("1", "2", "3")
    (found,) = choose(engine, [numbered])
    assert found.text == str(found.index + 1)
    assert found.values == pytest.approx(totals_of(engine, numbered, ("1", "2", "3")), abs=1e-4)
    scored = METRICS.get("accuracy").score(found.text, numbered)
    assert scored.chosen == numbered.choices[found.index]
    assert scored.value == float(found.index == 0)


def test_solved_examples_may_stand_before(engine):
    def with_shot(example):
        return (Message("user", "하나"), Message("assistant", "둘"), *example.prompt)

    (found,) = choose(engine, EXAMPLES[:1], prompt=with_shot)
    ids = prompt_ids(engine.tokenizer, with_shot(EXAMPLES[0]))
    wanted = [plain(engine, ids, one) for one in encode_answers(engine.tokenizer, list(EXAMPLES[0].choices))]
    assert found.values == pytest.approx(wanted, abs=1e-4)


def test_an_inverted_prompt_is_no_choice():
    asked = EXAMPLES[0]
    assert is_choice(asked)
    assert not is_choice(replace(asked, messages=(asked.messages[0], Message("assistant", "글", True))))
    assert not is_choice(replace(asked, answer_index=None))
    assert not is_choice(replace(asked, choices=asked.choices[:1]))
    marked = replace(asked, metadata={"marks": ["가", "나", "다"]})
    assert not is_choice(marked)
    assert is_choice(replace(marked, messages=(asked.messages[0], Message("assistant", "가", True))))


def test_an_engine_that_takes_one_prompt_at_a_time_gives_the_same(engine):
    class One:
        tokenizer = engine.tokenizer
        loglikelihood = staticmethod(engine.loglikelihood)

    done = []
    alone, together = choose(One(), EXAMPLES, on_done=done.append), choose(engine, EXAMPLES)
    assert done == [0, 1, 2, 3]
    for one, other in zip(alone, together, strict=True):
        assert one.index == other.index
        assert one.values == pytest.approx(other.values, abs=1e-4)


def test_refusals(engine):
    class Silent:
        tokenizer = engine.tokenizer
        loglikelihood = None

    assert not can_choose(Silent())
    with pytest.raises(ModelError, match="tells no log-likelihood"):
        choose(Silent(), EXAMPLES)
    with pytest.raises(UsageError, match="normalise"):
        choose(engine, EXAMPLES, normalise="characters")
    with pytest.raises(DataError, match="nothing to choose"):
        choose(engine, [replace(EXAMPLES[2], choices=("예", " "))])
    with pytest.raises(DataError, match="nothing to choose"):
        choose(engine, [replace(EXAMPLES[2], choices=("예",))])
    assert choose(engine, []) == []
    assert log_likelihoods(engine, []) == []


class _Broken:
    """An engine whose weights have overflowed."""

    def loglikelihood(self, ids, continuations):
        return [[float("nan")] * len(one) for one in continuations]


def test_log_likelihoods_that_are_no_numbers_choose_nothing():
    with pytest.raises(ModelError, match="no numbers"):
        log_likelihoods(_Broken(), [([1, 2], [[3], [4, 5]])])
