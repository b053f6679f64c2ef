"""The chat tab in a real browser, against a small API."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("gradio")
pytest.importorskip("playwright")
from page_kit import Site, TinyApi, Visit
from playwright.sync_api import expect

from komt.web.app import running
from komt.web.client import Api
from komt.web.runs import Runs

pytestmark = pytest.mark.browser


@pytest.fixture
def visit(browser: Any, site: Site) -> Iterator[Visit]:
    """A visit in Korean; whatever happens in it, nothing is asked of another host and no error is logged."""
    visit = Visit(browser, site.address)
    expect(visit.page.get_by_label("모델", exact=True)).to_have_value("sample")
    yield visit
    visit.context.close()
    assert visit.hosts() == {"127.0.0.1"}
    assert visit.errors == []


@pytest.fixture
def tiny_api(site: Site) -> TinyApi:
    """The API behind the page."""
    return site.api


def ask(page: Any, text: str) -> None:
    box = page.get_by_label("보낼 글")
    box.fill(text)
    box.press("Enter")


def answer(page: Any) -> Any:
    return page.locator(".bot.message").last


WHOLE = "[sample] 안녕하세요. 저는 작은 모델입니다."


def test_an_answer_comes_with_its_counts_and_markdown(visit: Visit, tiny_api: TinyApi) -> None:
    ask(visit.page, "안녕?")
    expect(answer(visit.page)).to_have_text(WHOLE)
    expect(answer(visit.page).locator("strong")).to_have_text("작은")
    expect(visit.page.locator("#counts")).to_contain_text("읽은 글 21토큰 · 답 5토큰")
    expect(visit.page.get_by_label("보낼 글")).to_have_value("")
    assert tiny_api.asked[0]["messages"] == [{"role": "user", "content": "안녕?"}]
    assert tiny_api.asked[0]["max_tokens"] == 512


def test_stop_keeps_what_had_come_and_leaves_the_api(visit: Visit, tiny_api: TinyApi) -> None:
    ask(visit.page, "천천히 말해 줘")
    expect(answer(visit.page)).to_have_text("[sample] 안녕하세요. 저는")
    visit.page.get_by_role("button", name="멈추기").click()
    expect(visit.page.locator("#counts")).to_contain_text("멈췄습니다")
    expect(answer(visit.page)).to_have_text("[sample] 안녕하세요. 저는")
    assert tiny_api.client_left.wait(10)
    ask(visit.page, "계속해 줘")
    expect(answer(visit.page)).to_have_text(WHOLE)
    assert [turn["role"] for turn in tiny_api.asked[-1]["messages"]] == ["user", "assistant", "user"]


def test_a_server_that_dies_in_the_middle_is_told_and_asked_again(visit: Visit, tiny_api: TinyApi) -> None:
    ask(visit.page, "말하다가 끊어 봐")
    alert = visit.page.get_by_role("alert")
    expect(alert).to_contain_text("답을 쓰던 중에 모델 서버")
    expect(answer(visit.page)).to_have_text("[sample] 안녕하세요. 저는")
    visit.page.get_by_role("button", name="다시 시도").last.click()
    assert tiny_api.heard(2) == ["말하다가 끊어 봐"] * 2
    expect(alert).to_contain_text("답을 쓰던 중에 모델 서버")


def test_a_question_that_is_refused_is_back_in_its_box(visit: Visit, tiny_api: TinyApi) -> None:
    page, box = visit.page, visit.page.get_by_label("보낼 글")
    ask(page, "안녕?")
    expect(page.locator("#counts")).to_contain_text("답 5토큰")
    ask(page, "이건 거절해")
    expect(page.get_by_role("alert")).to_contain_text("the template has no system role")
    expect(box).to_have_value("이건 거절해")
    expect(page.locator(".user.message")).to_have_text(["안녕?"])
    tiny_api.refusal = {"message": "31 tokens", "code": "context_length_exceeded"}
    box.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text(
        "글을 줄이거나 새 대화를 시작해 주세요. 서버의 응답: 31 tokens"
    )
    ask(page, "다시 안녕?")
    expect(page.locator(".bot.message")).to_have_count(2)
    assert [turn["content"] for turn in tiny_api.asked[-1]["messages"][::2]] == ["안녕?", "다시 안녕?"]


def test_an_answer_stays_where_no_other_comes(visit: Visit, tiny_api: TinyApi) -> None:
    page = visit.page
    ask(page, "안녕?")
    expect(page.locator("#counts")).to_contain_text("답 5토큰")
    page.get_by_role("button", name="편집").first.click()
    page.locator("#chat textarea").first.fill("거절해 줘")
    page.get_by_role("button", name="제출").first.click()
    expect(page.get_by_role("alert")).to_contain_text("받아들이지 않았습니다")
    expect(page.locator(".user.message")).to_have_text(["안녕?"])
    expect(answer(page)).to_have_text(WHOLE)
    expect(page.get_by_label("보낼 글")).to_have_value("거절해 줘")


def test_a_connection_that_breaks_before_an_answer_is_told(visit: Visit) -> None:
    ask(visit.page, "바로 끊어 봐")
    expect(visit.page.get_by_role("alert")).to_contain_text("답을 쓰기 전에")
    expect(visit.page.locator("#counts")).to_have_text("끊겼습니다")


HTML = "<script>window.hit = 1</script><img src=x onerror='window.hit = 2'><b>굵게</b> ![그림](/a.png)"


def test_html_and_pictures_are_shown_as_they_were_written(visit: Visit, tiny_api: TinyApi) -> None:
    page = visit.page
    tiny_api.answers = (HTML, "\n\n`<b>`")
    ask(page, HTML)
    expect(page.locator("#counts")).to_contain_text("답 3토큰")
    assert page.locator(".user.message").inner_text().replace("\u2060", "").startswith(HTML.split(" ![")[0])
    expect(answer(page)).to_contain_text("굵게")
    assert page.locator("#chat .message img").count() == 0
    assert page.evaluate("window.hit") is None
    assert answer(page).locator("code").inner_text() == "<b>"
    assert tiny_api.asked[0]["messages"][0]["content"] == HTML
    page.get_by_role("button", name="편집").first.click()
    page.get_by_role("button", name="제출").first.click()
    assert tiny_api.heard(2)[1] == HTML


def test_what_a_browser_cannot_keep_is_not_sent(visit: Visit, tiny_api: TinyApi) -> None:
    ask(visit.page, "가" * 1_100_000)
    expect(visit.page.get_by_role("alert")).to_contain_text("약 3MB")
    assert tiny_api.asked == []
    ask(visit.page, "가나다라마" * 20_000)
    expect(answer(visit.page)).to_have_text(WHOLE)
    assert tiny_api.heard(1) == ["가나다라마" * 20_000]


def test_enter_inside_a_syllable_does_not_send(visit: Visit, tiny_api: TinyApi) -> None:
    box = visit.page.get_by_label("보낼 글")
    box.focus()
    session = visit.context.new_cdp_session(visit.page)
    for text in ("ㅎ", "하", "한"):
        session.send("Input.imeSetComposition", {"text": text, "selectionStart": 1, "selectionEnd": 1})
    # What browsers send for Enter while an input method composes: code 229, or isComposing.
    enter = {"windowsVirtualKeyCode": 229, "code": "Enter", "key": "Process"}
    session.send("Input.dispatchKeyEvent", {"type": "rawKeyDown", **enter})
    for kind in ("keydown", "keypress"):
        box.dispatch_event(kind, {"key": "Enter", "code": "Enter", "isComposing": True, "bubbles": True})
    session.send("Input.insertText", {"text": "한"})
    expect(box).to_have_value("한")
    assert tiny_api.asked == []
    box.press("Enter")
    expect(answer(visit.page)).to_have_text(WHOLE)
    assert [body["messages"][-1]["content"] for body in tiny_api.asked] == ["한"]


def test_shift_enter_starts_a_line(visit: Visit, tiny_api: TinyApi) -> None:
    box = visit.page.get_by_label("보낼 글")
    box.press_sequentially("첫째 줄")
    box.press("Shift+Enter")
    box.press_sequentially("둘째 줄")
    box.press("Enter")
    expect(answer(visit.page)).to_have_text(WHOLE)
    assert tiny_api.asked[0]["messages"][-1]["content"] == "첫째 줄\n둘째 줄"


def test_reload_keeps_the_conversation_and_its_settings(visit: Visit, tiny_api: TinyApi) -> None:
    page = visit.page
    page.get_by_role("button", name="설정").click()
    page.get_by_label("시스템 프롬프트").fill("반말로 답해.")
    page.locator("#setting-temperature input[type=number]").fill("0.3")
    page.locator("#setting-temperature input[type=number]").press("Tab")
    ask(page, "안녕?")
    expect(page.locator("#counts")).to_contain_text("답 5토큰")
    page.reload()
    expect(answer(page)).to_have_text(WHOLE)
    page.get_by_role("button", name="설정").click()
    expect(page.get_by_label("시스템 프롬프트")).to_have_value("반말로 답해.")
    ask(page, "또 안녕?")
    expect(page.locator(".bot.message")).to_have_count(2)
    expect(page.locator("#counts")).to_contain_text("답 5토큰")
    sent = tiny_api.asked[-1]
    assert [turn["role"] for turn in sent["messages"]] == ["system", "user", "assistant", "user"]
    assert (sent["messages"][0]["content"], sent["temperature"]) == ("반말로 답해.", 0.3)


def test_regenerate_asks_the_same_again(visit: Visit, tiny_api: TinyApi) -> None:
    ask(visit.page, "안녕?")
    expect(visit.page.locator("#counts")).to_contain_text("답 5토큰")
    visit.page.get_by_role("button", name="다시 시도").click()
    assert tiny_api.heard(2) == ["안녕?"] * 2
    expect(visit.page.locator("#counts")).to_contain_text("답 5토큰")
    expect(visit.page.locator(".bot.message")).to_have_count(1)
    expect(visit.page.locator(".user.message")).to_have_count(1)
    assert [len(body["messages"]) for body in tiny_api.asked] == [1, 1]


def test_an_edited_question_is_asked_anew(visit: Visit, tiny_api: TinyApi) -> None:
    for number, text in enumerate(("첫 질문", "둘째 질문"), start=1):
        ask(visit.page, text)
        expect(visit.page.locator(".bot.message")).to_have_count(number)
        expect(visit.page.locator("#counts")).to_contain_text("답 5토큰")
    visit.page.get_by_role("button", name="편집").first.click()
    area = visit.page.locator("#chat textarea").first
    area.fill("고친 질문")
    visit.page.get_by_role("button", name="제출").first.click()
    expect(visit.page.locator(".user.message")).to_have_text(["고친 질문"])
    expect(answer(visit.page)).to_have_text(WHOLE)
    assert tiny_api.asked[-1]["messages"] == [{"role": "user", "content": "고친 질문"}]


def test_an_edited_answer_stands_as_it_was_edited(visit: Visit, tiny_api: TinyApi) -> None:
    ask(visit.page, "안녕?")
    expect(visit.page.locator("#counts")).to_contain_text("답 5토큰")
    visit.page.get_by_role("button", name="편집").last.click()
    visit.page.locator("#chat textarea").last.fill("반가워요.")
    visit.page.get_by_role("button", name="제출").last.click()
    expect(answer(visit.page)).to_have_text("반가워요.")
    expect(visit.page.locator("#counts")).to_contain_text("고친 답")
    ask(visit.page, "계속해 줘")
    assert tiny_api.heard(2) == ["안녕?", "계속해 줘"]
    assert tiny_api.asked[1]["messages"][1] == {"role": "assistant", "content": "반가워요."}


def test_a_question_that_is_offered_is_asked_with_a_click(visit: Visit, tiny_api: TinyApi) -> None:
    visit.page.get_by_role("button", name="이 문장을 공손하게").click()
    expect(answer(visit.page)).to_have_text(WHOLE)
    assert tiny_api.heard(1) == ["이 문장을 공손하게 바꿔 주세요: 내일까지 자료 보내."]


def test_export_and_import_give_the_same_conversation(visit: Visit, tmp_path: Path) -> None:
    page = visit.page
    ask(page, "가나다")
    expect(page.locator("#counts")).to_contain_text("답 5토큰")
    with page.expect_download() as download:
        page.get_by_role("button", name="내보내기").click()
    assert download.value.suggested_filename == "komt-가나다.json"
    file = tmp_path / "talk.json"
    download.value.save_as(file)
    record = json.loads(file.read_text(encoding="utf-8"))
    assert [turn["content"] for turn in record["messages"]] == ["가나다", WHOLE.replace("작은", "**작은**")]

    delete = page.get_by_role("button", name="지우기", exact=True)
    page.once("dialog", lambda dialog: dialog.dismiss())
    delete.click()
    expect(page.locator(".bot.message")).to_have_count(1)
    page.once("dialog", lambda dialog: dialog.accept())
    delete.click()
    expect(page.locator(".bot.message")).to_have_count(0)
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="가져오기").click()
    chooser.value.set_files(file)
    expect(answer(page)).to_have_text(WHOLE)
    expect(page.get_by_role("radio", name="가나다")).to_be_checked()


def bring(page: Any, file: Path) -> None:
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="가져오기").click()
    chooser.value.set_files(file)


WRONG = {
    "JSON 파일이 아닙니다": b"\x00\xff" * 1000,
    "role은": b'{"messages": [{"role": "robot", "content": "x"}]}',
    "글이 아닌 메시지": b'[{"role": "user", "content": 5}]',
    "대화가 들어 있지 않은": b"null",
    "파일이 너무 큽니다": b'[{"role": "user", "content": "%s"}]' % (b"x" * 3_100_000),
}


def test_a_file_that_is_no_conversation_changes_nothing(visit: Visit, tmp_path: Path) -> None:
    page, file = visit.page, tmp_path / "wrong.json"
    ask(page, "가나다")
    expect(page.locator("#counts")).to_contain_text("답 5토큰")
    for told, data in WRONG.items():
        file.write_bytes(data)
        bring(page, file)
        expect(page.get_by_role("alert")).to_contain_text(told)
    expect(answer(page)).to_have_text(WHOLE)
    expect(page.get_by_role("radio")).to_have_count(1)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "cp949", "utf-16"])
def test_a_file_in_another_encoding_is_imported(visit: Visit, tmp_path: Path, encoding: str) -> None:
    file = tmp_path / "talk.json"
    turns = [{"role": "user", "content": "똠방각하"}, {"role": "assistant", "content": "펲시콜라"}]
    file.write_bytes(json.dumps(turns, ensure_ascii=False).encode(encoding))
    bring(visit.page, file)
    expect(visit.page.locator(".user.message")).to_have_text(["똠방각하"])
    expect(answer(visit.page)).to_have_text("펲시콜라")
    expect(visit.page.locator("#counts")).to_have_text("대화를 가져왔습니다.")


def test_two_tabs_keep_each_other_s_conversations(visit: Visit) -> None:
    first, second = visit.page, visit.open()
    expect(second.get_by_label("모델", exact=True)).to_have_value("sample")
    second.get_by_label("보낼 글").fill("쓰던 글")
    ask(first, "첫 탭")
    expect(first.locator("#counts")).to_contain_text("답 5토큰")
    expect(second.locator(".user.message")).to_have_text(["첫 탭"])
    expect(second.get_by_label("보낼 글")).to_have_value("쓰던 글")
    second.get_by_role("button", name="새 대화").click()
    expect(second.locator(".user.message")).to_have_count(0)
    ask(second, "둘째 탭")
    expect(second.locator("#counts")).to_contain_text("답 5토큰")
    for page in (first, second):
        expect(page.get_by_role("radio", name="둘째 탭")).to_have_count(1)
        expect(page.get_by_role("radio", name="첫 탭")).to_have_count(1)


def test_a_page_that_has_lost_its_server_says_so(browser: Any, site: Site) -> None:
    visit = Visit(browser, site.address)
    expect(visit.page.get_by_label("모델", exact=True)).to_have_value("sample")
    visit.context.set_offline(True)
    ask(visit.page, "들리나요?")
    expect(visit.page.get_by_test_id("toast-body")).to_contain_text(
        "이 페이지의 서버(komt web)와 연결이 끊겼습니다"
    )
    expect(visit.page.get_by_label("보낼 글")).to_have_value("들리나요?")
    visit.context.set_offline(False)
    visit.page.reload()
    expect(visit.page.get_by_label("모델", exact=True)).to_have_value("sample")
    ask(visit.page, "들리나요?")
    expect(answer(visit.page)).to_have_text(WHOLE)
    visit.context.close()


def test_a_link_leads_to_llama_cpp_s_own_page(visit: Visit) -> None:
    link = visit.page.get_by_role("link", name="llama.cpp의 자체 화면 열기")
    assert link.get_attribute("href") == "http://127.0.0.1:9/"
    assert (link.get_attribute("target"), link.get_attribute("rel")) == ("_blank", "noopener")


def test_conversations_are_listed_and_chosen(visit: Visit) -> None:
    page = visit.page
    ask(page, "첫 대화")
    expect(page.locator("#counts")).to_contain_text("답 5토큰")
    page.get_by_role("button", name="새 대화").click()
    expect(page.locator(".bot.message")).to_have_count(0)
    ask(page, "둘째 대화")
    expect(page.locator("#counts")).to_contain_text("답 5토큰")
    page.get_by_role("radio", name="첫 대화").check()
    expect(page.locator(".user.message")).to_have_text(["첫 대화"])


def test_an_api_that_is_not_there_is_told(browser: Any, tmp_path: Path) -> None:
    gone = TinyApi()  # not the one that the other tests' page talks to
    gone.close()
    with running(Api(gone.address), Runs(tmp_path), tmp_path / "votes.jsonl") as address:
        visit = Visit(browser, address, language="en-GB")
        expect(visit.page.get_by_role("alert")).to_contain_text("No connection to the model server")
        visit.context.close()


def test_every_control_has_a_name(visit: Visit) -> None:
    page = visit.page
    page.get_by_role("button", name="설정").click()
    ask(page, "안녕?")
    expect(page.locator("#counts")).to_contain_text("답 5토큰")
    nameless = page.evaluate(
        """() => [...document.querySelectorAll('button, input, textarea, select, a, [role=tab]')]
        .filter((one) => one.offsetParent && !(one.getAttribute('aria-label') || one.innerText || one.title
            || [...(one.labels ?? [])].some((label) => label.innerText.trim())
            || one.getAttribute('aria-labelledby')))
        .map((one) => one.outerHTML.slice(0, 200))"""
    )
    assert nameless == []
    assert page.evaluate("document.documentElement.lang") == "ko"
