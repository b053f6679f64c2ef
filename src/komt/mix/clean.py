"""Text that is mended: NFC, characters that nobody sees, HTML that was left over; and text beyond mending."""

from __future__ import annotations

import html
import re
import unicodedata
from re import Match

from komt.korean import COMMON_SYLLABLES

_UNSEEN = (
    "\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\u00ad\u061c\u180e\u200b\u200c\u200e\u200f\u202a-\u202e\u2060-\u2064"
    "\u2066-\u206f\ufeff\ufff9-\ufffc"
)
_BLANK = "\x1c-\x1f\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000\u3164\uffa0"
_LINE_ENDS = "\x0b\x0c\r\x85\u2028\u2029"
_CONTROL = re.compile(f"[{_UNSEEN}{_BLANK}{_LINE_ENDS}\u200d]")
_UNSEEN_RUN = re.compile(f"[{_UNSEEN}]+")
_BLANK_ONE = re.compile(f"[{_BLANK}]")
_LINE_END = re.compile("\r\n|[" + _LINE_ENDS + "]")
# A syllable spelled with fillers, as KS X 1001 writes those it has no code for.
_SPELLED = re.compile("\u3164([ㄱ-ㅎ])([ㅏ-ㅣ])([ㄱ-ㅎ\u3164])")
_FINALS = "\u3164ㄱㄲㄳㄴㄵㄶㄷㄹㄺㄻㄼㄽㄾㄿㅀㅁㅂㅄㅅㅆㅇㅈㅊㅋㅌㅍㅎ"
# A joiner has work to do within an emoji alone.
_EMOJI = "\u2190-\u2bff\ufe0f\U0001f000-\U0001faff"
_JOINER = re.compile(f"(?<![{_EMOJI}])\u200d|\u200d(?![{_EMOJI}])")

_LINES = "br|hr|p|div|li|tr|h[1-6]|table|ul|ol|dl|dt|dd|blockquote|center"
_INLINE = "span|font|strong|em|sub|sup|small|big|strike|thead|tbody|tfoot|td|th|img|iframe|input|label|nobr"
_BLOCK = re.compile(r"<(script|style)\b[^<>]*>.*?</\1\s*>|<!--.*?-->", re.IGNORECASE | re.DOTALL)
# One letter in angle brackets may be a name ("<A>씨"): it is a tag when it is closed, or has attributes.
_PAIR = re.compile(r"<([abipqsu])(?:\s[^<>]*)?>(.*?)</\1\s*>", re.IGNORECASE | re.DOTALL)
_ENDS_LINE = re.compile(rf"<(?:(?:br|hr)(?:\s[^<>]*)?/?|/(?:{_LINES})\s*)>", re.IGNORECASE)
_TAG = re.compile(rf"</?(?:{_LINES}|{_INLINE})(?:\s[^<>]*)?/?>|<a\s[^<>]*>", re.IGNORECASE)
_SINGLE = re.compile("<p>", re.IGNORECASE)
_ENTITY = re.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,30});")
_CODE = re.compile(
    r"```|'''|<(?:!doctype|\?|/?(?:html|head|body|script|style|xml))\b|\{[^{}]*;|[;{]\s*\n|</?[a-z]+>`|`</?[a-z]"
    r"|^[ \t]*\|.*\|[ \t]*$|(?<![a-z])(?:html|xml|css|jsx?|php)(?![a-z])|태그|코드|마크업",
    re.IGNORECASE | re.MULTILINE,
)

