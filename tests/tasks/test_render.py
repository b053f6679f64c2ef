from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from komt.errors import DataError, UsageError
from komt.example import Example
from komt.sources import load_source, read_rows
from komt.tasks import TASKS, Task, UnusableRow, few_shot, load_task, prefaces, render
from komt.tasks.task import read_task_file

PASSAGE_TASKS = ("sample.qa", "sample.question", "sample.title", "sample.summary", "sample.keywords")


def make_task(prompt: str = "{{ q }}", answer: str = "{{ a }}", **more: Any) -> Task:
    values = {"name": "t", "family": "f", "source": "sample", "metrics": ["f1"], **more}
    template = {"id": "one", "kind": "plain", "prompt": prompt, "answer": answer}
    return Task.model_validate({"templates": [template], **values})


def examples(name: str, split: str = "train") -> list[Example]:
    task = load_task(name)
    rows = read_rows(load_source(task.source), split)
    return [render(task, row, 0) for row in rows if isinstance(row, dict)]


def test_every_task_has_three_phrasings_and_opens_with_its_command() -> None:
    for name in TASKS.names():
        assert len(load_task(name).templates) >= 3


def test_examples_over_one_passage_open_with_the_same_text_in_every_task() -> None:
    openings: dict[str, set[str]] = {}
    for name in PASSAGE_TASKS:
        for example in examples(name):
            if example.kind == "passage_first":
                text = example.messages[0].content
                opening = text[: text.index(".\n\n", text.index(". ")) + 1]
                openings.setdefault(example.group, set()).add(opening)
    assert len(openings) >= 30
    assert all(len(found) == 1 for found in openings.values())


def test_rows_over_one_passage_are_all_of_one_order_and_share_their_instruction() -> None:
    for name in PASSAGE_TASKS:
        kinds: dict[str, set[str]] = {}
        instructions: dict[str, set[str]] = {}
        for example in examples(name):
            kinds.setdefault(example.group, set()).add(example.kind)
            if example.kind == "instruction_first":
                instructions.setdefault(example.group, set()).add(example.template)
        assert all(len(found) == 1 for found in [*kinds.values(), *instructions.values()])


def test_every_preface_is_used_and_ends_in_the_passage() -> None:
    starts = {text.split("{{ passage }}")[0] for text in prefaces()}
    firsts = [item.messages[0].content for item in examples("sample.qa") if item.kind == "passage_first"]
    assert all(text.endswith("{{ passage }}") for text in prefaces())
    assert {
        start for start in starts if start and any(text.startswith(start) for text in firsts)
    } == starts - {""}


@pytest.mark.parametrize("name", PASSAGE_TASKS)
def test_a_quarter_of_the_examples_is_instruction_first(name: str) -> None:
    kinds = [example.kind for example in examples(name)]
    assert kinds.count("instruction_first") >= len(kinds) / 4
    assert kinds.count("passage_first") >= len(kinds) / 2


@pytest.mark.parametrize("start", [{}, {"a_start": ""}, {"a_start": "abc"}, {"a_start": "9" * 5000}])
def test_evidence_without_a_place_is_looked_for_in_the_passage(start: dict[str, str]) -> None:
    task = make_task("부산은?\n{{ context }}\n부산은?", evidence="a")
    example = render(task, {"id": "1", "context": "항구 도시는 부산이다.", "a": "부산", **start}, 0)
    at = example.evidence
    assert at is not None
    assert (at.start, at.end) == (12, 14)


def test_a_reference_that_is_a_text_is_one_answer() -> None:
    task = make_task(references="others")
    example = render(task, {"id": "1", "q": "수도는?", "a": "서울", "others": "서울특별시"}, 0)
    assert example.references == ("서울", "서울특별시")


def test_evidence_that_the_passage_does_not_hold_is_none() -> None:
    task = make_task("부산은?\n{{ context }}\n부산은?", evidence="a")
    assert render(task, {"id": "1", "context": "바다가 있다.", "a": "부산"}, 0).evidence is None


@pytest.mark.parametrize("name", ["sample.qa", "sample.question"])
def test_the_evidence_is_located_in_the_message(name: str) -> None:
    for example in examples(name):
        at = example.evidence
        assert at is not None
        span = example.messages[at.message].content[at.start : at.end]
        assert span in {example.messages[1].content, *span.split("\n")}
        if name == "sample.qa":
            assert span == example.messages[1].content


