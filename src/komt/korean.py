"""Korean text: NFC, particles (josa), Hangul share, KorQuAD answer normalisation."""

from __future__ import annotations

import re
import string
import unicodedata
from typing import Any

from komt.errors import DataError

_HANGUL_FIRST, _HANGUL_LAST, _FINALS, _RIEUL = 0xAC00, 0xD7A3, 28, 8
# Final sound of what a reader says aloud for a digit (영 일 이 삼 사 오 육 칠 팔 구) and a Latin letter
# (엘 엠 엔 알 end in a consonant): index of the final consonant, 0 for none.
_DIGIT_FINALS = dict(zip("0123456789", (21, 8, 0, 16, 0, 0, 1, 8, 8, 0), strict=True))
_LETTER_FINALS = {"l": 8, "m": 16, "n": 4, "r": 8}
# Zeros of a round number are read as 십, 백, 천 … whose finals are ㅂ, ㄱ, ㄴ: consonants, none of them ㄹ.
_GLOSS = re.compile(r"(.*\w[^\w()（）]*)[(（][^()（）]*[)）]([^\w()（）]*)", re.DOTALL)
# Units after a number are read out: 미터 and 리터 end in a vowel, 그램 in ㅁ.
_UNIT = re.compile(r"[0-9]\s?([kcm]?m|[km]?g|m?l)$", re.IGNORECASE)
_UNIT_FINALS = {"m": 0, "l": 0, "g": 16}
_HANGUL = re.compile("[가-힣ᄀ-ᇿㄱ-ㆎ]+")
_SURROGATE = re.compile("[\ud800-\udfff]")
# The 2,350 syllables of KS X 1001: all that everyday Korean is written with.
COMMON_SYLLABLES = frozenset(
    bytes([first, second]).decode("euc_kr") for first in range(0xB0, 0xC9) for second in range(0xA1, 0xFF)
)
_CLOSING = "\"'”’」』》〉)]}>.,!?…·* "

PAIRS = {
    "은/는": ("은", "는"),
    "이/가": ("이", "가"),
    "을/를": ("을", "를"),
    "과/와": ("과", "와"),
    "아/야": ("아", "야"),
    "이나/나": ("이나", "나"),
    "이랑/랑": ("이랑", "랑"),
    "이라/라": ("이라", "라"),
    "이란/란": ("이란", "란"),
    "이며/며": ("이며", "며"),
    "이고/고": ("이고", "고"),
    "이다/다": ("이다", "다"),
    "이라는/라는": ("이라는", "라는"),
    "이라고/라고": ("이라고", "라고"),
    "으로/로": ("으로", "로"),
    "으로서/로서": ("으로서", "로서"),
    "으로써/로써": ("으로써", "로써"),
}


def nfc(value: Any) -> Any:
    """NFC of a string, or of every string in a list or dict."""
    if isinstance(value, str):
        return unicodedata.normalize("NFC", value)
    if isinstance(value, list):
        return [nfc(item) for item in value]
    if isinstance(value, dict):
        return {nfc(key): nfc(item) for key, item in value.items()}
    return value


def has_lone_surrogate(value: Any) -> bool:
    """Whether a JSON value holds half a surrogate pair, as "\\ud800", which no file can hold as text."""
    if isinstance(value, str):
        return not value.isascii() and _SURROGATE.search(value) is not None
    if isinstance(value, dict):
        return any(has_lone_surrogate(key) or has_lone_surrogate(item) for key, item in value.items())
    return isinstance(value, list) and any(map(has_lone_surrogate, value))


def escape_surrogates(value: Any) -> Any:
    """A JSON value whose lone surrogates are spelled out: the six characters \\ud800."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, list):
        return [escape_surrogates(item) for item in value]
    if isinstance(value, dict):
        return {escape_surrogates(key): escape_surrogates(item) for key, item in value.items()}
    return value


def final_consonant(word: str) -> int:
    """Index of the final consonant sounded at the end of a word (0: it ends in a vowel, 8: in ㄹ).

    Closing quotes, brackets and punctuation are looked through; a gloss in round brackets after the word
    is passed over, as the rules of Korean spelling have it: 안중근(安重根)이, 바이칼호(Lake Baikal)가.
    """
    word = _without_gloss(unicodedata.normalize("NFC", word)).rstrip(_CLOSING)
    if not word:
        return 0
    last = word[-1]
    if _HANGUL_FIRST <= ord(last) <= _HANGUL_LAST:
        return (ord(last) - _HANGUL_FIRST) % _FINALS
    if unit := _UNIT.search(word):
        return _UNIT_FINALS[unit.group(1).lower()[-1]]
    if last in _DIGIT_FINALS:
        # A round number ends in 십, 백, 천, 만: any consonant but ㄹ serves.
        return 17 if re.search(r"[1-9][0-9,]*0$", word) else _DIGIT_FINALS[last]
    return _LETTER_FINALS.get(last.lower(), 0)


def _without_gloss(word: str) -> str:
    while match := _GLOSS.fullmatch(word):
        word = match.group(1)
    return word


def josa(word: str, pair: str) -> str:
    """The word with its particle: `josa("사과", "을/를")` is 사과를.

    Args:
        word: what stands before the particle.
        pair: consonant form and vowel form, in either order.

    Raises:
        DataError: unknown pair.
    """
    key = pair if pair in PAIRS else "/".join(reversed(pair.split("/")))
    if key not in PAIRS:
        raise DataError(f"unknown particle pair '{pair}'", cure=f"known: {', '.join(PAIRS)}")
    after_consonant, after_vowel = PAIRS[key]
    final = final_consonant(str(word))
    vowel_form = final == 0 or (final == _RIEUL and after_consonant.startswith("으로"))
    return f"{word}{after_vowel if vowel_form else after_consonant}"


def hangul_share(text: str) -> float:
    """Share of the letters of a text that are Hangul, 0 to 1 (1.0 when there are no letters)."""
    letters = sum(map(str.isalpha, text))
    return (len(text) - len(_HANGUL.sub("", text))) / letters if letters else 1.0


_QUOTES = re.compile("['\"《》<>〈〉()‘’]")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalise_answer(text: str) -> str:
    """An answer as the official KorQuAD 1.0 evaluation compares it.

    Quotes and brackets ' " 《 》 < > 〈 〉 ( ) ‘ ’ become spaces, letters lower case, ASCII punctuation goes,
    white space is collapsed. Particles stay, and there is no Unicode normalisation.
    """
    return " ".join(_QUOTES.sub(" ", text).lower().translate(_PUNCTUATION).split())
