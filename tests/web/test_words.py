from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

import komt.web
from komt.korean import hangul_share
from komt.web.text import Words, preferred

KOREAN, ENGLISH = Words("ko"), Words("en")
SOURCES = Path(komt.web.__file__).parent
FILES = [*SOURCES.glob("*.py"), *SOURCES.glob("*.jinja")]


def test_both_languages_have_all_words_with_the_same_places_to_fill() -> None:
    record = yaml.safe_load((SOURCES / "words.yaml").read_text(encoding="utf-8"))
    assert {tuple(text) for text in record.values()} == {("ko", "en")}
    korean, english = KOREAN._texts, ENGLISH._texts
    assert set(korean) == set(english)
    for key, text in korean.items():
        assert text, key
        assert set(re.findall(r"{(\w+)", text)) == set(re.findall(r"{(\w+)", english[key])), key


def test_every_key_that_is_used_exists() -> None:
    used = {key for file in FILES for key in re.findall(r'words\("([\w.]+)"[,)]', file.read_text("utf-8"))}
    assert used - set(KOREAN._texts) == set()
    assert len(used) > 60


def test_korean_sentences_are_korean() -> None:
    sentences = [text for key, text in KOREAN._texts.items() if text.endswith(".") and "example" not in key]
    assert len(sentences) > 30
    for text in sentences:
        plain = re.sub(r"[{(`].*?[})`]|[A-Za-z+/-]+", "", text)
        assert hangul_share(plain) > 0.9, text
        assert re.search(r"[다요](\(\{\w+\}\))?\)?\.$", text), text


@pytest.mark.parametrize(
    ("header", "language"),
    [
        ("ko-KR,ko;q=0.9,en-US;q=0.8", "ko"),
        ("ko", "ko"),
        ("en-US,en;q=0.9,ko;q=0.8", "en"),
        ("ja,ko;q=0.5", "ko"),
        ("fr", "en"),
        ("", "en"),
        ("ko;q=0", "en"),
        ("ko;q=x,en;q=0.1", "en"),
    ],
)
def test_the_language_that_a_browser_prefers(header: str, language: str) -> None:
    assert preferred(header) == language
