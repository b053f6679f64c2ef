"""From a judge's reply about two answers to a verdict, or to none with a reason."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from komt.judge.read_comparison import NOUN, SIDE, Verdict, found_better, says_tie, side
from komt.judge.read_reply import LONGEST
from komt.judge.read_statements import is_difference
from komt.judge.read_text import clean, json_objects
from komt.judge.read_value import Value, value_at, values_in

__all__ = ["Verdict", "VerdictReading", "read_verdict"]

_DOUBLE = re.compile(r"\[\[\s*([^\[\]]*?)\s*\]\]")
_BEHIND = r"[\]\"')]*\s*(?:(?:은|는|으로|로|is)\s*)?[:=→-]+>?\s*(?:최종\s*)?(?:판정\s*[:=]\s*)?([^\n]{1,40})"
# Not what one of the answers, or anybody else, chose: "답변 A의 선택: B".
_LABEL = re.compile(
    r"(?<!(?<![저나])의\s)(?<!'s\s)(?:판정|결론|승자|승리|우승|선택|결과|평가|더\s*(?:나은|좋은|우수한)\s*(?:쪽|답변|대답|응답|모델|것)(?:은|는)?|최종"
    rf"|winner|verdict|choice|better(?:\s+(?:answer|response|assistant))?(?:\s+is)?|preferred|result|decision){_BEHIND}",
    re.IGNORECASE,
)
# It may be the right answer to the question that was asked, too.
_ANSWER = re.compile(
    rf"^\W*(?:(?:the\s+)?(?:my|final|best|preferred)\s+)?answer{_BEHIND}", re.IGNORECASE | re.MULTILINE
)
_KEY = re.compile(
    r"winner|verdict|choice|better|preferred|preference|result|decision|answer|판정|승자|결론|선택|결과|더\s*나은\s*답변|최종\s*판정|우승",
    re.I,
)
# "첫 번째 답변", "답변 1", "첫 번째가": the answers by the order in which they are shown.
_BY_ORDER = tuple(
    (
        re.compile(
            rf"(?:{first})\s*(?:{NOUN}|것|쪽)|{NOUN}\s*(?:{number})(?!\d)번?|(?<![가-힣\d])(?:{first})(?=(?:이|가|을|를|보다)\s)",
            re.IGNORECASE,
        ),
        f" 답변 {letter}",
    )
    for letter, first, number in (
        ("A", r"첫\s*번째|첫째|1\s*번째?", r"1|①|첫\s*번째"),
        ("B", r"두\s*번째|둘째|2\s*번째?", r"2|②|두\s*번째"),
    )
)
# Letters that name something else.
_NAMES = re.compile(
    r"(비타민|혈액형|간염|그룹|유형|타입|팀|제품|보기|선택지|vitamin|hepatitis)\s*[AB](?![A-Za-z])",
    re.IGNORECASE,
)
_LETTERED = re.compile(rf"{NOUN}\s*[AB](?![A-Za-z0-9])", re.IGNORECASE)
_FORMER = re.compile(rf"(?<![가-힣])(전자|후자)(?:의?\s*{NOUN})?(?=[이가은는을를의로보]|\W|$)")
_LETTER = re.compile(r"(?<![A-Za-z가-힣])([AB])(?![A-Za-z0-9])")
_COMPARED = re.compile(r"^\s*([AaBb])\s*(>>?|<<?|=|≈|≥|≤)\s*([AaBb])\s*$")
_NAME = re.compile(
    rf"^\W*(?:{NOUN}\s*)?([AaBb])(?:\s*{NOUN})?\W*(?:입니다|이다|임|쪽|승|승리|wins?|is\s+better)?\W*$",
    re.IGNORECASE,
)
_TIE_WHOLE = re.compile(
    r"^\W*(?:[Cc]|무승부|동점|동률|비김|비겼음|tied?|draw|막상막하|동등|대등|둘\s*다\s*(?:같음|비슷)|비슷함|both|equal)"
    r"(?:\s*\([^)]*\))?\W*(?:입니다|이다|임|다|함|로\s*판정합니다)?\W*$",
    re.IGNORECASE,
)
_SCORED = re.compile(rf"{SIDE}(?:\s*점수)?\s*(?:[은는이가]|에는|에게는|[:=-])?\s*(?=\d)", re.IGNORECASE)
_DECLINES = re.compile(
    r"(?:비교|판단|판정|평가|선택)(?:해|를|을)?\s*(?:할|해\s*드릴|드릴|하기)\s*(?:수(?:가|는)?\s*없|어렵|불가)|cannot\s+(?:compare|judge|choose|decide|determine)|can't\s+(?:compare|judge|choose|decide)",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class VerdictReading:
    """What a reply says about two answers.

    Attributes:
        verdict: "a" for the one that is shown first, "b" for the other, "tie", or None: unscored.
        reason: why it is unscored; "" where it is not.
    """

    verdict: Verdict | None
    reason: str = ""


def read_verdict(reply: str, *, cut: bool = False) -> VerdictReading:
    """Which answer a reply finds better.

    What it says in the form that was asked for decides, then what stands behind a label, then its sentences.
    Verdicts of one kind must agree.

    Args:
        reply: as the judge wrote it.
        cut: whether it was cut off at its length limit: then only the form that was asked for counts.
    """
    if len(reply) > LONGEST:
        return VerdictReading(None, "too long for a judgement")
    text = clean(reply)
    if not text:
        return VerdictReading(None, "only thoughts" if reply.strip("\ufeff\u200b \n\t") else "empty")
    text = _with_letters(text)
    formal = [_named(match[1]) for match in _DOUBLE.finditer(text)]
    formal += _from_json(text)
    rest = _DOUBLE.sub(" ", text)
    behind = [_named(match[1]) for match in _LABEL.finditer(rest)]
    found = formal + [verdict for verdict in behind if verdict]
    if not found and not cut:
        found = _alone(rest)
    said = found_better(rest)
    if found:
        # A sentence that weighs the two may praise either; one that concludes must not say otherwise.
        return _agreed(found + [verdict for verdict, concludes in said if concludes])
    if cut:
        return VerdictReading(None, "cut off before the verdict")
    if answers := [verdict for match in _ANSWER.finditer(rest) if (verdict := _named(match[1]))]:
        return _agreed(answers + [verdict for verdict, _ in said])
    if _DECLINES.search(text) and not says_tie(text):
        return VerdictReading(None, "the judge declines")
    weighed = [verdict for verdict, concludes in said if concludes] or [verdict for verdict, _ in said]
    return _agreed([*weighed, *_from_scores(rest)])


def _agreed(found: Sequence[Verdict | None]) -> VerdictReading:
    if not found:
        return VerdictReading(None, "no verdict in it")
    if None in found:
        return VerdictReading(None, "no verdict where it belongs")
    if len(set(found)) > 1:
        return VerdictReading(None, "contradictory: " + ", ".join(sorted(str(one) for one in set(found))))
    return VerdictReading(found[0])


def _named(text: str) -> Verdict | None:
    """The verdict that a short text is: a letter, `A>B`, a word for a tie."""
    text = re.split(r"(?<=[^.])\.\s|\(", text.strip())[0].strip().rstrip(".")
    if compared := _COMPARED.match(text):
        first, sign, second = compared[1].lower(), compared[2][0], compared[3].lower()
        if first == second:
            return None
        if sign in "=≈":
            return "tie"
        return side(first if sign in ">≥" else second)
    if name := _NAME.match(text):
        return side(name[1])
    if _TIE_WHOLE.match(text):
        return "tie"
    said = {verdict for verdict, _ in found_better(text)}
    return said.pop() if len(said) == 1 else None


def _with_letters(text: str) -> str:
    """The text with the answers' letters for their places, and for the former and the latter of two."""
    text = _NAMES.sub(r"\1", text)
    # "대화 A의 두 번째 답변" is the second one of A.
    for pattern, name in () if _LETTERED.search(text) else _BY_ORDER:
        text = pattern.sub(name, text)

    def named(match: re.Match[str]) -> str:
        before = text[: match.start()]
        # The last two that are named, in their order: the sentence may begin with them, or the one before it.
        for part in (re.split(r"[.!?\n]", before)[-1], before):
            letters = list(dict.fromkeys(_LETTER.findall(part)))
            if len(letters) == 2:
                return f"답변 {letters[match[1] == '후자']}"
        return match[0]

    return _FORMER.sub(named, text)


