"""A number of points as judges write it: 8, 8.5점, 4/5, 10점 만점에 8점, 여덟 점, eight."""

from __future__ import annotations

import re
from dataclasses import dataclass

_SINO = {letter: value for value, letter in enumerate("영일이삼사오육칠팔구")} | {"공": 0}
_NATIVE = {
    **dict(
        zip(
            ("하나", "둘", "셋", "넷", "다섯", "여섯", "일곱", "여덟", "아홉", "열"),
            range(1, 11),
            strict=True,
        )
    ),
    **{"한": 1, "두": 2, "세": 3, "네": 4},
}
_ENGLISH = {
    word: value
    for value, word in enumerate(
        ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
    )
}
_DIGITS = r"\d{1,9}(?!\d)(?:\.\d{1,9}(?!\d)|,\d(?=\s*/))?"
_WORDS = "|".join(
    [
        *_NATIVE,
        *_ENGLISH,
        "(?<![영공일이삼사오육칠팔구십백])[영공일이삼사오육칠팔구십백]{1,4}(?![영공일이삼사오육칠팔구십백])",
    ]
)
NUMBER = rf"(?:{_DIGITS}|{_WORDS})"
_NUMBER = re.compile(NUMBER, re.IGNORECASE)
_SIGNED = re.compile(r"[-+±]\s*\d|마이너스")
# 점 as a unit, not the beginning of 점수, 점검, 점차 …
POINTS = r"(?:점(?!수|포|검|차|심|진|자|령|선|유)|points?\b|pts?\b)"
_POINTS = re.compile(rf"\s*{POINTS}", re.IGNORECASE)
_SCALE_FIRST = re.compile(
    rf"({NUMBER})\s*점?\s*(?:(?:만점|척도)\s*(?:에서는?|에|중에서|중에|중|기준으로|기준|으로)?[\s,:]*|점\s*중에?서?\s*|중에?서?\s*)(?=(?:총|약|대략)?\s*{NUMBER})",
    re.IGNORECASE,
)
_SCALE_AFTER = re.compile(
    rf"\s*(?:/|out\s+of|of|÷)\s*(?:a\s+(?:possible|maximum(?:\s+of)?)\s+)?({NUMBER})(?!\d|\.\d)(?:\s*점(?:\s*만점)?|\s*points?)?"
    rf"|\s*[(\[]\s*(?:/|out\s+of|만점|최대|max\w*)\s*[:=은]?\s*({NUMBER})\s*점?\s*[)\]]"
    rf"|\s*[(\[]?\s*({NUMBER})\s*점\s*(?:만점|기준)(?!에)\s*(?:에서|중|기준)?\s*[)\]]?"
    rf"|\s*[(\[]\s*({NUMBER})\s*점?\s*(?:만점|기준|척도)[^)\]]*[)\]]",
    re.IGNORECASE,
)
_HALF = re.compile(r"\s*반(?=을|으로|입|이|정|$|[^가-힣])|\s*½|\s+and\s+a\s+half\b", re.IGNORECASE)
_SINO_DECIMAL = re.compile(
    r"(?:점([영공일이삼사오육칠팔구]+)|\s*점\s+([영공삼오육칠팔구])(?=\s*(?:점|입니다|이다|$|[.\n])))(?![유])"
)
# What makes of a number something else than a score.
_OTHER = re.compile(
    r"\s*(?:점\s*)?(?:"
    r"[~∼〜～]\s*\d*|[-–—]\s*(?=\d)|(?:에서|부터)\s*\d|(?:점\s*)?(?:또는|혹은|이나|내지|or|to)\s*\d|,\s*\d|->\s*\d|→\s*\d"
    r"|…\s*\d|\.{2,}\s*\d|·\s*\d|vs\.?\s*\d|\|\s*\d|:\s*\d|\.[A-Za-z]|안팎|내외|[ \t]+\d+\s*(?=점|[.,\n]|$)"
    r"|(?:을|를|보다|점)?\s*(?:이상|이하|미만|초과|넘)|보다|대(?=[\s.,)]|$|입|초|중|후|의)|초반|중반|후반|에서\s*\S+\s*사이"
    r"|(?:이|은|는|도)?\s*아[니닙닌]|%|퍼센트|percent|\+|±|\?|°"
    r"|만점(?!을\s*(?:드|부|주|줍))|척도|/\s*(?:문항|문제|항목|개|회|건|명)|\([^()\n]{1,12}\)\s*[,/]\s*\d"
    r"|(?:가지|개|번|명|년|월|일(?!지)|시간|회|배|위(?!에)|등급?|문장|문단|단계|항목|턴|글자|단어|자(?=[\s.,]|$)|쪽|st\b|nd\b|rd\b|th\b|reasons|sentences|words)"
    r")",
    re.IGNORECASE,
)
# "3-", a grade between two.
_SHADED = re.compile(r"[-–—](?=\s*(?:$|\n))")
_POINTED_RANGE = re.compile(
    rf"\s*(?:[~∼〜–—-]|에서|부터|or|또는|이나|,)\s*{_DIGITS}\s*{POINTS}", re.IGNORECASE
)
# "3 and 4", "3점과 4점": two scores side by side.
_TWO = re.compile(
    rf"\s*(?:and|&)\s*{NUMBER}(?=\s*(?:$|[.,;)\]\n]|{POINTS}))|\s*(?:과|와|및|하고|그리고)\s*{NUMBER}\s*{POINTS}",
    re.IGNORECASE,
)
# "2점과 4점 사이", "3점 혹은 4점", "8점에서 9점": two ends of which neither is the score.
_SPAN = re.compile(
    rf"\s*(?:(?:[~∼〜～]|에서|부터|또는|혹은|이나|내지|or|to)\s*{NUMBER}(?:\s*{POINTS})?"
    r"|(?:또는|혹은|or)\s*(?:그\s*)?(?:이상|이하|higher|more|lower|less)"
    rf"|(?:과|와|하고|and)\s*{NUMBER}(?:\s*{POINTS})?\s*(?:의\s*)?(?:사이|중간))",
    re.IGNORECASE,
)
_ENDS = re.compile(
    r"$|[\s.,;:!?)\]}>\"'|/~(\[–—\\·…-]|점|입니다|이다|으로|로|이며|이고|을|를|이라|points?|out"
)


