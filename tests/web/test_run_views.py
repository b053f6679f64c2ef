"""What the training and the scores tab show."""

from __future__ import annotations

import asyncio
import json
import math
from pathlib import Path

import pytest
from built import beside, log, run, scores

pytest.importorskip("gradio")

from komt.web.runs import Runs, Unreadable, stamp
from komt.web.scores import ScoresEvents, panels, read_scores, scores_html
from komt.web.text import Words
from komt.web.training import TrainingEvents, drawing, read_log

KOREAN, ENGLISH = Words("ko"), Words("en")


def test_a_log_is_drawn_with_its_figures(tmp_path: Path) -> None:
    file = stamp(log(tmp_path / "log.jsonl", range(1, 11)))
    html = drawing(KOREAN, file, done=True)
    assert "<dd>10</dd>" in html
    assert "<dd>0.400</dd>" in html
    assert "끝남" in html
    assert html.count('class="curve"') == 3
    assert html.count('class="spark"') == 2
    assert "Training" in drawing(ENGLISH, file, done=False)


def test_a_line_that_is_being_written_is_left_out_and_other_broken_ones_are_told(tmp_path: Path) -> None:
    path = log(tmp_path / "log.jsonl", range(1, 4))
    whole = path.read_text(encoding="utf-8")
    path.write_text(whole + '{"step": 4, "ti', encoding="utf-8")
    assert [line["step"] for line in read_log(stamp(path))] == [1, 2, 3]
    path.write_text('{"step": 4, "ti\n' + whole, encoding="utf-8")
    with pytest.raises(Unreadable):
        read_log(stamp(path))


@pytest.mark.parametrize(
    ("name", "odd"),
    [
        ("log.jsonl", {"task_loss": {"my.qa": "x"}}),
        ("log.jsonl", {"task_loss": {"my.qa": []}}),
        ("log.jsonl", {"task_loss": [1]}),
        ("log.jsonl", {"step": math.nan}),
        ("log.jsonl", {"loss": 10**400}),
        ("held_out.jsonl", {"step": math.inf}),
        ("samples.jsonl", {"step": math.inf}),
    ],
)
def test_numbers_that_are_none_are_told(tmp_path: Path, name: str, odd: dict[str, object]) -> None:
    file = log(tmp_path / "log.jsonl", range(1, 4))
    beside(tmp_path, (0, 5))
    path = tmp_path / name
    first, *rest = path.read_text(encoding="utf-8").splitlines()
    path.write_text("\n".join([json.dumps(json.loads(first) | odd), *rest, ""]), encoding="utf-8")
    with pytest.raises(Unreadable):
        drawing(KOREAN, stamp(file), done=False)


def test_held_out_figures_are_drawn_by_task(tmp_path: Path) -> None:
    file = stamp(log(tmp_path / "log.jsonl", range(1, 11)))
    beside(tmp_path, (0, 5, 10))
    html = drawing(KOREAN, file, done=False)
    assert html.count('class="curve"') == 5
    assert "검증 손실 (토큰당, nat): 4 → 3" in html
    assert html.count('<td class="n">50.0%</td>') == 3
    assert '<th scope="row">전체</th>' in html
    assert "Held-out examples by task" in drawing(ENGLISH, file, done=False)


def test_live_samples_show_the_latest_answer_first(tmp_path: Path) -> None:
    file = stamp(log(tmp_path / "log.jsonl", range(1, 11)))
    beside(tmp_path, (0, 5, 10))
    html = drawing(KOREAN, file, done=False)
    assert html.count('<article class="card sample">') == 2
    assert "물음 1 &lt;b&gt;" in html
    assert '정답: <span class="words">서울</span>' in html
    assert html.index("답 10") < html.index("답 5") < html.index("답 0")
    assert "10단계" in html
    assert "Step 10" in drawing(ENGLISH, file, done=False)


def test_the_page_is_drawn_anew_when_only_samples_have_come(tmp_path: Path) -> None:
    train = tmp_path / "one" / "train"
    log(train / "log.jsonl", range(1, 11))
    events = TrainingEvents(KOREAN, Runs(tmp_path), ("run", "message", "drawn", "seen"))
    first = asyncio.run(events.ticked("one", None))
    again = asyncio.run(events.ticked("one", first["seen"]))
    assert "drawn" not in again
    beside(train, (0, 5))
    later = asyncio.run(events.ticked("one", list(first["seen"])))  # a page keeps it as JSON
    assert "답 5" in later["drawn"]


@pytest.mark.parametrize("name", ["held_out.jsonl", "samples.jsonl"])
def test_a_line_beside_that_is_being_written_is_left_out_and_a_broken_one_told(
    tmp_path: Path, name: str
) -> None:
    file = stamp(log(tmp_path / "log.jsonl", range(1, 11)))
    beside(tmp_path, (0, 5))
    path = tmp_path / name
    whole = path.read_text(encoding="utf-8")
    path.write_text(whole + '{"step": 9, "ta', encoding="utf-8")
    assert drawing(KOREAN, file, done=False).count("card sample") == 2
    for broken in ("{\n", '{"step": 3}\n', "3\n"):
        path.write_text(whole + broken, encoding="utf-8")
        with pytest.raises(Unreadable) as error:
            drawing(KOREAN, file, done=False)
        assert error.value.values["path"] == name