def _from_json(text: str) -> list[Verdict | None]:
    return [
        _named(item) if isinstance(item, str) else None
        for value, _, _ in json_objects(text)
        for key, item in _items(value)
        if _KEY.fullmatch(key.strip())
    ]


def _items(value: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, item in value.items():
        if isinstance(item, dict):
            yield from _items(item)
        else:
            yield key, item


def _alone(text: str) -> list[Verdict | None]:
    """Verdicts that are a whole line, the first or the last."""
    lines = [line for line in text.split("\n") if line.strip()]
    ends = dict.fromkeys((lines[0], lines[-1])) if lines else {}
    found = [
        _named(line)
        for line in ends
        if _NAME.match(line) or _COMPARED.match(line.strip()) or _TIE_WHOLE.match(line)
    ]
    return list(found)


def _from_scores(text: str) -> list[Verdict]:
    """Who got the better score, where each answer has one and nothing else: `답변 A: 8점, 답변 B: 6점`."""
    found: dict[str, Value] = {}
    for match in _SCORED.finditer(text):
        value = value_at(text, match.end())
        if value is None or not value.unit or value.number is None or is_difference(text, value):
            continue
        if re.match(r"이?(?:지만|나\s|으나)", text[value.end :]):
            return []  # the same score, but …
        if match["side"].lower() in found:
            return []
        found[match["side"].lower()] = value
    if len(found) != 2 or len(values_in(text)) != 2 or found["a"].of != found["b"].of:
        return []
    first, second = (float(found[letter].number or 0) for letter in "ab")
    return ["tie" if first == second else "a" if first > second else "b"]
