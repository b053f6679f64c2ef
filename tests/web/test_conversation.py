from __future__ import annotations

import json
import math
from typing import Any

import pytest

from komt.web import conversation as talks


def talk(*contents: str, **more: Any) -> talks.Talk:
    roles = ("user", "assistant")
    turns = [{"role": roles[place % 2], "content": text} for place, text in enumerate(contents)]
    return {**talks.new_talk("m"), "messages": turns, **more}


def store(*several: talks.Talk) -> talks.Store:
    return {"version": 1, "current": several[0]["id"], "conversations": list(several)}


def contents(one: talks.Talk) -> list[str]:
    return [turn["content"] for turn in one["messages"]]


@pytest.mark.parametrize(
    "kept",
    [
        *(None, 3, "x", {}, {"version": 0}, {"version": 1, "conversations": [{"no": 1}]}),
        {"version": 1, "conversations": True},
        {"version": 1, "current": [], "changed": "\ud800", "conversations": []},
        {"version": 1, "conversations": [{"messages": [{"role": [], "content": "x"}]}]},
    ],
)
def test_whatever_the_browser_kept_there_is_a_conversation(kept: Any) -> None:
    opened = talks.opened(kept)
    assert talks.current(opened)["messages"] == []
    json.dumps(opened, ensure_ascii=False).encode()


def test_what_was_kept_is_opened_as_it_was() -> None:
    first, second = talk("하나", "둘", title="첫"), talk("셋")
    kept = {**store(first, second), "current": second["id"]}
    again = talks.opened(json.loads(json.dumps(kept)))
    assert contents(talks.current(again)) == ["셋"]
    assert [one["title"] for one in again["conversations"]] == ["첫", "셋"]


def test_the_first_question_is_the_title_and_text_is_nfc() -> None:
    asked = talks.asked(talks.new_talk(), "  안녕? ")
    assert (asked["title"], contents(asked)) == ("안녕?", ["안녕?"])
    assert talks.asked(asked, "둘째")["title"] == "안녕?"


def test_editing_a_question_drops_what_followed_and_editing_an_answer_does_not() -> None:
    one = talk("가", "나", "다", "라")
    assert contents(talks.edited(one, 2, "바")) == ["가", "나", "바"]
    assert contents(talks.edited(one, 1, "바")) == ["가", "바", "다", "라"]
    assert contents(talks.edited(one, 9, "바")) == ["가", "나", "다", "라"]


def test_another_answer_is_asked_for_the_last_question() -> None:
    assert contents(talks.cut_before_answer(talk("가", "나", "다", "라"))) == ["가", "나", "다"]
    assert contents(talks.cut_before_answer(talk("가"))) == ["가"]


def test_questions_without_an_answer_are_sent_together() -> None:
    one = talks.asked(talks.asked(talk("가", "나"), "다"), "라")
    sent = talks.request_messages({**one, "system": " 짧게. "})
    assert [turn["role"] for turn in sent] == ["system", "user", "assistant", "user"]
    assert (sent[0]["content"], sent[-1]["content"]) == ("짧게.", "다\n\n라")


def test_an_empty_answer_is_not_kept() -> None:
    assert contents(talks.answered(talk("가"), {"content": "", "ended": "fault"})) == ["가"]


def test_the_oldest_go_when_there_is_no_more_room() -> None:
    old, older, new = talk("가" * 400_000), talk("나" * 400_000), talk("다" * 400_000)
    kept = talks.with_talk(store(old, older), new)
    assert [contents(one)[0][0] for one in kept["conversations"]] == ["다", "가"]
    assert talks.current(kept)["id"] == new["id"]


def test_none_goes_for_one_that_is_too_large_by_itself() -> None:
    large = talk("가" * 1_100_000)
    kept = talks.with_talk(store(talk("나")), large)
    assert [len(contents(one)[0]) for one in kept["conversations"]] == [1_100_000, 1]
    assert (talks.fits(large), talks.fits(talk("나"))) == (False, True)


