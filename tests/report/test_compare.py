"""B against A: paired on the same examples, significant or not, with the answers that changed."""

import json

import pytest
from report_folders import answer, score_row, write_evaluation, write_judged

from komt.cli import main
from komt.errors import DataError, UsageError
from komt.evaluate.table import gain_text
from komt.judge.statistics import paired_difference
from komt.report import compare, read_report
from komt.report.compare import verdict_of


def test_better_where_the_paired_interval_leaves_out_zero(tmp_path):
    folder = write_evaluation(tmp_path / "e", {"a": [0.0] * 12 + [1.0] * 8, "b": [1.0] * 18 + [0.0] * 2})
    report = read_report([folder])
    found = compare(report, "a", "b")
    [change] = found.changes
    assert (change.value, change.n, change.verdict) == (pytest.approx(0.5), 20, "better")
    assert change.low > 0
    assert (len(found.gained), len(found.lost)) == (12, 2)
    before, after = found.lost[0]
    assert (before["model"], before["answer"][:2], after["model"], after["answer"][:2]) == (
        "a",
        "서울",
        "b",
        "부산",
    )
    back = compare(report, "b", "a")
    assert back.changes[0].verdict == "worse"
    assert (back.changes[0].value, back.count("worse")) == (pytest.approx(-0.5), 1)


def test_a_small_difference_is_not_called_one(tmp_path):
    folder = write_evaluation(tmp_path / "e", {"a": [0.0, 1.0] * 10, "b": [1.0, 0.0] * 9 + [1.0, 1.0]})
    assert compare(read_report([folder]), "a", "b").changes[0].verdict == "unclear"


def test_only_examples_that_both_have_answered_are_compared(tmp_path):
    one = write_evaluation(tmp_path / "one", {"a": [0.0] * 20})
    two = write_evaluation(tmp_path / "two", {"b": [1.0] * 5})
    assert compare(read_report([one, two]), "one", "two").changes[0].n == 5


def test_macro_f1_is_computed_again_from_what_was_chosen(tmp_path):
    def lines(chosen):
        return [
            answer(
                number,
                float(given == "긍정"),
                metric="macro_f1",
                details={"macro_f1": {"expected": "긍정" if number % 2 else "부정", "chosen": given}},
            )
            for number, given in enumerate(chosen)
        ]

    folder = tmp_path / "e"
    folder.mkdir()
    rows = []
    for model, chosen in (("a", ["긍정"] * 20), ("b", ["부정", "긍정"] * 10)):
        text = "\n".join(json.dumps(line, ensure_ascii=False) for line in lines(chosen))
        (folder / f"answers-{model}.jsonl").write_text(text, encoding="utf-8")
        rows.append(score_row(model, 0.5, metric="macro_f1"))
    (folder / "scores.json").write_text(json.dumps(rows), encoding="utf-8")
    [change] = compare(read_report([folder]), "a", "b").changes
    # All right against the F1 of 2/3 of one label and 0 of the other.
    assert change.value == pytest.approx(1 - 1 / 3)


def test_judges_scores_are_paired_by_question(tmp_path):
    folder = write_judged(
        tmp_path / "judge", {"a": [1, 2, 3, None, 2, 1, 2, 2], "b": [4, 5, 4, 5, None, 5, 4, 5]}
    )
    [change] = compare(read_report([folder]), "a", "b").changes
    assert (change.n, change.verdict) == (6, "better")
    assert change.value == pytest.approx((3 + 3 + 1 + 4 + 2 + 3) / 6)


@pytest.mark.parametrize(("n", "verdict"), [(1, "unclear"), (5, "unclear"), (6, "better")])
def test_a_few_examples_show_nothing_however_they_lean(tmp_path, n, verdict):
    report = read_report([write_evaluation(tmp_path / "e", {"a": [0.0] * n, "b": [1.0] * n})])
    [change] = compare(report, "a", "b").changes
    assert (change.value, change.low, change.n, change.verdict) == (1.0, 1.0, n, verdict)
    gain = {"value": 1.0, "low": 1.0, "high": 1.0, "n": n}
    assert ("no difference shown" in gain_text(gain)) == (verdict == "unclear")
    marks = [[(f"q{place}", 0, score) for place in range(n)] for score in (1.0, 2.0)]
    assert paired_difference(*marks).significant == (verdict == "better")


def win_row(model, other, value):
    return {
        **{"model": model, "task": "judge:pair", "split": "questions", "shots": 0, "metric": "win_rate"},
        **{
            "value": value,
            "low": 0.0,
            "high": 1.0,
            "n": 12,
            "unscored": 0,
            "judge": "큰 모델",
            "by": "judge",
        },
        "other": other,
    }


