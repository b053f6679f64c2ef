"""How answers in a form are read: lines, lists, nothing found.

Differences of form are passed over, none of content.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

from komt.korean import nfc

# What stands around a word without being of it.
_AROUND = " \t\"'`*“”‘’「」『』《》〈〉"
_BULLET = re.compile(r"^\s*(?:[-*](?=\s)|[•·▪▶◦]|\(?\d{1,2}[.)](?!\d)|[①-⑳])\s*(?=\S)")
_FENCE = re.compile(r"^\s*```\w*\s*$")
# A comma between digits belongs to a number: 1,000명.
_SEPARATOR = re.compile(r"\s*(?:(?<!\d),|,(?!\d)|[，、;])\s*")
_NOTHING = re.compile(
    r"\W*(?:(?:해당(?:하는|되는)?|찾을|나오는|나타난|언급된)\s*)?"
    r"(?:(?:개체명?|개체|말|것|항목|슬롯|조건|값|내용|표현|종류|단어|어절|사항)[은는이가]?\s*)?(?:전혀\s*)?(?:모두\s*)?"
    r"(?:해당\s*)?없(?:음|습니다|어요|다|음요)\W*|\W*none\W*|\[\s*\]|\{\s*\}",
    re.IGNORECASE,
)


def bare(text: str) -> str:
    """A word or value as it is compared: NFC, single spaces, no quotes or emphasis around it."""
    return " ".join(nfc(text).strip(_AROUND).split())


def lines_of(answer: str) -> Iterator[str]:
    """The lines of an answer that are not empty, without bullets, numbers, bold marks and fences."""
    for line in nfc(answer).splitlines():
        if line.strip() and not _FENCE.match(line):
            yield " ".join(_BULLET.sub("", line.replace("**", "")).split())


def says_nothing(answer: str) -> bool:
    """Whether an answer says that there is nothing to be found: 없음, ‘없음’., 해당 없음, 없습니다, []."""
    lines = list(lines_of(answer))
    return len(lines) == 1 and _NOTHING.fullmatch(lines[0]) is not None


def items_of(text: str, known: Collection[str] = ()) -> list[str]:
    """The items of a list with commas, semicolons or 、 between them.

    Args:
        text: one line.
        known: items that may have a separator within.
    """
    items: list[str] = []
    whole = sorted((item for item in known if _SEPARATOR.search(item)), key=len, reverse=True)
    rest = text.strip()
    while rest:
        item = next((one for one in whole if _starts(rest, one)), None)
        if item is None:
            at = _SEPARATOR.search(rest)
            item, rest = (rest[: at.start()], rest[at.end() :]) if at else (rest, "")
        else:
            rest = _SEPARATOR.sub("", rest[len(item) :], count=1).lstrip()
        if bare(item):
            items.append(bare(item))
    return items


def _starts(text: str, item: str) -> bool:
    after = text[len(item) :]
    return text.startswith(item) and (not after.strip() or _SEPARATOR.match(after) is not None)