def test_no_step_yet(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.touch()
    assert "아직 기록된 단계가 없습니다" in drawing(KOREAN, stamp(path), done=False)


def test_scores_with_intervals_gains_and_remarks(tmp_path: Path) -> None:
    folder = run(tmp_path / "runs" / "one")
    runs = Runs(tmp_path / "runs")
    html = scores_html(KOREAN, {"one": read_scores(runs, "one")})
    assert "left: 30.00%; width: 20.00%" in html
    assert "[0.300, 0.500]" in html
    assert "학습한 모델 − 기반 모델" in html
    assert "더 나음" in html
    assert "점수 없음" in html
    assert "보기에 없는 답 2개는 오답" in html
    assert "<span>20</span>" in html  # perplexity stands on an axis of its own
    both = scores_html(
        ENGLISH, {"one": read_scores(runs, "one"), "two": read_scores(Runs(folder.parent), "one")}
    )
    assert "one: tuned" in both
    assert "two: tuned" in both


@pytest.mark.parametrize("metric", ["perplexity", "pair_loss", "rejected_log_prob"])
def test_what_is_better_when_it_is_less(metric: str) -> None:
    row = {
        "model": "tuned",
        "task": "my.pairs",
        "metric": metric,
        "value": 1.0,
        "low": 0.9,
        "high": 1.1,
        "n": 80,
    }
    for low, high, said in ((-0.4, -0.2, "더 나음"), (0.2, 0.4, "더 나쁨"), (-0.1, 0.1, "뚜렷하지 않음")):
        gain = {"base": {"value": (low + high) / 2, "low": low, "high": high, "n": 80}}
        assert said in scores_html(KOREAN, {"one": [{**row, "gain": gain}]})


@pytest.mark.parametrize("text", ["", "{", "3", '[{"model": "base"}]', "[3]", "null", '[{"value": "x"}]'])
def test_a_broken_report_is_told(tmp_path: Path, text: str) -> None:
    path = scores(tmp_path / "runs" / "one" / "report" / "scores.json")
    path.write_text(text, encoding="utf-8")
    with pytest.raises(Unreadable) as error:
        read_scores(Runs(tmp_path / "runs"), "one")
    assert error.value.key == "runs.broken"


def test_a_value_that_is_no_number_is_told(tmp_path: Path) -> None:
    path = scores(tmp_path / "runs" / "one" / "report" / "scores.json")
    rows = json.loads(path.read_text(encoding="utf-8"))
    rows[0]["value"] = "high"
    path.write_text(json.dumps(rows), encoding="utf-8")
    with pytest.raises(Unreadable):
        read_scores(Runs(tmp_path / "runs"), "one")


def test_rows_that_differ_in_more_than_the_model_stand_apart(tmp_path: Path) -> None:
    path = scores(tmp_path / "runs" / "one" / "report" / "scores.json")
    row = {"model": "tuned", "task": "my.qa", "metric": "f1", "n": 8, "value": 0.5, "low": 0.4, "high": 0.6}
    rows = [
        {**row, "order": "passage_first", "flags": ["limited"]},
        {**row, "order": "instruction_first", "flags": ["resplit", "contaminated"], "contaminated": 3},
        {**row, "by": "loglikelihood", "metric": "accuracy"},
        {
            **row,
            "task": "judge:helpful",
            "metric": "judge_score",
            "judge": "큰모델",
            "scale": [1, 10],
            "value": 5.5,
        },
    ]
    path.write_text(json.dumps(rows), encoding="utf-8")
    read = read_scores(Runs(tmp_path / "runs"), "one")
    shown = panels(KOREAN, [("one", row) for row in read], several=False)
    assert [panel.about for panel in shown] == [
        "지문 먼저",
        "지시 먼저",
        "보기의 확률로 고름",
        "큰모델의 채점",
    ]
    assert (shown[3].axis, shown[3].marks[0].at) == (("1", "5.5", "10"), 50.0)
    html = scores_html(KOREAN, {"one": read})
    assert "my.qa, 학습한 모델: 학습 데이터와 겹치는 문항이 3개 있습니다." in html
    assert "my.qa, 학습한 모델: 앞에서부터 8문항까지만 평가했습니다." in html
    assert html.count("공개된 점수와 비교할 수 없습니다") == 1


@pytest.mark.parametrize(
    "odd", [{"gain": 3}, {"gain": {"base": {"low": "x"}}}, {"contaminated": "x"}, {"flags": 3}, {"task": {}}]
)
def test_a_report_of_another_shape_is_told_in_the_page(tmp_path: Path, odd: dict[str, object]) -> None:
    path = scores(tmp_path / "runs" / "one" / "report" / "scores.json")
    rows = json.loads(path.read_text(encoding="utf-8"))
    rows[0] |= odd
    path.write_text(json.dumps(rows), encoding="utf-8")
    events = ScoresEvents(KOREAN, Runs(tmp_path / "runs"), ("run", "message", "shown"))
    changes = asyncio.run(events.chosen(["one"]))
    assert "scores.json 파일이 깨졌거나 형식이 다릅니다" in changes["message"]
    assert changes["shown"] == ""