def test_the_passage_is_marked_for_shortening() -> None:
    rows = {row["id"]: row for row in read_rows(load_source("sample"), "train") if isinstance(row, dict)}
    for example in examples("sample.qa"):
        message, start, end = example.metadata["passage"]
        row = rows[example.id.removeprefix("sample.qa:")]
        assert example.messages[message].content[start:end] == row["context"]
    assert all("passage" not in example.metadata for example in examples("sample.closed_book"))


def test_phrasing_and_order_of_choices_depend_on_seed_and_row_only() -> None:
    assert examples("sample.sentiment") == examples("sample.sentiment")
    task, rows = load_task("sample.sentiment"), list(read_rows(load_source("sample-sentiment"), "train"))
    row = rows[0]
    assert isinstance(row, dict)
    assert len({render(task, row, seed).template for seed in range(30)}) == len(task.templates)


def test_choices_are_in_the_order_shown() -> None:
    for example in examples("sample.inference"):
        assert example.answer_index is not None
        assert example.choices[example.answer_index] == example.messages[1].content
        if example.template == "listed":
            assert example.messages[0].content.endswith("보기: " + ", ".join(example.choices))


def test_a_closed_book_prompt_does_not_show_the_passage() -> None:
    rows = list(read_rows(load_source("sample"), "test"))
    for row in rows:
        assert isinstance(row, dict)
        example = render(load_task("sample.closed_book"), row, 0)
        assert row["context"] not in example.messages[0].content


def test_prompts_never_end_in_white_space() -> None:
    example = render(make_task("{{ q }}"), {"id": "1", "q": " 무엇? \n", "a": " 답 "}, 0)
    assert [message.content for message in example.messages] == ["무엇?", "답"]


def test_a_field_that_is_not_there_is_named_with_those_that_are() -> None:
    with pytest.raises(DataError) as error:
        render(make_task("{{ qestion }}"), {"id": "1", "question": "?", "a": "x"}, 0)
    text = str(error.value)
    assert "'qestion'" in text
    assert "did you mean 'question'?" in text
    assert "task t, template one, prompt" in text
    assert "the fields are: question, a" in text


def test_a_column_of_two_words_is_reached_through_row() -> None:
    row = {"id": "1", "고객 문의": "왜?", "a": "답"}
    assert render(make_task('{{ row["고객 문의"] }}'), row, 0).messages[0].content == "왜?"
    with pytest.raises(DataError, match="'고객 물의'"):
        render(make_task('{{ row["고객 물의"] }}'), row, 0)
    with pytest.raises(DataError, match="not valid") as error:
        render(make_task("{{ 고객 문의 }}"), row, 0)
    assert 'row["its name"]' in error.value.cure


@pytest.mark.parametrize(
    "text", ["{{ ().__class__.__mro__ }}", "{{ q.__class__.__base__.__subclasses__() }}"]
)
def test_templates_cannot_leave_the_sandbox(text: str) -> None:
    with pytest.raises(DataError):
        render(make_task(text + "{{ q }}"), {"id": "1", "q": "?", "a": "x"}, 0)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"q": " ", "a": "x"}, "empty_prompt"),
        ({"q": "?", "a": ""}, "empty_answer"),
    ],
)
def test_empty_fields_make_no_example(row: dict[str, str], reason: str) -> None:
    with pytest.raises(UnusableRow) as error:
        render(make_task("물음: {{ q }}"), {"id": "1", **row}, 0)
    assert error.value.reason == reason


def test_a_field_inside_an_if_may_be_empty() -> None:
    task = make_task("{{ q }}{% if more %}\n{{ more }}{% endif %}")
    assert render(task, {"id": "1", "q": "?", "more": "", "a": "x"}, 0).messages[0].content == "?"


def test_labels_are_shown_as_their_words_and_others_rejected() -> None:
    task = make_task("{{ q }}", "{{ choice }}", choices={"0": "부정", "1": "긍정"})
    assert render(task, {"id": "1", "q": "?", "label": "1 "}, 0).messages[1].content == "긍정"
    with pytest.raises(UnusableRow) as error:
        render(task, {"id": "1", "q": "?", "label": "2"}, 0)
    assert error.value.reason == "unknown_label"


