"""Answering, scoring and score tables, with an engine whose answers are known."""

import io
import json
from dataclasses import replace

import pytest
from rich.console import Console

from komt.errors import DataError, UsageError
from komt.evaluate import score, scores_of, table, write_answers, write_scores
from komt.evaluate.run import with_shots
from komt.example import Example, Message
from komt.serve.engine import Completion


class Parrot:
    """Answers each prompt from a table, by the prompt's last message."""

    def __init__(self, answers: dict[str, str]) -> None:
        self.answers = answers
        self.asked: list[tuple[Message, ...]] = []

    def prompt_ids(self, messages):
        self.asked.append(tuple(messages))
        return [len(self.asked) - 1]

    def generate(self, prompts, *, max_new_tokens, batch_tokens=0, on_done=None):
        texts = [self.answers[self.asked[ids[0]][-1].content] for ids in prompts]
        return [Completion((5,), text, ended=not text.endswith("…")) for text in texts]

    def stream(self, messages, *, settings=None):
        yield self.answers[messages[-1].content]


def example_of(number: int, answer: str, task: str = "sample.qa", choices: tuple[str, ...] = ()) -> Example:
    turns = (Message("user", f"{task} {number}"), Message("assistant", answer, supervised=True))
    return Example(
        id=f"{task}:{number}",
        task=task,
        family="qa",
        kind="plain",
        source="sample",
        licence="CC0",
        origin="native",
        split="test",
        template="a",
        group="",
        messages=turns,
        references=(answer,),
        choices=choices,
        answer_index=choices.index(answer) if choices else None,
    )


EXAMPLES = [example_of(number, "서울") for number in range(20)]


def answers_right(count: int) -> Parrot:
    return Parrot({f"sample.qa {n}": " 서울\n" if n < count else "잘 모르겠…" for n in range(20)})


def test_answers_are_stripped_scored_and_counted():
    found = score(answers_right(15), EXAMPLES, name="tuned", metrics=["exact_match", "f1"])
    assert found[0].answer == "서울"
    assert [one.scores["exact_match"].value for one in found] == [1.0] * 15 + [0.0] * 5
    rows = scores_of(found)
    assert [row["metric"] for row in rows] == ["exact_match", "f1"]
    first = rows[0]
    assert {**first, "low": 0, "high": 0} == {
        "model": "tuned",
        "task": "sample.qa",
        "split": "test",
        "shots": 0,
        "metric": "exact_match",
        "value": 0.75,
        "low": 0,
        "high": 0,
        "n": 20,
        "unscored": 0,
        "ended": 15,
        "comparable": True,
        "by": "generation",
        "order": "",
        "contaminated": 0,
        "limit": None,
        "flags": [],
    }
    assert 0.5 <= first["low"] < 0.75 < first["high"] <= 0.95


def test_nothing_but_the_end_token_and_the_limit_ends_an_answer():
    engine = Parrot({"sample.qa 0": "서울\n\n### instruction: 다음 질문"})
    [one] = score(engine, EXAMPLES[:1], name="base", metrics=["exact_match"])
    assert one.answer == "서울\n\n### instruction: 다음 질문"
    assert one.scores["exact_match"].value == 0.0


def test_shots_stand_before_every_question_as_earlier_turns():
    engine = answers_right(20)
    shots = [example_of(100 + n, f"답{n}") for n in range(2)]
    found = score(engine, EXAMPLES[:3], name="base-5shot", metrics=["f1"], shots=shots)
    for number, asked in enumerate(engine.asked):
        assert [m.content for m in asked] == [
            *("sample.qa 100", "답0", "sample.qa 101", "답1"),
            f"sample.qa {number}",
        ]
        assert [m.role for m in asked] == ["user", "assistant"] * 2 + ["user"]
    assert {one.shots for one in found} == {2}
    assert scores_of(found)[0]["shots"] == 2


def test_after_shots_of_one_line_the_first_line_of_an_answer_counts():
    engine = Parrot({f"sample.qa {n}": "서울\n\n### instruction: 다음" for n in range(20)})
    base = score(engine, EXAMPLES[:1], name="base", metrics=["exact_match"])
    shown = score(engine, EXAMPLES[:1], name="base-5shot", metrics=["exact_match"], shots=EXAMPLES[1:6])
    assert [one.scores["exact_match"].value for one in (*base, *shown)] == [0.0, 1.0]
    long = [example_of(30, "서울\n부산")]
    two_lines = score(engine, EXAMPLES[:1], name="base-1shot", metrics=["exact_match"], shots=long)
    assert two_lines[0].scores["exact_match"].value == 0.0


def test_a_system_message_stays_in_front_of_the_shots():
    system = Message("system", "짧게 답하라.")
    own = (system, Message("user", "물음"), Message("assistant", "답", True))
    example = Example(**{**{k: getattr(EXAMPLES[0], k) for k in EXAMPLES[0].__slots__}, "messages": own})
    assert [m.role for m in with_shots(example, [example])] == ["system", "user", "assistant", "user"]


