"""Every word of the page, from `words.yaml`: Korean and English side by side."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Literal

import yaml

from komt.web.client import ApiFault

Language = Literal["ko", "en"]
LANGUAGES: tuple[Language, ...] = ("ko", "en")


class Words:
    """The words of one language: `words("chat.send")`, with values for what stands in braces."""

    def __init__(self, language: Language) -> None:
        self.language = language
        self._texts = _texts()[language]

    def __call__(self, key: str, **values: object) -> str:
        """The text for a key, which must exist."""
        text = self._texts[key]
        return text.format(**values) if values else text

    def named(self, key: str, default: str) -> str:
        """The text for a key, or `default` where there is none: for names that come with the data."""
        return self._texts.get(key, default)

    def fault(self, fault: ApiFault, address: str, *, begun: bool = True) -> str:
        """What went wrong with the API, for the person before the page, in Markdown-free text.

        Args:
            fault: what it is.
            address: the API's.
            begun: whether something of the answer had come.
        """
        key = "cut_early" if fault.kind == "cut" and not begun else fault.kind
        text = self(f"fault.{key}", address=address)
        return f"{text} {self('fault.said', detail=fault.detail)}" if fault.detail else text


@lru_cache(maxsize=1)
def _texts() -> dict[Language, dict[str, str]]:
    path = Path(__file__).with_name("words.yaml")
    record: Mapping[str, Mapping[str, str]] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return {
        language: {key: str(text[language]).strip() for key, text in record.items()} for language in LANGUAGES
    }


def preferred(accept_language: str) -> Language:
    """The page's language for an Accept-Language header: Korean where it ranks before English, else English.

    Source: RFC 9110, 12.5.4.
    """
    best: dict[str, float] = {}
    for part in accept_language.split(","):
        tag, _, rest = part.strip().partition(";")
        weight = rest.strip().removeprefix("q=") if rest else "1"
        try:
            q = float(weight)
        except ValueError:
            q = 0.0
        name = tag.strip().lower().partition("-")[0]
        best[name] = max(best.get(name, 0.0), q)
    return "ko" if best.get("ko", 0.0) > 0 and best.get("ko", 0.0) >= best.get("en", 0.0) else "en"