def test_few_shot_takes_different_passages_and_balanced_labels() -> None:
    shots = few_shot(load_task("sample.qa"), 5, 0)
    assert len({shot.group for shot in shots}) == 5
    assert shots == few_shot(load_task("sample.qa"), 5, 0)
    assert {shot.split for shot in shots} == {"train"}
    labels = [shot.references[0] for shot in few_shot(load_task("sample.sentiment"), 6, 0)]
    assert sorted(labels) == ["긍정"] * 3 + ["부정"] * 3
    with pytest.raises(DataError, match="only 60 examples"):
        few_shot(load_task("sample.title"), 61, 0)


def test_a_task_takes_over_what_another_says(tmp_path: Any) -> None:
    (tmp_path / "a.yaml").write_text(
        "family: f\nsource: sample\nmetrics: [f1]\n"
        "templates: [{id: one, kind: plain, prompt: '{{ q }}', answer: '{{ a }}'}]\n"
    )
    (tmp_path / "b.yaml").write_text("like: a\nfamily: g\n")
    (tmp_path / "c.yaml").write_text("like: d\n")
    task = read_task_file(tmp_path / "b.yaml")
    assert (task.name, task.family, task.templates[0].id) == ("b", "g", "one")
    with pytest.raises(UsageError, match="like: d names no other task file"):
        read_task_file(tmp_path / "c.yaml")


def test_a_wrong_task_file_reports_all_mistakes(tmp_path: Any) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(
        "familly: f\nsource: sample\nmetrics: []\n"
        "templates: [{id: one, kind: passage_first, prompt: '{{ q }}', answer: x}]\n"
    )
    with pytest.raises(UsageError) as error:
        read_task_file(path)
    text = str(error.value)
    assert "familly: unknown key; did you mean 'family'?" in text
    assert "starts with '{{ preface }}'" in text
    assert "metrics" in text


@pytest.mark.parametrize(
    ("template", "what"),
    [
        ("{id: one, kind: plain, prompt: '{{ q }}', answer: x}", "two templates have the same id 'one'"),
        ("{id: two, kind: options, prompt: '{{ q }}', answer: x}", "'two': the kind options needs choices"),
        ("{id: two, kind: passage_first, prompt: '{{ q }}', answer: x}", "template 'two': a passage_first"),
    ],
)
def test_a_mistake_between_keys_names_the_template_and_repeats_no_task(
    tmp_path: Any, template: str, what: str
) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(
        "family: f\nsource: sample\nmetrics: [f1]\n"
        "templates:\n"
        f"  - {{id: one, kind: plain, prompt: '{{{{ q }}}}, {'긴 말 ' * 30}', answer: x}}\n"
        f"  - {template}\n"
    )
    with pytest.raises(UsageError) as error:
        read_task_file(path)
    text = str(error.value)
    assert what in text
    for word in ("value error", "긴 말", "- :"):
        assert word not in text.casefold()


def test_catalogue_prompts_differ_between_phrasings() -> None:
    for name in TASKS.names():
        prompts = sorted(template.prompt for template in load_task(name).templates)
        assert all(first != second for first, second in pairwise(prompts))


def choice_task(**more: Any) -> Task:
    template = {"id": "o", "kind": "options", "prompt": "{{ q }}\n{{ options }}\n{{ answer_form }}"}
    values = {"name": "t", "family": "f", "source": "sample", "metrics": ["accuracy"]}
    return Task.model_validate({**values, "templates": [{**template, "answer": "{{ choice }}"}], **more})


def test_options_are_shown_as_words_numbers_or_letters_and_the_answer_in_kind() -> None:
    task = choice_task(choices={0: "아니요", 1: "예"})
    forms = set()
    for number in range(60):
        example = render(task, {"id": str(number), "q": "물음", "label": 1}, 0)
        assert example.answer_index is not None
        _, *lines, form = example.messages[0].content.split("\n")
        right = lines[example.answer_index]
        answer = example.messages[1].content
        assert right in (f"{answer}. 예", f"- {answer}")
        assert ("번호" in form, "기호" in form) == (answer in "12", answer in "AB가나")
        assert example.choices[example.answer_index] == "예"
        forms.add(answer)
    assert forms == {"예", "1", "2", "A", "B", "가", "나"}


def test_choices_of_a_row_come_from_its_fields_and_equal_ones_are_rejected() -> None:
    task = choice_task(choice_fields={1: "one", 2: "two"})
    example = render(task, {"id": "a", "q": "물음", "one": "비가 왔다", "two": "눈이 왔다", "label": "2"}, 0)
    assert sorted(example.choices) == ["눈이 왔다", "비가 왔다"]
    assert example.choices[example.answer_index or 0] == "눈이 왔다"
    with pytest.raises(UnusableRow) as caught:
        render(task, {"id": "a", "q": "물음", "one": "비", "two": "비", "label": "2"}, 0)
    assert caught.value.reason == "equal_choices"


