"""The quick checks on encoded data: each mistake is found, told once, and stops training where it must."""

import json
from dataclasses import replace

import numpy as np
import pytest

from komt.errors import DataError, ModelError
from komt.example import Example, Message
from komt.mix import Manifest, TaskCounts
from komt.models.template import ensure_template
from komt.pack.encode import encode, prompt_ids
from komt.testing import tiny_tokenizer
from komt.train.finding import stop_if_spoiled
from komt.train.preflight import preflight, supervised_only

HEAD = ("family", "plain", "source", "CC0", "native", "train", "t", "")


@pytest.fixture(scope="module")
def tokenizer():
    made = tiny_tokenizer()
    ensure_template(made)
    return made


def row(number, asked="한국의 수도는?", answer="서울", *, task="toy", supervised=True):
    messages = (Message("user", asked), Message("assistant", answer, supervised))
    return Example(f"{task}.{number}", task, *HEAD, messages)


def looked_at(tokenizer, rows, sequences=None, **more):
    return preflight(tokenizer, rows, sequences or encode(tokenizer, rows), **more)


def told(facts):
    return [(finding.level, finding.what) for finding in facts.findings]


def changed(sequence, *, ids=None, weights=None):
    return replace(
        sequence,
        ids=np.asarray(sequence.ids if ids is None else ids, np.int32),
        weights=np.asarray(sequence.weights if weights is None else weights, np.float32),
    )


def test_sound_rows_are_counted_by_task(tokenizer):
    rows = [row(0), row(1, "부산은?", "항구"), row(0, task="other")]
    manifest = Manifest(
        examples=3,
        tasks={
            "toy": TaskCounts(
                source="s", licence="l", origin="native", shortened=4, rejected={"fit": {"over_long": 2}}
            )
        },
        seed=0,
        resplit=[],
        comparable=True,
        licences=[],
        inputs={},
        version=1,
    )
    facts = looked_at(tokenizer, rows, manifest=manifest)
    sequences = encode(tokenizer, rows)
    other, toy = facts.tasks
    assert facts.findings == ()
    assert (other.task, other.examples, toy.task, toy.examples) == ("other", 1, "toy", 2)
    assert toy.tokens == len(sequences[0]) + len(sequences[1])
    assert toy.supervised == sum(int(one.weights.sum()) for one in sequences[:2])
    assert (toy.shortened, toy.over_long, toy.unsupervised, other.shortened) == (4, 2, 0, 0)
    assert (facts.bos, facts.end, facts.compared) == ("<bos>", "<eos>", 3)
    assert str(facts).startswith("checked: 3 rows, ")


def test_a_row_without_a_token_to_train_on_is_an_error_unless_allowed(tokenizer):
    rows = [row(0), row(1, supervised=False)]
    facts = looked_at(tokenizer, rows)
    assert told(facts) == [("error", "1 row has no token to train on")]
    with pytest.raises(DataError, match=r"(?s)no token to train on.*example toy\.1.*unsupervised=skip"):
        stop_if_spoiled(facts.findings)
    allowed = looked_at(tokenizer, rows, allow_unsupervised=True)
    assert told(allowed) == [
        ("warning", "1 row has no token to train on; left out, as train.unsupervised says")
    ]
    stop_if_spoiled(allowed.findings)


def test_a_sequence_whose_only_weight_is_on_its_first_token_trains_nothing(tokenizer):
    rows = [row(0), row(1)]
    good, bad = encode(tokenizer, rows)
    nothing = np.zeros(len(bad), np.float32)
    nothing[0] = 1.0
    sequences = [good, changed(bad, weights=nothing)]
    assert looked_at(tokenizer, rows, sequences).tasks[0].unsupervised == 1
    assert supervised_only(sequences) == [good]


def test_an_end_token_that_is_not_trained_on_is_an_error(tokenizer):
    (sequence,) = encode(tokenizer, [row(0)])
    weights = sequence.weights.copy()
    weights[-1] = 0.0
    facts = looked_at(tokenizer, [row(0)], [changed(sequence, weights=weights)], serve=lambda messages: [2])
    assert ("error", "1 row does not train the end token <eos>: the model would not learn to stop") in told(
        facts
    )
    cut = changed(sequence, ids=sequence.ids[:-1], weights=sequence.weights[:-1])
    with pytest.raises(ModelError, match="would not learn to stop"):
        stop_if_spoiled(looked_at(tokenizer, [row(0)], [cut]).findings)


