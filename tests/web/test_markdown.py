from __future__ import annotations

import pytest

from komt.web.markdown import JOINER, as_written, shown


@pytest.mark.parametrize(
    ("text", "marked"),
    [
        ("<b>굵게</b>", "<|b>굵게<|/b>"),
        ("<script>x</script>", "<|script>x<|/script>"),
        ("<!-- 주석 --> <?php", "<|!-- 주석 --> <|?php"),
        ("![그림](http://example.com/a.png)", "!|[그림](http://example.com/a.png)"),
        ("`<b>` 그리고 <i>", "`<b>` 그리고 <|i>"),
        ("``a ` <b>`` <i>", "``a ` <b>`` <|i>"),
        ("```html\n<b>\n```\n<b>", "```html\n<b>\n```\n<|b>"),
        ("~~~\n```\n<b>\n~~~\n<b>", "~~~\n```\n<b>\n~~~\n<|b>"),
        ("````\n```\n<b>\n````\n<b>", "````\n```\n<b>\n````\n<|b>"),
        ("쓰는 중\n```py\nif a<b: '![x]", "쓰는 중\n```py\nif a<b: '![x]"),
        ("`닫히지 않은 <b>", "`닫히지 않은 <|b>"),
    ],
)
def test_tags_and_pictures_are_marked_outside_of_code(text: str, marked: str) -> None:
    assert shown(text) == marked.replace("|", JOINER)
    assert as_written(shown(text)) == text


@pytest.mark.parametrize(
    "text", ["1 < 2, a<1", "가<나>", "<br>", "<BR/>", "<https://example.com/a>", "[글](https://a.b)", "맞다!"]
)
def test_what_markdown_means_is_left_alone(text: str) -> None:
    assert shown(text) == text