def test_labels_of_one_word_are_one_choice_and_skipped_labels_are_told() -> None:
    task = choice_task(choices={"9": "긍정", "10": "긍정", "1": "부정"}, skip=[5])
    assert set(render(task, {"id": "a", "q": "물음", "label": "9"}, 0).choices) == {"긍정", "부정"}
    with pytest.raises(UnusableRow) as caught:
        render(task, {"id": "a", "q": "물음", "label": 5}, 0)
    assert caught.value.reason == "skipped_label"


def test_a_template_is_used_only_for_the_rows_it_fits() -> None:
    plain = {"kind": "plain", "answer": "{{ a }}"}
    templates = [
        {**plain, "id": "with", "prompt": "{{ q }} ({{ hint }})", "when": "hint"},
        {**plain, "id": "kind", "prompt": "{{ q }}!", "when": {"type": ["x", "y"]}},
    ]
    task = make_task().model_copy(update={"templates": make_task(templates=templates).templates})
    assert render(task, {"id": "1", "q": "ㄱ", "a": "ㄴ", "hint": "ㄷ", "type": "z"}, 0).template == "with"
    assert render(task, {"id": "1", "q": "ㄱ", "a": "ㄴ", "hint": "", "type": "y"}, 0).template == "kind"
    with pytest.raises(UnusableRow) as caught:
        render(task, {"id": "1", "q": "ㄱ", "a": "ㄴ", "hint": "", "type": "z"}, 0)
    assert caught.value.reason == "no_template"


def test_words_of_a_task_can_be_looked_up_in_its_templates() -> None:
    task = make_task("{{ words[type] }}", words={"PS": "사람"})
    assert render(task, {"id": "1", "type": "PS", "a": "가"}, 0).messages[0].content == "사람"


def test_a_task_derives_fields_of_a_row_in_order_and_chooses_phrasings_by_them() -> None:
    task = make_task(
        derive={"asked": "{{ words[types[0]] }} ", "found": "{{ asked | josa('이/가') }}"},
        words={"PS": "사람", "LC": "장소"},
        templates=[
            {
                "id": "a",
                "kind": "plain",
                "prompt": "{{ asked }}",
                "answer": "{{ found }}",
                "when": {"asked": "사람"},
            },
            {
                "id": "b",
                "kind": "plain",
                "prompt": "{{ asked }}?",
                "answer": "{{ found }}",
                "when": {"asked": "장소"},
            },
        ],
    )
    person = render(task, {"id": "1", "types": ["PS", "LC"]}, 0)
    assert (person.template, person.messages[0].content, person.messages[1].content) == (
        "a",
        "사람",
        "사람이",
    )
    assert render(task, {"id": "2", "types": ["LC"]}, 0).messages[1].content == "장소가"
    with pytest.raises(DataError, match="'types'") as caught:
        render(task, {"id": "3", "kinds": ["LC"]}, 0)
    assert "derived field asked" in caught.value.where


@pytest.mark.parametrize("key", ["group", "passage", "evidence", "references", "when"])
def test_a_named_field_that_the_rows_lack_is_told_as_soon_as_one_is_rendered(key: str) -> None:
    task = make_task(**({} if key == "when" else {key: "grop"}))
    if key == "when":
        template = task.templates[0].model_copy(update={"when": {"grop": ("x",)}})
        task = task.model_copy(update={"templates": (template,)})
    row = {"id": "7", "q": "물음", "a": "답", "group": "g"}
    with pytest.raises(DataError, match=f"`{key}` names a field 'grop' .* did you mean 'group'") as error:
        render(task, row, 0)
    assert error.value.where == "task t, row 7"
    assert "the fields are: q, a, group" in error.value.cure


def test_a_passage_first_phrasing_needs_the_passage_even_where_it_is_the_usual_one() -> None:
    template = {"id": "one", "kind": "passage_first", "prompt": "{{ preface }}{{ q }}", "answer": "{{ a }}"}
    task = make_task(templates=[template])
    with pytest.raises(DataError, match=r"`passage` names a field 'context' .* did you mean 'contxt'"):
        render(task, {"id": "7", "q": "물음", "a": "답", "contxt": "글"}, 0)
    assert make_task().named_fields == {}
    assert make_task(passage="").named_fields == {}
