"""Everything asked of one model: lengths by what right answers need, choices by likelihood where told."""

import pytest

from komt.errors import UsageError
from komt.evaluate.answering import Way, answer_all, limit_tokens
from komt.evaluate.asked import Asking
from komt.evaluate.record import Record
from komt.evaluate.recorded import RecordedEngine
from komt.models.load import load_model, load_tokenizer
from komt.models.resolve import resolve
from komt.serve.engine import Completion
from komt.serve.remote_engine import RemoteEngine
from komt.serve.transformers_engine import TransformersEngine
from komt.tasks import load_task
from komt.testing import tiny_model_folder


class Letters:
    """Tells no likelihood; a token a letter; remembers with which limits it was asked."""

    loglikelihood = None

    def __init__(self):
        self.limits = []

    def prompt_ids(self, messages):
        return [ord(letter) for message in messages for letter in message.content]

    def generate(self, prompts, *, max_new_tokens, batch_tokens=0, on_done=None):
        self.limits += [max_new_tokens] * len(prompts)
        return [Completion((1,), "긍정", True) for _ in prompts]


@pytest.fixture
def record(tmp_path):
    return Record(tmp_path / "answers.sqlite")


def asked(*names, limit=4):
    return [one for name in names for one in Asking(limit=limit).ask(load_task(name))]


def test_answers_may_be_as_long_as_the_tasks_right_answers_and_a_little_longer(record):
    inner = Letters()
    engine = RecordedEngine(lambda: inner, record, "m")
    sentiment, summary = asked("sample.sentiment", "sample.summary")
    assert limit_tokens(engine, sentiment) == 8  # 긍정: 2 letters, and 4 more
    longest = max(len(one.references[0]) for one in summary.examples)
    assert limit_tokens(engine, summary) >= 1.25 * longest
    answer_all(engine, [sentiment, summary], name="m")
    assert inner.limits == [limit_tokens(engine, summary)] * 4 + [8] * 4
    answer_all(engine, [summary], name="m", way=Way(max_new_tokens=3))
    assert inner.limits[8:] == []  # it ended after one token: the limit changes nothing


def test_where_no_likelihood_is_told_choices_are_written(record):
    engine = RecordedEngine(Letters, record, "m")
    [answers] = answer_all(engine, asked("sample.sentiment"), name="m")
    assert {one.by for one in answers} == {"generation"}
    with pytest.raises(UsageError, match="tells no log-likelihood"):
        answer_all(engine, asked("sample.sentiment"), name="m", way=Way(choices="loglikelihood"))


def test_choices_by_likelihood_are_those_of_one_question_at_a_time_and_are_recorded(tmp_path, record):
    place = resolve(str(tiny_model_folder(tmp_path / "model", "gemma3")))
    real = TransformersEngine(load_model(place, 32), load_tokenizer(place))
    questions = asked("sample.sentiment", "sample.topic")
    told = []
    engine = RecordedEngine(lambda: real, record, "m")
    together = answer_all(engine, questions, name="m", on_done=told.append)
    assert sorted(told) == [0] * 4 + [1] * 4
    assert {one.by for answers in together for one in answers} == {"loglikelihood"}
    assert engine.asked == 8
    again = RecordedEngine(lambda: pytest.fail("loaded"), record, "m")
    assert [[one.answer for one in answers] for answers in answer_all(again, questions, name="m")] == [
        [one.answer for one in answers] for answers in together
    ]
    for one, answers in zip(questions, together, strict=True):
        for place_, example in enumerate(one.examples):
            alone = RecordedEngine(lambda: real, record, f"alone {example.id}")
            single = type(one)(
                **{name: getattr(one, name) for name in one.__slots__} | {"examples": [example]}
            )
            assert answer_all(alone, [single], name="m")[0][0].answer == answers[place_].answer
    real.close()


def test_an_address_is_asked_with_messages(record):
    class Address(RemoteEngine):
        def __init__(self):
            self.talks = []

        def answer(self, conversations, *, max_new_tokens, on_done=None):
            self.talks += conversations
            return [Completion((), "긍정", True) for _ in conversations]

    inner = Address()
    engine = RecordedEngine(lambda: inner, record, "m")
    [answers] = answer_all(engine, asked("sample.sentiment"), name="m")
    assert len(inner.talks) == 4
    assert inner.talks[0][0].role == "user"
    assert {one.answer for one in answers} == {"긍정"}