# CP949 read as Latin-1, and UTF-8 as Latin-1 or CP1252.
_HIGH = re.compile(
    "[\u0080-\u00ff\u0152\u0153\u0160\u0161\u0178\u017d\u017e\u0192\u02c6\u02dc\u2013-\u203a\u20ac\u2122]{2,}"
)
_HANGUL_READ_AS_BYTES = re.compile(rb"[\xea-\xed][\x80-\xbf]{2}|[\xc2\xc3][\x80-\xbf]")
_ONE_BYTE = re.compile("[\u00c0-\u00ff]")
# Hanja, and syllables that everyday Korean does without: what UTF-8 read as CP949 is made of.
_RARE = "".join(sorted({chr(code) for code in range(0xAC00, 0xD7A4)} - COMMON_SYLLABLES))
_SYLLABLE = re.compile("[가-힣]")
# What Windows shows of such text: a question mark for each byte without a character.
_LOST = re.compile(r"\?[가-힣]")
_RARE_SYLLABLE = re.compile(f"[{_RARE}]")
_RARE_WORD = re.compile(rf"[^\s\u3400-\u9fff\uf900-\ufaff{_RARE}]*[\u3400-\u9fff\uf900-\ufaff{_RARE}]\S*")


def remove_unseen(text: str) -> str:
    """A text without control and zero-width characters; odd spaces and line ends become plain ones.

    Syllables that were spelled with fillers are put together.
    """
    if not _CONTROL.search(text):
        return text
    text = _BLANK_ONE.sub(" ", _LINE_END.sub("\n", _SPELLED.sub(_composed, text)))
    return _JOINER.sub("", _UNSEEN_RUN.sub("", text))


def holds_code(text: str) -> bool:
    """Whether a text shows or speaks of markup, a table or code, whose tags are its content."""
    return _CODE.search(text) is not None


def remove_html(text: str) -> str:
    """A text without tags and comments, entities spelled out; line breaks and paragraphs become line ends.

    Only tags of HTML go: 〈 〉 and < > around a title or a name stay.
    """
    if "<" in text:
        text = _BLOCK.sub("", text)
        for _ in range(3):
            before, text = text, _PAIR.sub(_without_pair, text)
            if text == before:
                break
        text = _TAG.sub("", _ENDS_LINE.sub("\n", text))
    return _ENTITY.sub(_spelled_out, text) if "&" in text else text


def to_nfc(text: str) -> str:
    """The NFC form of a text."""
    return text if unicodedata.is_normalized("NFC", text) else unicodedata.normalize("NFC", text)


def is_mojibake(text: str) -> bool:
    """Whether a text or a word of it was read in a wrong encoding: as Latin or rare Hangul, or lost."""
    if text.isascii():
        return False
    if "\ufffd" in text or any(_is_high_mojibake(match.group()) for match in _HIGH.finditer(text)):
        return True
    rare = _RARE_SYLLABLE.findall(text)
    if (
        len(set(rare)) >= 2
        and len(_LOST.findall(text)) >= 2
        and len(rare) >= 0.2 * len(_SYLLABLE.findall(text))
    ):
        return True
    return any(map(_is_swapped, _RARE_WORD.findall(text)))


def _without_pair(match: Match[str]) -> str:
    return match.group(2) + ("\n" if match.group(1) in "pP" else "")


def _spelled_out(match: Match[str]) -> str:
    letter = html.unescape(match.group())
    return match.group() if "\ufffd" in letter else letter


def _is_high_mojibake(run: str) -> bool:
    if not _ONE_BYTE.search(run):
        return False
    try:
        raw = b"".join(bytes([ord(c)]) if ord(c) < 256 else c.encode("cp1252") for c in run)
    except UnicodeEncodeError:
        return False
    if _HANGUL_READ_AS_BYTES.search(raw):
        return True
    try:
        read = raw.decode("cp949")
    except UnicodeDecodeError:
        return False
    return len(raw) >= 4 and all(letter in COMMON_SYLLABLES for letter in read)


def _is_swapped(word: str) -> bool:
    """UTF-8 that was read as CP949, a cut end forgiven: its bytes are UTF-8 again, and Hangul."""
    try:
        read = word.encode("cp949").decode("utf-8", "replace")
    except UnicodeEncodeError:
        return False
    return len(_SYLLABLE.findall(read)) >= 2 and read.count("\ufffd") <= 1


def _composed(match: Match[str]) -> str:
    first, vowel, last = match.groups()
    letters = unicodedata.normalize("NFKC", first + vowel)
    place = _FINALS.find(last)
    final = chr(0x11A7 + place) if place > 0 else ("" if place == 0 else last)
    return unicodedata.normalize("NFC", letters + final)
