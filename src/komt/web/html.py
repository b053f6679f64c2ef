"""Pieces of the page as HTML, from Jinja templates that escape whatever comes from data."""

from __future__ import annotations

from functools import lru_cache
from html import escape
from pathlib import Path
from typing import Any

import jinja2

from komt.mix.report import words as report_words
from komt.mix.report_plots import bar
from komt.web.runs import Unreadable
from komt.web.text import Words


def render(name: str, words: Words, **values: Any) -> str:
    """The piece called `name` (NAME.html.jinja), in the language of the words."""
    template = _environment().get_template(f"{name}.html.jinja")

    def named(key: str, kind: str) -> str:
        """What a thing of the data is called: in Korean where it has such a name."""
        return report_words()[kind].get(key, key) if words.language == "ko" else key.replace("_", " ")

    def percent(share: float) -> str:
        """A share as each language writes it."""
        text = "<0.1 %" if 0 < share < 0.0005 else f"{share * 100:.1f} %"
        return text.replace(" ", "") if words.language == "ko" else text

    return template.render(words=words, named=named, bar=bar, percent=percent, **values)


def alert(text: str) -> str:
    """A message that a screen reader speaks at once, or nothing."""
    return f'<div role="alert">{escape(text)}</div>' if text else ""


def told(words: Words, error: Unreadable) -> str:
    """What could not be shown, as an alert."""
    return alert(words(error.key, **error.values))


@lru_cache(maxsize=1)
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = lambda value: f"{value:,}"
    return environment