def test_bos_must_stand_once_at_the_beginning(tokenizer):
    rows = [row(0), row(1), row(2)]
    first, second, third = encode(tokenizer, rows)
    doubled = changed(second, ids=[2, *second.ids], weights=[0, *second.weights])
    lost = changed(third, ids=third.ids[1:], weights=third.weights[1:])
    facts = looked_at(tokenizer, rows, [first, doubled, lost])
    assert ("error", "1 row begins with <bos> twice") in told(facts)
    assert ("error", "1 row does not begin with <bos>, others do") in told(facts)
    with pytest.raises(ModelError, match=r"(?s)the training would be spoiled:\n  - .*\n  - "):
        stop_if_spoiled(facts.findings)


def test_special_tokens_spelled_out_in_the_text_are_told(tokenizer):
    rows = [row(0, "기호 <bos> 의 뜻은?"), row(1, answer="앞 <eos> 뒤")]
    assert told(looked_at(tokenizer, rows)) == [
        ("warning", "1 row holds <bos> in the midst of its text: a special token is spelled out"),
        ("warning", "1 row goes on after <eos> in what is trained on: a special token is spelled out"),
    ]


def test_an_empty_answer_is_told(tokenizer):
    facts = looked_at(tokenizer, [row(0), row(1, answer="")])
    assert told(facts) == [("warning", "1 row has an empty answer: only the end token is trained on")]


def test_a_prompt_that_serving_encodes_otherwise_is_an_error(tokenizer):
    rows = [row(0), row(1, "부산은?")]

    def served(messages):
        ids = prompt_ids(tokenizer, messages)
        return ids if "한국" in messages[0].content else [*ids, 5]

    facts = looked_at(tokenizer, rows, serve=served)
    assert told(facts) == [("error", "1 of 2 prompts have other token ids when served than in training")]
    assert "toy.1" in facts.findings[0].where


def test_stop_token_and_vocabulary_of_the_base_are_compared(tokenizer, tmp_path):
    (tmp_path / "config.json").write_text('{"vocab_size": 600, "eos_token_id": 1}', encoding="utf-8")
    assert told(looked_at(tokenizer, [row(0)], folder=tmp_path)) == []
    (tmp_path / "generation_config.json").write_text('{"eos_token_id": [0]}', encoding="utf-8")
    (tmp_path / "config.json").write_text('{"text_config": {"vocab_size": 50}}', encoding="utf-8")
    facts = looked_at(tokenizer, [row(0)], folder=tmp_path)
    (error, beyond), (warning, stops) = told(facts)
    assert (error, warning) == ("error", "warning")
    assert beyond.startswith("1 row has tokens beyond the model's vocabulary of 50")
    assert "the base's generation config stops at <pad>" in stops


def test_a_model_without_bos_needs_none(tokenizer):
    rows = [row(0)]
    (sequence,) = encode(tokenizer, rows)
    bare = changed(sequence, ids=sequence.ids[1:], weights=sequence.weights[1:])
    ids = bare.ids.tolist()
    facts = looked_at(tokenizer, rows, [bare], serve=lambda messages: ids[: int((bare.weights == 0).sum())])
    assert (facts.bos, facts.findings) == ("", ())


@pytest.mark.parametrize(("kind", "level"), [("llama", "warning"), ("gpt2", "error")])
def test_rows_beyond_the_models_positions_are_told(tokenizer, tmp_path, kind, level):
    sequences = encode(tokenizer, [row(0), row(1, "긴 질문 " * 9)])
    short, long = map(len, sequences)
    config = {"model_type": kind, "max_position_embeddings": long, "eos_token_id": 1, "vocab_size": 600}
    found = []
    for most in (long, long - 1):
        (tmp_path / "config.json").write_text(json.dumps({**config, "max_position_embeddings": most}))
        facts = looked_at(tokenizer, [row(0), row(1, "긴 질문 " * 9)], sequences, folder=tmp_path)
        found.append([(one.level, one.where) for one in facts.findings if "longer" in one.what])
    assert short < long
    assert found == [[], [(level, "task toy, example toy.1, the first")]]
