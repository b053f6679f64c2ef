"""Reading judges' replies: the labelled cases, and what must never be read."""

from pathlib import Path

import pytest
import yaml

from komt.judge.read_reply import read_score
from komt.judge.read_verdict import read_verdict

CASES = yaml.safe_load((Path(__file__).parent / "replies.yaml").read_text(encoding="utf-8"))


def test_no_labelled_reply_is_read_wrongly_and_few_readable_ones_are_unscored():
    missed = []
    for case in CASES["scores"]:
        found = read_score(case["reply"], *case["scale"])
        assert found.score in {None, case["expected"]}, case["reply"]
        assert (found.score is None) == bool(found.reason), case["reply"]
        if found.score is None and case["expected"] is not None:
            missed.append(case["reply"])
    readable = sum(case["expected"] is not None for case in CASES["scores"])
    assert len(CASES["scores"]) >= 150
    assert len(missed) <= 0.02 * readable, missed


def test_labelled_verdicts_are_read():
    for case in CASES["pairs"]:
        assert read_verdict(case["reply"]).verdict == case["expected"], case["reply"]


def test_what_is_known_not_to_be_read_is_never_read_wrongly():
    for case in CASES["unread"]:
        reply, scale = case["reply"], case.get("scale")
        found = read_score(reply, *scale).score if scale else read_verdict(reply).verdict
        assert found in {None, case["expected"]}, case["reply"]


@pytest.mark.parametrize(
    ("reply", "low", "high", "score"),
    [
        ("점수: 8\n이유: 10점 만점에서 2점을 감점했습니다.", 1, 10, 8),
        ("점수: 8\n\n따라서 6점을 부여합니다.", 1, 10, None),
        ("더 길었다면 9점을 주었을 것입니다. 8점을 부여합니다.", 1, 10, 8),
        ("9점을 주기에는 부족하여 8점을 드립니다.", 1, 10, 8),
        ("이 점을 고려하면 답변은 좋습니다.", 1, 10, None),
        ("네 점수는 7점이다", 1, 10, 7),
        ("칠점오 점", 1, 10, 7.5),
        ("점수: 구십 점", 1, 10, None),
        ("이 답변은 3점 슛에 대해 설명합니다.", 0, 5, None),
        ("점수: 2\n이유: 사실 여부를 평가할 수 없을 정도로 짧습니다.", 0, 5, 2),
        ("1. 정확성: 4\n2. 유창성: 5\n3. 총점: 4", 0, 5, 4),
        ("정확성: 4점, 유창성: 4점", 0, 5, None),
        ("점수(100점 만점): 8", 1, 10, None),
        ("점수 (10점 만점): 8", 1, 10, 8),
        ("{'score': 8}", 1, 10, 8),
        ('{"score": 8, "max_score": 100}', 1, 10, None),
        ("| 점수 | 8 |", 1, 10, 8),
        ("점수:\n1. 정확성이 좋다\n2. 길다", 1, 10, None),
        ("Feedback: good [RESULT] 4", 0, 5, 4),
        ("I'd rate this a 7.", 1, 10, 7),
        ("This answer has 3 errors.", 0, 5, None),
        ("~~점수: 3~~ 점수: 4", 0, 5, 4),
        ("\\boxed{8}", 1, 10, 8),
        ("점수 - 8", 1, 10, 8),
        ("점수: -1", 0, 5, None),
    ],
)
def test_scores_in_replies(reply, low, high, score):
    assert read_score(reply, low, high).score == score


def test_a_reply_cut_off_within_its_number_is_unscored():
    assert read_score("이유는 …\n점수: 1", 1, 10, cut=True).reason == "cut off in the middle of a number"
    assert read_score("점수: 7\n이유: 답변이 대체로", 1, 10, cut=True).score == 7
    assert (
        read_verdict("답변 A가 더 정확합니다. 그러나 답변 B", cut=True).reason == "cut off before the verdict"
    )


def test_long_replies_are_read_at_once():
    # Patterns that look back and forth would take hours for these.
    for text in (
        "가 " * 3_000,
        "1 " * 3_000,
        "점수 " * 3_000,
        "[" * 29_000,
        "{" * 5_000,
        "A가 " * 3_000,
        "9" * 10_000,
        " " * 29_000 + "x",
        "8점 " * 3_000,
    ):
        read_score(text, 1, 10)
        read_verdict(text)
