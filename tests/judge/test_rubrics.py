"""Rubrics: all bundled ones ask as they promise; one's own are a file."""

import pytest

from komt.errors import KomtError, UsageError
from komt.judge import rubric as rubrics
from komt.judge.items import Answered
from komt.judge.questions import Question, bundled
from komt.judge.rubric import RUBRICS, add_folder_beside, load_rubrics, read_rubric_file

QUESTION = Question("q", "상식", ("하늘은 왜 파란가요?", "노을은요?"), (("레일리 산란",), ("빛의 경로",)))
ONE = Answered(QUESTION, "가", ("산란 때문입니다.", "경로가 길어서입니다."))
TWO = Answered(QUESTION, "나", ("바다가 비쳐서입니다.", "{{ question }} 모릅니다."))


@pytest.mark.parametrize("name", RUBRICS.names())
def test_a_prompt_shows_what_is_judged_and_the_form_that_is_read(name):
    rubric = RUBRICS.get(name)
    other = TWO if rubric.kind == "pair" else None
    messages = rubric.messages(ONE, other, "ab" if other else "")
    text = messages[-1].content
    assert [message.role for message in messages] == ["system", "user"]
    assert QUESTION.turns[rubric.turn - 1] in text
    assert ONE.answers[rubric.turn - 1] in text
    assert ("참고 사항" in text) == rubric.shows_points
    bare = Answered(Question("q", "", QUESTION.turns, ()), "가", ONE.answers)
    assert "참고 사항" not in rubric.messages(bare, other, "ab" if other else "")[-1].content
    assert ("[[A]]" in text and "[[C]]" in text) if other else "점수: (" in text
    assert "\n\n\n" not in text
    # What an answer says is text, never a template.
    if other:
        assert TWO.answers[rubric.turn - 1] in text


def test_both_orders_show_the_same_answers_the_other_way_round():
    [pair] = load_rubrics(["pair"])
    first, second = (pair.messages(ONE, TWO, order)[-1].content for order in ("ab", "ba"))
    assert first.index(ONE.answers[0]) < first.index(TWO.answers[0])
    assert second.index(TWO.answers[0]) < second.index(ONE.answers[0])
    assert sorted(first) == sorted(second)


def test_bundled_questions_fit():
    [single, two] = load_rubrics(["single", "two-turn"])
    for question in bundled():
        item = Answered(question, "가", tuple("답" for _ in question.turns))
        assert single.fits(item)
        assert two.fits(item) == (len(question.turns) == 2)


def test_ones_own_rubric_is_a_file(tmp_path):
    folder = tmp_path / "rubrics"
    folder.mkdir()
    file = folder / "polite.yaml"
    file.write_text(
        "title: 공손함\nkind: score\nscale: [0, 3]\n"
        'prompt: "질문: {{ question }} 답: {{ answer }} 점수는?"\n',
        encoding="utf-8",
    )
    assert load_rubrics([str(file)])[0].messages(ONE)[-1].content.endswith("답: 산란 때문입니다. 점수는?")
    add_folder_beside(tmp_path)
    assert RUBRICS.get("polite").scale == (0, 3)
    add_folder_beside(tmp_path / "nothing")
    assert "polite" not in RUBRICS
    file.rename(folder / "single.yaml")
    with pytest.raises(KomtError, match="registered twice"):
        add_folder_beside(tmp_path)
    add_folder_beside(tmp_path / "nothing")
    assert rubrics.FOLDER.is_dir()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("title: x\nkind: score\nprompt: '{{ question }} {{ answer }}'", "has a scale"),
        (
            "title: x\nkind: pair\nscale: [1, 2]\nprompt: '{{ question }} {{ answer_a }} {{ answer_b }}'",
            "has none",
        ),
        ("title: x\nkind: score\nscale: [5, 0]\nprompt: '{{ question }} {{ answer }}'", "lowest score"),
        ("title: x\nkind: score\nscale: [0, 5]\nprompt: '{{ question }}'", "does not show 'answer'"),
        ("title: x\nkind: score\nscale: [0, 5]\nprompt: '{{ question }} {{ answr }}'", "reads 'answr'"),
        ("title: x\nkind: score\nscale: [0, 5]\nprompts: '{{ question }}'", "did you mean 'prompt'"),
    ],
)
def test_mistakes_in_a_rubric_are_told(tmp_path, text, message):
    path = tmp_path / "r.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match=message):
        read_rubric_file(path)
