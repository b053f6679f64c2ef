"""What a training row must be: mended where that is possible, otherwise left out with a reason."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import NamedTuple

from komt.korean import COMMON_SYLLABLES, hangul_share
from komt.mix import personal
from komt.mix.clean import holds_code, is_mojibake, remove_html, remove_unseen, to_nfc
from komt.recipe import QualityPart

Place = tuple[int, int]
_Texts = tuple[tuple[str, ...], tuple[str, ...], tuple[Place, ...]]

# Everyday characters: a text of these alone needs no mending, and was read in the right encoding.
_ODD = re.compile(
    "[^\t\n -%'-?A-~ㄱ-ㅣ·×÷°′″‘’“”…‥–—→←↑↓♡♥★☆●○■□▲△▼▽◆◇※~～℃①-⑳、。〈-】"
    + "".join(sorted(COMMON_SYLLABLES))
    + "]"
)
# What a tag or a comment begins with; ‘<보기>’ is none.
_TAG = re.compile("<[A-Za-z/!]")
# Families whose answers may well be one letter long: a span, a name, a tag, a label of one's own.
_ONE_LETTER = frozenset(
    (
        *("extractive_qa", "closed_book_qa", "table_qa", "entities", "dependency", "key_phrase"),
        *("dialogue_state", "word_sense", "own"),
    )
)
# Families whose answers are lists, and repeat what lists repeat.
_LISTS = frozenset({"dependency", "entities", "dialogue_state"})
# A code point that is no character, and never will be.
_MARK = "\ufdd0"
_LEAST_CHARACTERS = 40
_DISTINCT = 12
_ENOUGH_CHARACTERS = 240
_LEAST_WORDS = 15
_LONGEST_LOOP = 50
_MANY_WORDS = 0.6
_IN_LOOP = 0.75
_REPEATED_LINES = 0.5


class Checked(NamedTuple):
    """What becomes of a row.

    Attributes:
        reason: why it is left out, or "".
        texts, others: the texts, mended; the same objects where nothing had to be done.
        places: the places that were given, in the mended texts.
        cleanings: what was mended: nfc, control, html, and the kinds of personal data.
    """

    reason: str
    texts: tuple[str, ...]
    others: tuple[str, ...]
    places: tuple[Place, ...]
    cleanings: frozenset[str]


def check(
    texts: Sequence[str],
    family: str,
    kind: str,
    has_choices: bool,
    quality: QualityPart,
    *,
    asked: str = "",
    others: Sequence[str] = (),
    places: Sequence[Place] = (),
) -> Checked:
    """Mend the texts of a row, or say why it is left out.

    Args:
        texts: the messages, the answer last.
        family: of the task; some families may be foreign, or have answers of one letter.
        kind: of the template.
        has_choices: whether the answer is one of given choices.
        quality: which filters do what.
        asked: what the row itself asks, without the words of the template; language, repetition and length
            are measured on it and the answer. Default: the messages before the answer.
        others: texts that go along, as further references: mended, not judged.
        places: (text, character) pairs that are to be found again in the mended texts.

    Reasons: mojibake, html, personal_data, short_answer, too_short, too_long, language, repetition.
    """
    found: _Texts = tuple(texts), tuple(others), tuple(places)
    cleanings = frozenset[str]()
    code = False
    whole = "\n".join((*texts, *others))
    tagged = "<" in whole and _TAG.search(whole)
    ordinary = not (tagged or _ODD.search(whole) or personal.DIGITS.search(whole))
    if not ordinary:
        code = holds_code("\n".join((asked, texts[-1], *others)) if asked else whole)
        reason = _beyond_mending(whole, code, quality)
        if reason:
            return Checked(reason, *found, cleanings)
        found, cleanings = _mended(found, code, quality)
        if quality.personal == "drop" and cleanings & personal.PLACEHOLDERS.keys():
            return Checked("personal_data", *found, cleanings)
        asked = mend(asked, quality, code=code)[0]
    reason = _judged(found[0], family, kind, has_choices, quality, asked, ordinary, code)
    return Checked(reason, *found, cleanings)


def mend(text: str, quality: QualityPart, *, code: bool = False) -> tuple[str, frozenset[str]]:
    """A text as it should be, and what was done: nfc, control, html, and the kinds of personal data.

    Args:
        text: any text.
        quality: what is to be mended.
        code: whether the row shows code, whose tags are its content.
    """
    done = set[str]()
    mended = text
    if quality.html == "clean" and not code:
        mended = remove_html(text)
        done |= {"html"} - ({"html"} if mended == text else set())
    seen = remove_unseen(mended)
    done |= {"control"} - ({"control"} if seen == mended else set())
    normal = to_nfc(seen)
    done |= {"nfc"} - ({"nfc"} if normal == seen else set())
    if quality.personal == "keep":
        return normal, frozenset(done)
    masked, kinds = personal.mask(normal)
    return masked, frozenset(done) | kinds


def source_reason(licence: str, origin: str, quality: QualityPart, origins: Sequence[str]) -> str:
    """Why no row of a source may be used: `licence`, `origin`, or "" when they may."""
    if origin not in origins:
        return "origin"
    name = licence.lower()
    if any(fnmatchcase(name, pattern.lower()) for pattern in quality.not_licences):
        return "licence"
    allowed = not quality.licences or any(fnmatchcase(name, each.lower()) for each in quality.licences)
    return "" if allowed else "licence"


def repeats_itself(text: str) -> bool:
    """Whether a text says the same again and again: a few letters, the same lines, words in a loop.

    In the spirit of Rae et al. 2021 (Gopher), table A1; but its shares of n-grams would take pairs of
    sentences, choices and lists for repetition, so words have to come again at one distance, as in a loop.
    """
    size = len(text)
    if size < _LEAST_CHARACTERS:
        return False
    distinct = len(set(text))
    if distinct * _DISTINCT < min(size, _ENOUGH_CHARACTERS) and 2 * sum(map(str.isalpha, text)) > size:
        return True
    words = text.split()
    if len(words) < _LEAST_WORDS or len(set(words)) >= _MANY_WORDS * len(words):
        return False
    words = [word for word in words if len(word) > 1 or word.isalnum()]
    lines = [line for line in map(str.strip, text.split("\n")) if line]
    again = sum(map(len, lines)) - sum(map(len, set(lines)))
    return (len(lines) >= 5 and again > _REPEATED_LINES * size) or _in_loop(words)


def _beyond_mending(whole: str, code: bool, quality: QualityPart) -> str:
    if quality.mojibake == "drop" and is_mojibake(whole):
        return "mojibake"
    if quality.html == "keep" or code:
        return ""
    plain = remove_html(whole)
    if plain == whole:
        return ""
    return "html" if quality.html == "drop" or len(plain) < 0.5 * len(whole) else ""


def _mended(found: _Texts, code: bool, quality: QualityPart) -> tuple[_Texts, frozenset[str]]:
    texts, others, places = found
    done = frozenset[str]()
    new = []
    for text in (*texts, *others):
        mended, what = mend(text, quality, code=code)
        new.append(mended)
        done |= what
    moved = [
        (text, at if new[text] == texts[text] else _moved(texts[text], at, new[text], code, quality))
        for text, at in places
    ]
    return (tuple(new[: len(texts)]), tuple(new[len(texts) :]), tuple(moved)), done


def _moved(text: str, at: int, mended: str, code: bool, quality: QualityPart) -> int:
    """Where a place of a text is after mending: found by a mark that is put there."""
    marked = mend(f"{text[:at]}{_MARK}{text[at:]}", quality, code=code)[0]
    if marked.replace(_MARK, "") == mended and _MARK in marked:
        return marked.index(_MARK)
    # The place was in the midst of what was mended.
    return min(len(mend(text[:at], quality, code=code)[0]), len(mended))


def _judged(
    texts: tuple[str, ...],
    family: str,
    kind: str,
    has_choices: bool,
    quality: QualityPart,
    asked: str,
    ordinary: bool,
    code: bool,
) -> str:
    answer = texts[-1]
    asked = asked or "\n".join(texts[:-1])
    if quality.short_answer == "drop" and not has_choices and _says_nothing(answer, family, kind):
        return "short_answer"
    if len(asked) < quality.min_characters:
        return "too_short"
    if len(asked) > quality.max_characters or len(answer) > quality.max_characters:
        return "too_long"
    said = asked if has_choices else f"{asked}\n{answer}"
    if family not in quality.any_language and not _in_language(said, quality, ordinary):
        return "language"
    if quality.repetition == "drop" and not code and (repeats_itself(asked) or repeats_itself(answer)):
        return "repetition"
    return ""


def _says_nothing(answer: str, family: str, kind: str) -> bool:
    if len(answer) > 1 and (answer[0].isalnum() or answer[-1].isalnum()):
        return False
    letters = set(answer) - {" ", "\n"}
    if len(answer.strip()) == 1:
        named = family in _ONE_LETTER and kind != "inverted" and answer.strip().isalnum()
        return not (named or answer.strip().isdigit())
    # Nothing at all, or a line of dashes.
    return not letters or (len(letters) == 1 and not any(map(str.isalnum, letters)))


def _in_language(text: str, quality: QualityPart, ordinary: bool) -> bool:
    if ordinary and quality.min_hangul <= 0.5 and quality.max_hangul >= 1:
        # Hangul takes three bytes: where most characters do, the letters need not be counted.
        wide = (len(text.encode("utf-8", "surrogatepass")) - len(text)) // 2
        if 2 * wide >= len(text):
            return True
    return quality.min_hangul <= hangul_share(text) <= quality.max_hangul


def _in_loop(words: list[str]) -> bool:
    """Whether most words stand at one distance after themselves; never so in two texts that are alike."""
    return any(
        sum(map(str.__eq__, words, words[distance:])) > _IN_LOOP * len(words)
        for distance in range(1, min(_LONGEST_LOOP, len(words) // 3) + 1)
    )