def test_gains_are_paired_over_the_examples_both_have_answered():
    tuned = score(answers_right(16), EXAMPLES, name="tuned", metrics=["exact_match"])
    base = score(answers_right(4), EXAMPLES, name="base", metrics=["exact_match"])
    few = score(answers_right(8), EXAMPLES[:10], name="base-5shot", metrics=["exact_match"])
    [row] = scores_of(tuned, against=[base, few])
    assert row["gain"]["base"]["value"] == pytest.approx(0.6)
    assert row["gain"]["base"]["n"] == 20
    assert 0.3 < row["gain"]["base"]["low"] < 0.6 < row["gain"]["base"]["high"] < 0.9
    # On the ten rows of base-5shot: 10 of 10 against 8 of 10.
    assert row["gain"]["base-5shot"] == {
        **row["gain"]["base-5shot"],
        "value": pytest.approx(0.2),
        "n": 10,
    }


def test_answers_that_are_no_label_are_wrong_and_counted():
    rows = [example_of(n, "긍정", "sample.sentiment", ("긍정", "부정")) for n in range(4)]
    engine = Parrot(
        dict(zip([f"sample.sentiment {n}" for n in range(4)], ["긍정", "부정", "글쎄", ""], strict=True))
    )
    found = score(engine, rows, name="tuned", metrics={"sample.sentiment": ("accuracy", "macro_f1")})
    scores = scores_of(found, comparable=False)
    assert [(row["metric"], row["value"], row["off_label"]) for row in scores] == [
        ("accuracy", 0.25, 2),
        ("macro_f1", pytest.approx(0.2), 2),
    ]
    text = printed(scores)
    assert "2 answers name none of the choices" in text
    assert "not comparable with published results" in text


def printed(rows) -> str:
    file = io.StringIO()
    table(rows, Console(file=file, width=160))
    return file.getvalue()


def test_the_table_has_a_column_per_model_and_the_gain_beneath():
    tuned = score(answers_right(16), EXAMPLES, name="tuned", metrics=["exact_match"])
    base = score(answers_right(4), EXAMPLES, name="base", metrics=["exact_match"])
    text = printed([*scores_of(base), *scores_of(tuned, against=[base])])
    head = next(line for line in text.splitlines() if "metric" in line)
    assert head.index("base") < head.index("tuned")
    values = next(line for line in text.splitlines() if "exact_match" in line)
    assert values.index("0.200") < values.index("0.800")
    assert "n = 20" in text
    assert "tuned − base = +0.600 [+" in text
    assert "(paired, n = 20)" in text


def test_unscored_answers_are_neither_right_nor_wrong():
    bare = Example(**{**{k: getattr(EXAMPLES[0], k) for k in EXAMPLES[0].__slots__}, "references": ()})
    found = score(answers_right(20), [bare, EXAMPLES[1]], name="m", metrics=["f1"])
    [row] = scores_of(found)
    assert (row["value"], row["n"], row["unscored"]) == (1.0, 1, 1)
    [none] = scores_of(found[:1])
    assert (none["value"], none["n"], none["unscored"]) == (None, 0, 1)
    assert "unscored" in printed([none])


def test_scores_and_answers_are_written_to_be_read_again(tmp_path):
    found = score(answers_right(2), EXAMPLES, name="org/tuned", metrics=["f1"])
    write_scores(tmp_path / "report" / "scores.json", scores_of(found))
    assert json.loads((tmp_path / "report" / "scores.json").read_text(encoding="utf-8")) == scores_of(found)
    path = write_answers(tmp_path, found)
    assert path.name == "answers-org-tuned.jsonl"
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert len(lines) == 20
    assert lines[1] == {
        **{"id": "sample.qa:1", "task": "sample.qa", "template": "a", "kind": "plain", "shots": 0},
        **{"prompt": "sample.qa 1", "answer": "서울", "references": ["서울"], "ended": True},
        **{"order": "", "by": "generation", "group": "sample.qa:1", "contaminated": False},
        "scores": {"f1": 1.0},
    }


def test_flags_stand_in_the_rows_and_under_the_table():
    found = score(answers_right(10), EXAMPLES, name="tuned", metrics=["exact_match"])
    known = [replace(one, contaminated=place < 5) for place, one in enumerate(found)]
    [row] = scores_of(known, comparable={"sample.qa": False}, limits={"sample.qa": 20})
    assert row["flags"] == ["resplit", "contaminated", "limited"]
    assert (row["value"], row["contaminated"], row["clean"]["n"]) == (0.5, 5, 15)
    assert row["clean"]["value"] == pytest.approx(5 / 15)
    text = printed([row])
    assert "resplit: sample.qa: redivided split, not comparable with published results" in text
    assert "contaminated: sample.qa, tuned: 5 examples stand in its training data; without them" in text
    assert "limited: 20 rows each, not all there are: sample.qa" in text


def test_orders_are_scored_apart():
    found = score(answers_right(20), EXAMPLES, name="m", metrics=["f1"])
    other = score(answers_right(0), EXAMPLES, name="m", metrics=["f1"])
    both = [
        *(replace(one, order="passage_first") for one in found),
        *(replace(one, order="instruction_first") for one in other),
    ]
    rows = scores_of(both)
    assert [(row["order"], row["value"]) for row in rows] == [
        ("passage_first", 1.0),
        ("instruction_first", 0.0),
    ]
    assert "sample.qa" in printed(rows)
    assert "(passage first)" in printed(rows)


def test_mistakes_are_found_before_anything_is_decoded():
    with pytest.raises(UsageError, match="unknown metric 'exact_mach'; did you mean"):
        score(Parrot({}), EXAMPLES, name="m", metrics=["exact_mach"])
    with pytest.raises(DataError, match="need choices"):
        score(Parrot({}), EXAMPLES, name="m", metrics=["accuracy"])
