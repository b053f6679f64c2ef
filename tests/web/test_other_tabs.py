"""Compare, data, training and scores in a real browser."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("gradio")
pytest.importorskip("playwright")
from built import beside, log, run
from page_kit import Site, Visit
from playwright.sync_api import expect

from komt.web.app import running
from komt.web.runs import Runs

pytestmark = pytest.mark.browser


@pytest.fixture
def visit(browser: Any, site: Site) -> Iterator[Visit]:
    """A visit in Korean, with one run below `runs`; no error is logged, nobody else is asked."""
    run(site.runs / "first")
    visit = Visit(browser, site.address)
    yield visit
    visit.context.close()
    assert visit.hosts() == {"127.0.0.1"}
    assert visit.errors == []


def tab(visit: Visit, name: str) -> Any:
    # The models are there when the page has asked the API for them.
    if name == "비교":
        expect(visit.page.get_by_label("모델", exact=True)).to_have_value("sample")
    visit.page.get_by_role("tab", name=name, exact=True).click()
    return visit.page


def ask(page: Any, text: str) -> None:
    box = page.get_by_label("두 모델에게 할 질문")
    box.fill(text)
    box.press("Enter")


@pytest.mark.parametrize("better", [0, 1])
def test_a_blind_vote_is_kept_as_a_preference_row(visit: Visit, site: Site, better: int) -> None:
    page = tab(visit, "비교")
    votes = [page.get_by_role("button", name=f"{number}번이 나아요") for number in (1, 2)]
    expect(votes[better]).to_be_disabled()
    ask(page, "수도는?")
    expect(votes[better]).to_be_enabled()
    texts = [page.locator(f"#answer-{number}").inner_text().strip() for number in (1, 2)]
    assert {text.split("]")[0] for text in texts} == {"[sample", "[gemma-3-270m"}
    votes[better].click()
    result = page.locator("#compare-result")
    expect(result).to_contain_text("votes.jsonl")
    expect(votes[better]).to_be_disabled()
    names = [text.split("]")[0].lstrip("[") for text in texts]
    expect(result).to_contain_text(f"답 1은 {names[0]}, 답 2는 {names[1]}의 답이었습니다.")
    (row,) = [json.loads(line) for line in site.votes.read_text("utf-8").splitlines()]
    assert row["prompt"] == "수도는?"
    assert row["chosen"].startswith(f"[{names[better]}]")
    assert row["rejected"].startswith(f"[{names[1 - better]}]")


def test_a_chosen_answer_that_was_cut_is_not_kept(visit: Visit, site: Site) -> None:
    page = tab(visit, "비교")
    ask(page, "길게 말해 줘")
    page.get_by_role("button", name="1번이 나아요").click()
    expect(page.locator("#compare-result")).to_contain_text("넣지 않았습니다. 답의 최대 길이를 늘려")
    expect(page.locator("#answer-1")).to_contain_text("(최대 길이에 이르러 끊겼습니다)")
    assert not site.votes.exists()


def test_question_and_answers_are_shown_as_they_were_written(visit: Visit, site: Site) -> None:
    site.api.answers = ("<b>굵게</b> ![그림](/a.png)", "")
    page = tab(visit, "비교")
    ask(page, "# 제목\n<i>둘째</i> 줄")
    expect(page.get_by_role("button", name="비슷해요")).to_be_enabled()
    assert page.locator("#compare-question span").inner_text() == "# 제목\n<i>둘째</i> 줄"
    assert "<b>굵게</b>" in page.locator("#answer-1").inner_text().replace("\u2060", "")
    assert page.locator("#answer-1 img, #answer-2 img").count() == 0


def test_models_that_come_later_are_listed_when_the_tab_is_opened(visit: Visit, site: Site) -> None:
    site.api.models = ()
    page = visit.page
    page.get_by_role("tab", name="비교", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("모델이 둘 이상 있어야 합니다")
    site.api.models = ("sample", "gemma-3-270m")
    tab(visit, "데이터")
    page.get_by_role("tab", name="비교", exact=True).click()
    expect(page.get_by_role("alert")).to_have_count(0)
    ask(page, "수도는?")
    expect(page.get_by_role("button", name="비슷해요")).to_be_enabled()


def test_no_preference_is_not_kept(visit: Visit, site: Site) -> None:
    page = tab(visit, "비교")
    ask(page, "수도는?")
    page.get_by_role("button", name="둘 다 별로예요").click()
    expect(page.locator("#compare-result")).to_contain_text("넣지 않았습니다")
    assert not site.votes.exists()


def test_the_page_does_not_know_whose_answer_it_is_before_the_vote(visit: Visit, site: Site) -> None:
    site.api.answers = ("같은 말.",)
    told: list[str] = []
    visit.page.on("response", lambda answer: told.append(answer.url))
    page = tab(visit, "비교")
    ask(page, "수도는?")
    expect(page.get_by_role("button", name="비슷해요")).to_be_enabled()
    shown = page.locator("#compare-result").inner_text()
    assert "sample" not in shown
    assert len({body["model"] for body in site.api.asked}) == 2


def test_a_server_that_dies_leaves_nothing_to_vote_on(visit: Visit) -> None:
    page = tab(visit, "비교")
    ask(page, "끊어 봐")
    expect(page.get_by_role("alert")).to_contain_text("연결이 끊겼습니다")
    expect(page.get_by_role("button", name="1번이 나아요")).to_be_disabled()
    expect(page.get_by_label("두 모델에게 할 질문")).to_have_value("끊어 봐")


def test_examples_are_browsed_by_task_and_searched(visit: Visit) -> None:
    page = tab(visit, "데이터")
    expect(page.locator("#data-overview")).to_contain_text("학습 예제")
    page.get_by_role("tab", name="예제").click()
    rows = page.locator("#examples-rows article")
    expect(rows).to_have_count(8)
    page.get_by_role("button", name="다음").first.click()
    expect(page.get_by_text("전체 20개 가운데 9–16번째")).to_be_visible()
    page.get_by_label("과제").click()
    page.get_by_role("option", name="my.title (4)").click()
    expect(rows).to_have_count(4)
    page.locator("#examples-search textarea, #examples-search input").fill("alert(2)")
    page.locator("#examples-search textarea, #examples-search input").press("Enter")
    expect(rows).to_have_count(1)
    expect(rows.first).to_contain_text("<script>alert(2)</script> {{x}} ${y}")
    page.get_by_label("평가", exact=True).check()
    expect(page.locator("#examples-rows")).to_contain_text("조건에 맞는 행이 없습니다")


def test_rows_left_out_are_browsed_by_reason(visit: Visit) -> None:
    page = tab(visit, "데이터")
    page.get_by_role("tab", name="제외된 행").click()
    rows = page.locator("#rejects-rows article")
    expect(rows).to_have_count(8)
    page.get_by_label("이유").click()
    page.get_by_role("option", name="source/empty_answer (3)").click()
    expect(rows).to_have_count(3)


def test_curves_grow_while_training_goes_on(visit: Visit, site: Site) -> None:
    page = tab(visit, "학습")
    drawn = page.locator("#training-drawn")
    expect(drawn.locator("svg.curve")).to_have_count(3)
    expect(drawn.locator("dd").nth(1)).to_have_text("10")
    log(site.runs / "first" / "train" / "log.jsonl", range(11, 13))
    expect(drawn.locator("dd").nth(1)).to_have_text("12")


def test_live_samples_come_while_training_goes_on(visit: Visit, site: Site) -> None:
    page = tab(visit, "학습")
    drawn = page.locator("#training-drawn")
    expect(drawn.locator("svg.curve")).to_have_count(3)
    beside(site.runs / "first" / "train", (0, 5))
    expect(drawn.locator(".sample")).to_have_count(2)
    expect(drawn.locator(".sample .turn.assistant .words").first).to_have_text("답 5")
    expect(drawn.locator("svg.curve")).to_have_count(5)


def test_a_run_that_breaks_is_told_in_the_page(visit: Visit, site: Site) -> None:
    (site.runs / "first" / "report" / "scores.json").write_text("{", encoding="utf-8")
    page = tab(visit, "점수")
    expect(page.get_by_role("alert")).to_contain_text("scores.json 파일이 깨졌거나 형식이 다릅니다")


def test_scores_are_shown_with_intervals(visit: Visit) -> None:
    page = tab(visit, "점수")
    expect(page.locator("#scores-shown")).to_contain_text("학습한 모델")
    expect(page.locator("#scores-shown .line i")).to_have_count(3)


def test_without_runs_and_without_a_model_the_page_says_what_to_do(browser: Any, tmp_path: Path) -> None:
    with running(None, Runs(tmp_path / "none"), tmp_path / "votes.jsonl") as address:
        visit = Visit(browser, address, language="en-US")
        expect(visit.page.get_by_role("alert")).to_contain_text("No model is connected")
        for name, words in (
            ("Data", "no data below"),
            ("Training", "no training log"),
            ("Scores", "no scores"),
        ):
            page = tab(visit, name)
            expect(page.get_by_role("alert")).to_contain_text(words)
        visit.context.close()
    assert visit.errors == []


TABS = {
    "ko-KR": ("대화", "비교", "데이터", "학습", "점수"),
    "en-GB": ("Chat", "Compare", "Data", "Training", "Scores"),
}


@pytest.mark.parametrize("language", TABS)
def test_nothing_is_wider_than_a_phone(browser: Any, site: Site, language: str) -> None:
    run(site.runs / "first")
    phone = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
    visit = Visit(browser, site.address, language, **phone)
    for name in TABS[language]:
        page = tab(visit, name)
        expect(page.get_by_role("tab", name=name, exact=True)).to_have_attribute("aria-selected", "true")
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, name
    visit.context.close()
    assert visit.errors == []


@pytest.mark.parametrize(("language", "scheme"), [("ko-KR", "light"), ("en-GB", "dark")])
def test_axe_finds_nothing_to_mend(browser: Any, site: Site, language: str, scheme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    run(site.runs / "first")
    visit = Visit(browser, site.address, language, color_scheme=scheme)
    found = {}
    for name in TABS[language]:
        page = tab(visit, name)
        expect(page.get_by_role("tab", name=name, exact=True)).to_have_attribute("aria-selected", "true")
        if name in {"대화", "Chat"}:
            page.locator("#settings button").first.click()
        for inner in page.get_by_role("tabpanel").get_by_role("tab").all():
            inner.click()
        expect(page.locator(".generating, .pending")).to_have_count(0)
        found[name] = [(one["id"], one["nodes"][0]["html"]) for one in axe.run(page).response["violations"]]
    visit.context.close()
    assert found == {name: [] for name in TABS[language]}