BEFORE_ALONE = re.compile(r"(?:[\s\"'(\[{<=→:•·]|-+(?=\s))*(?:(?:총|약|대략)\s*)?")
_AFTER_ALONE = re.compile(r"[\s\"')\]}>]*(?:정도|처리)?(?:입니다|이다|이에요|예요|이요|임)?[\s\"')\]}>.!]*")
# "이 답변은", "네, 좋습니다": words of one syllable that are numbers elsewhere.
_NO_NUMBER = re.compile(r"[이네한두세일](?:,|[ \t]+(?!점|입니다|이다)[가-힣])")


@dataclass(frozen=True, slots=True)
class Value:
    """A number of points in a text.

    Attributes:
        number: how many, or None where it is no score (`why`).
        of: what it is out of, or None where that is not said.
        start: where it begins in the text.
        end: where it ends.
        unit: whether it is called points, or out of something.
        why: why it is no score: a range, a comparison, a percentage, another unit.
    """

    number: float | None
    of: float | None
    start: int
    end: int
    unit: bool
    why: str = ""


def number_of(word: str) -> float:
    """What a number in digits or words is worth; 팔십오 is 85."""
    word = word.lower()
    if word[0].isdigit():
        return float(word.replace(",", "."))
    if word in _NATIVE or word in _ENGLISH:
        return float(_NATIVE.get(word, _ENGLISH.get(word, 0)))
    total, last = 0, 0
    for letter in word:
        if letter in "십백":
            total += (last or 1) * (10 if letter == "십" else 100)
            last = 0
        else:
            last = last * 10 + _SINO[letter]
    return float(total + last)


def value_at(text: str, at: int) -> Value | None:
    """The number of points that begins at a place of a text, None where none does."""
    if _SIGNED.match(text, at):
        return Value(None, None, at, at + 1, False, "a sign before the number")
    start, of = at, None
    if first := _SCALE_FIRST.match(text, at):
        of, at = number_of(first[1]), first.end()
        at = at + len(re.match(r"(?:총|약|대략)?\s*", text[at:])[0])  # type: ignore[index]
    found = _NUMBER.match(text, at)
    if not found:
        return None
    number, end = number_of(found[0]), found.end()
    if not found[0][0].isdigit() and (decimal := _SINO_DECIMAL.match(text, end)):
        digits = "".join(str(_SINO[letter]) for letter in decimal[1] or decimal[2])
        number, end = number + float(f"0.{digits}"), decimal.end()
    points = _POINTS.match(text, end)
    if not points and _NO_NUMBER.match(text, start if of is None else found.start()):
        return None
    bare_end = end
    end = points.end() if points else end
    if half := _HALF.match(text, end):
        number, end = number + 0.5, half.end()
        points = _POINTS.match(text, end) or points
        end = max(end, points.end()) if points else end
    elif not points and not _ENDS.match(text, end):
        other = _OTHER.match(text, bare_end)
        return Value(None, of, start, end, False, "another unit") if other else None
    if of is None and (after := _SCALE_AFTER.match(text, end)):
        of, end = number_of(next(group for group in after.groups() if group)), after.end()
    why = (
        "a range, a comparison or another unit"
        if _OTHER.match(text, end) or _OTHER.match(text, bare_end) or _SHADED.match(text, end)
        else ""
    )
    if text[end : end + 1] == "/" and text[end + 1 : end + 2].isdigit():
        why = "a date or a second fraction"
    unit = bool(points or of is not None)
    if _TWO.match(text, end):
        why = "two scores"
    if span := _SPAN.match(text, end):
        why, end, unit = "a range", span.end(), unit or bool(re.search(rf"{POINTS}", span[0], re.IGNORECASE))
    return Value(None if why else number, of, start, end, unit, why)


def values_in(text: str) -> list[Value]:
    """All numbers of points of a text that are called so, in their order, none inside another."""
    found: list[Value] = []
    at = 0
    for match in re.finditer(rf"(?<![\w.,/~∼〜-]){NUMBER}", text, re.IGNORECASE):
        if match.start() < at:
            continue
        value = value_at(text, match.start())
        if value and (value.unit or (value.why and _POINTED_RANGE.match(text, value.end))):
            found.append(value)
            at = value.end
    return found


def alone(line: str) -> Value | None:
    """The number that a whole line is: `8`, `(8점)`, `**4/5**`, `여덟 점입니다.`"""
    before = BEFORE_ALONE.match(line)
    value = value_at(line, before.end() if before else 0)
    if value is None or not _AFTER_ALONE.fullmatch(line, value.end):
        return None
    return value
