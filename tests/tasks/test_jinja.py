from __future__ import annotations

from typing import Any

import pytest

from komt.errors import DataError
from komt.tasks.jinja import fields_of, fill, only_field, reads_a_row

ROW: dict[str, Any] = {"id": "7", "n": "x", "tags": ["가", "나"], "meta": {"k": "값"}, "두 말": [{"a": 1}]}


@pytest.mark.parametrize(
    "text",
    [
        "{{ 1/0 }}",
        "{% for i in range(100000000) %}x{% endfor %}",
        "{{ n | round }}",
        "{{ n + 1 }}",
        "{{ n.nothing }}",
    ],
)
def test_whatever_fails_in_a_template_is_one_error_with_template_and_row(text: str) -> None:
    with pytest.raises(DataError, match="cannot be rendered") as error:
        fill(text, ROW, "task t, template one, answer")
    assert error.value.where == "task t, template one, answer, row 7"
    assert text in error.value.cure


def test_an_unknown_particle_pair_names_its_template() -> None:
    with pytest.raises(DataError, match="unknown particle pair 'x'") as error:
        fill("{{ n | josa('x') }}", ROW, "task t")
    assert error.value.where == "task t"


@pytest.mark.parametrize("text", ["{{ n", "{{ n | no_such_filter }}"])
def test_a_template_that_is_not_valid_is_an_error_wherever_it_is_looked_at(text: str) -> None:
    for look in (fields_of, reads_a_row, lambda text: fill(text, ROW, "t")):
        with pytest.raises(DataError, match="the template is not valid"):
            look(text)


@pytest.mark.parametrize(
    ("text", "what", "cure"),
    [
        ("{{ tags }}", "the field 'tags', which holds a list", '{{ tags | join(", ") }}'),
        ("{{ meta }}", "the field 'meta', which holds an object", "{{ meta.key }}"),
        ('{{ row["두 말"] }}', "the field '두 말', which holds a list", '{{ row["두 말"] | join(", ") }}'),
        ('{{ row["두 말"] | join(", ") }}', "prints an object", "{{ its_name.key }}"),
        ("{{ tags | map('upper') }}", "prints a list", "join"),
    ],
)
def test_a_template_never_prints_python_notation(text: str, what: str, cure: str) -> None:
    with pytest.raises(DataError) as error:
        fill(text, ROW, "t")
    assert what in error.value.what
    assert cure in error.value.cure


def test_lists_of_texts_are_joined_and_parts_are_printed() -> None:
    assert fill('{{ tags | join(", ") }} {{ meta.k }} {{ row["두 말"][0].a }}', ROW, "t") == "가, 나 값 1"
    assert fill("{{ row['두 말'] | join(', ', attribute='a') }}", ROW, "t") == "1"


def test_a_label_column_is_told_from_an_answer_around_it() -> None:
    assert [only_field(text) for text in ("{{ 분류 }}", ' {{ row["고객 분류"] }} ')] == ["분류", "고객 분류"]
    for text in (
        "{{ 분류 }}입니다",
        "{{ 분류 | trim }}",
        "{{ a }}{{ b }}",
        "{{ a[0] }}",
        "긍정",
        "{{ row }}",
    ):
        assert only_field(text) == ""


def test_a_prompt_without_a_column_is_known() -> None:
    assert reads_a_row("{% for k, v in row.items() %}{{ v }}{% endfor %}")
    assert reads_a_row("{{ 질문 }}")
    assert not reads_a_row("한 줄 쓰세요. {{ choices | join(', ') }}")


@pytest.mark.parametrize(
    "text", ["{{ 글 * 100000000 }}", "{{ 1000000000 * 글 }}", "{{ 9 ** 9999999 }}", "{{ [1] * 10000000 }}"]
)
def test_a_product_that_would_fill_the_memory_is_refused(text: str) -> None:
    with pytest.raises(DataError, match="too large"):
        fill(text, {"글": "가나다"}, "here")


def test_products_and_powers_of_small_things_are_made() -> None:
    assert (
        fill("{{ 글 * 2 }} {{ 3 * 4 }} {{ 2 ** 10 }} {{ 0.5 * 3 }}", {"글": "가"}, "here")
        == "가가 12 1024 1.5"
    )