def test_a_change_is_marked_and_opening_is_none() -> None:
    first = talks.with_talk(store(talk("가")), talk("나"))
    assert talks.opened(first)["changed"] == first["changed"] != ""
    assert talks.with_talk(first, talk("다"))["changed"] != first["changed"]
    assert talks.without_current(first)["changed"] != first["changed"]


def test_deleting_the_last_one_leaves_an_empty_one_with_its_settings() -> None:
    left = talks.without_current(store(talk("가", system="짧게.")))
    assert (talks.current(left)["messages"], talks.current(left)["system"]) == ([], "짧게.")


def test_a_new_one_is_not_made_beside_an_empty_one() -> None:
    empty = talks.new_talk()
    again = talks.started(store(talk("가"), empty))
    assert (again["current"], len(again["conversations"])) == (empty["id"], 2)


def test_an_unknown_one_is_not_chosen() -> None:
    one = store(talk("가"))
    assert talks.selected(one, "no such")["current"] == one["current"]


def test_import_takes_exports_and_lists_of_messages() -> None:
    one = talk("가", "나", title="제목", system="짧게.", settings={"temperature": 0.5, "odd": "x"})
    again = talks.imported("\ufeff" + json.dumps({"format": "komt-chat", **one}))
    assert (contents(again), again["title"], again["system"]) == (["가", "나"], "제목", "짧게.")
    assert again["settings"] == {"temperature": 0.5}
    assert again["id"] != one["id"]
    listed = [{"role": "system", "content": "짧게."}, {"role": "user", "content": "가"}]
    assert (contents(talks.imported(json.dumps(listed))), talks.imported(json.dumps(listed))["system"]) == (
        ["가"],
        "짧게.",
    )


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{", "import.no_json"),
        ("[" * 200_000, "import.no_json"),
        ("3", "import.no_messages"),
        ('{"messages": []}', "import.no_messages"),
        ('{"messages": [{"role": "robot", "content": "x"}]}', "import.bad_role"),
        ('[{"role": "user", "content": "x"}, {"role": "system", "content": "x"}]', "import.bad_role"),
        ('{"messages": [{"role": "user", "content": ["x"]}]}', "import.bad_content"),
        ('{"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}', "import.bad_content"),
        ('{"messages": [{"role": "user", "content": 5}]}', "import.bad_content"),
        (json.dumps([{"role": "user", "content": "가" * 1_100_000}]), "import.too_big"),
        ('{"messages": ["x"]}', "import.bad_role"),
        ('{"messages": [{"role": ["user"], "content": "x"}]}', "import.bad_role"),
        ('{"messages": [{"role": {}, "content": "x"}]}', "import.bad_role"),
    ],
)
def test_what_is_no_conversation_is_not_imported(text: str, why: str) -> None:
    with pytest.raises(talks.NotAConversation, match=why):
        talks.imported(text)


def test_text_parts_of_an_imported_turn_are_one_text() -> None:
    parts = [{"type": "text", "text": "가"}, {"type": "text", "text": "나"}]
    assert contents(talks.imported(json.dumps([{"role": "user", "content": parts}]))) == ["가나"]


def test_numbers_and_letters_that_are_none_do_no_harm() -> None:
    turn = {
        "role": "user",
        "content": "x \ud83d \ud83d\ude00",
        "speed": 10**400,
        "tokens": 3,
        "ended": "\udc00",
    }
    record = {"messages": [turn], "settings": {"temperature": 99, "seed": 1e400}, "created": math.nan}
    one = talks.imported(json.dumps({**record, "title": "\ud83d"}))
    assert (contents(one), one["title"], one["settings"]) == (["x � 😀"], "�", {"temperature": 2.0})
    assert one["messages"][0] == {"role": "user", "content": "x � 😀", "ended": "�", "tokens": 3}
    assert isinstance(one["created"], int)
    assert json.dumps(one, ensure_ascii=False).encode()