def write_pairs(folder, model, other, verdicts):
    """A judge's folder of pairs; with the score rows of both models."""
    write_judged(folder, {}, [(model, other, verdicts)])
    rows = [win_row(model, other, 0.5), win_row(other, model, 0.5)]
    (folder / "scores.json").write_text(json.dumps(rows, ensure_ascii=False), encoding="utf-8")
    return folder


def test_win_rates_of_two_judge_runs_are_paired_by_question(tmp_path):
    # Against one opponent: a loses twelve questions, b wins eight, ties two, loses one, and one is unread.
    one = write_pairs(tmp_path / "one", "a", "base", [("b", "b")] * 12)
    wins = [("a", "a")] * 8 + [("tie", "tie")] * 2 + [("b", "b"), (None, None)]
    two = write_pairs(tmp_path / "two", "b", "base", wins)
    [change] = compare(read_report([one, two]), "a", "b").changes
    assert (change.metric, change.n, change.verdict, change.alike) == ("win_rate", 11, "better", True)
    assert change.value == pytest.approx(9 / 11)
    other = write_pairs(tmp_path / "three", "c", "old", [("a", "a")] * 12)
    [change] = compare(read_report([one, other]), "a", "c").changes
    assert (change.value, change.alike) == (1.0, False)  # wins against another opponent


def test_win_rates_of_two_models_against_each_other_mirror_each_other(tmp_path):
    folder = write_pairs(tmp_path / "j", "a", "b", [("a", "a")] * 11 + [("b", "b")])
    [change] = compare(read_report([folder]), "a", "b").changes
    assert (change.n, change.verdict, change.alike) == (12, "worse", True)
    assert change.value == pytest.approx(1 / 12 - 11 / 12)


def test_a_name_that_is_no_model_is_refused(tmp_path):
    report = read_report([write_evaluation(tmp_path / "e", {"base": [1.0], "tuned": [1.0]})])
    with pytest.raises(UsageError, match="no model is called 'bas'; did you mean 'base'"):
        compare(report, "bas", "tuned")


def test_of_perplexity_less_is_better():
    assert (verdict_of("perplexity", -2, -1, 9), verdict_of("perplexity", 1, 2, 9)) == ("better", "worse")
    assert (verdict_of("f1", -2, -1, 9), verdict_of("f1", 1, 2, 9), verdict_of("f1", -1, 1, 9)) == (
        "worse",
        "better",
        "unclear",
    )


def broken(folder, file, **changes):
    """An evaluation of two models with something else in the first line, or row, of a file."""
    write_evaluation(folder, {"a": [0.0, 1.0], "b": [1.0, 1.0]})
    path = folder / file
    text = path.read_text(encoding="utf-8")
    rows = json.loads(text) if file == "scores.json" else [json.loads(line) for line in text.split("\n")]
    rows[0] |= changes
    whole = json.dumps(rows) if file == "scores.json" else "\n".join(map(json.dumps, rows))
    path.write_text(whole, encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    "changes",
    [
        {"scores": {"f1": "1"}},
        {"scores": {"f1": float("nan")}},
        {"scores": [1]},
        {"details": "none"},
        {"details": {"f1": {"parts": 3}}},
        {"id": [1]},
        {"prompt": None},
        {"answer": None},
        {"order": ["passage_first"]},
        {"references": "서울"},
    ],
)
def test_answers_that_are_none_are_named_by_their_line(tmp_path, changes):
    folder = broken(tmp_path / "e", "answers-b.jsonl", **changes)
    with pytest.raises(DataError, match="not a line of an evaluation's answers") as error:
        read_report([folder])
    assert error.value.where.endswith("answers-b.jsonl, line 1")


@pytest.mark.parametrize(
    "changes",
    [
        {"gain": {"a": 3}},
        {"gain": {"a": {"value": 0.1}}},
        {"clean": 3, "contaminated": 1},
        {"off_label": "two"},
        {"order": {}},
        {"judge": {}},
    ],
)
def test_scores_that_are_none_are_refused(tmp_path, changes):
    with pytest.raises(DataError, match="not the scores of an evaluation"):
        read_report([broken(tmp_path / "e", "scores.json", **changes)])


def test_a_model_is_not_compared_with_itself(tmp_path):
    report = read_report([write_evaluation(tmp_path / "e", {"a": [0.0], "b": [1.0]})])
    with pytest.raises(UsageError, match="both are 'a'"):
        compare(report, "a", "a")


def test_a_form_without_room_for_a_comparison_is_refused(tmp_path, capsys):
    folder = write_evaluation(tmp_path / "e", {"a": [0.0], "b": [1.0]})
    assert main(["report", str(folder), "--compare", "a", "b", "--format", "csv"]) == 2
    assert "--format csv holds no comparison" in capsys.readouterr().err
