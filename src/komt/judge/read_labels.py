"""Scores of a judge's reply that stand behind a label, in double brackets, tags or JSON."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from komt.judge.read_text import json_objects
from komt.judge.read_value import NUMBER, Value, alone, number_of, value_at

# Characters around a number that are looked at.
NEAR = 80
# A score of one side of an answer is not the answer's score.
PART = (
    r"(?:(?<!다음)(?<!처음)(?<!마음)(?<![가-힣])(?!만족도|완성도만)[가-힣]+(?:성|력|도|감|함|움|음)"
    r"|문법|표현|내용|형식|문체|맥락|사실|논리|구성|어휘|맞춤법|길이|길이감|항목"
    r"|\b(?:accuracy|fluency|relevance|depth|creativity|clarity|coherence|details?|safety|style|grammar|\w+ness))"
)
PART_BEFORE = re.compile(
    PART + r"\s*(?:에\s*대한|의|별|(?:측)?면의?|평가)?\s*[(\[\"':=-]*\s*$", re.IGNORECASE
)
FOR_A_PART = re.compile(rf"\s*(?:for|on|in)\s+(?:its\s+)?{PART}", re.IGNORECASE)
MINUS = re.compile(
    r"[ \t]*(?:을|이|씩|만|정도|만큼)?[ \t]*(?:감점|깎|차감|뺐|뺍|빼|제외|제했|추가|가산|가점|부족|모자"
    r"|낮|높|차이"
    r"|손해|잃|더\s|덜\s"
    r"|deduct|off\b|lost|less|more|higher|lower|짜리(?!\s*답)|슛|차로)",
    re.IGNORECASE,
)
# Behind a label, and taken back: "8점은 무리", "8점에 못 미침", "8점짜리 답변은 아닙니다",
# "4.5점이라고 답했습니다", "4.8점의 맛집", "4점을 주려다가", "5점 - 2개 × 1점 =".
_REFUSED = re.compile(
    r"['\"]?(?:(?:[을를은는이가도에의]|에는|에서|짜리)\s(?:(?!며|고\s|므로)[^.,\n]){0,12}?"
    r"(?:못|없|아[니닙]|무리|과하|높다|높습|낮다|낮습|아깝|과분|뻔|가능|수\s*있었|시작|넘|가까|반올림|비하|배$)"
    r"|\s*이?라[고는]\s*(?!판단|생각|평가|판정|결론|보|봅|볼|하겠|할\s*수|여|느)"
    r"|의\s+(?!점수|답변|평가)|[을를]?\s*(?:주려[다던]|주려고\s*했|주기(?:에는|엔|는)\s)"
    r"|\s*[-–—+×x*]\s*[^=\n]{1,30}=|\s*(?:→|->|=>)[^\n]{0,20}\d)"
)
_LABEL = re.compile(
    r"(?P<strong>점수|평점|총점|총평점|득점|별점|\bscores?\b|(?<=[a-z]_)score\b|\brating\b|\bgrade\b|\[\s*results?\s*\])"
    r"|(?P<weak>평가(?:\s*결과)?|채점(?:\s*결과)?|결과|결론|판정|종합|총평|총계|합계|최종|\boverall\b|\btotal\b|\bverdict\b|\bresult\b|\bfinal\b)",
    re.IGNORECASE,
)
_NO_LABEL = re.compile(
    r"\s*(?:기준|범위|척도|체계|표(?![가-힣])|산정|단위|구간|를?\s*매기는|standards?|scale|range|guide|criteri)",
    re.IGNORECASE,
)
# Before a label: the score of a part, of all answers, or another judge's.
_OTHER_SCORE = re.compile(
    r"\b(?:각|항목별|세부|부분|부문|기존|평균|(?:다른|타|동료|이전|앞선)\s*[가-힣]+의)\s*$"
)
_BETWEEN = re.compile(
    r"(?:\s*[(\[](?P<note>[^()\[\]\n]{0,40})[)\]])?[\"'\])}>]*\s*"
    r"(?:(?:라면|은|는|이|가|로는|으로는|로|으로|을|를|의)"
    r"(?=[\s:\d\[(영공일이삼사오육칠팔구십하둘셋넷다여아열]))?[ \t]*"
    r"(?:(?:is|of|would\s+be|was|equals|it|as)\s+)*"
    r"(?P<sign>[:=→>|,]+|->|=>|[-–—]+(?=\s)|[-–—](?=\d))?[ \t]*(?P<line>\s*\n[\s|:-]*)?"
    r"[\"'\[({<|]*[ \t]*(?:(?:총|약|대략|저는|최종적으로|최종|결국|an?|the)[ \t]+)*",
    re.IGNORECASE,
)
_NOTE = re.compile(rf"\s*(?:/|만점|최대|out of|of)?\s*({NUMBER})\s*점?\s*(?:만점|기준)?\s*", re.IGNORECASE)
_DOUBLE = re.compile(r"\[\[\s*(?:점수|평점|score|rating)?\s*[:=]?\s*([^\[\]]*?)\s*\]\]", re.IGNORECASE)
_TAG = re.compile(r"<(\w*score|rating|점수|평점|result)>\s*(.*?)\s*</\1>", re.IGNORECASE | re.DOTALL)
_KEY = re.compile(
    r"(?:final|total|overall|최종|종합|총|전체|평가)?[\s_-]*(?:score|rating|grade|점수|평점|총점|총평점|등급)"
    r"|overall|total|최종|종합|총점|평가|result|rating",
    re.IGNORECASE,
)
_KEY_OF = re.compile(
    r"max\w*|maximum|out[_ ]?of|만점|최대|최고점|scale|최대[_ ]?점수|max[_ ]score", re.IGNORECASE
)


def line_before(text: str, at: int) -> str:
    """What stands before a place on its line, as far as it matters."""
    near = text[max(0, at - NEAR) : at]
    return near[near.rfind("\n") + 1 :]


def labelled(text: str) -> list[Value]:
    """Scores behind a label, in double brackets, tags or JSON; not those of one side of the answer."""
    found, rest = _from_json(text)
    for pattern, group in ((_DOUBLE, 1), (_TAG, 2)):
        for match in pattern.finditer(rest):
            found.append(_whole(match[group]))
        rest = pattern.sub(" ; ", rest)
    found += _from_labels(rest)
    return [value for value in found if value is not None]


def _from_json(text: str) -> tuple[list[Value | None], str]:
    """Scores of JSON objects, and the text without these, but with the other texts in them."""
    found: list[Value | None] = []
    rest, last = [], 0
    for value, start, end in json_objects(text):
        scores, others = _of_object(value)
        if not scores:
            continue
        found += scores
        rest += [text[last:start], *others]
        last = end
    return found, "\n".join([*rest, text[last:]])


def _of_object(value: dict[str, Any]) -> tuple[list[Value | None], list[str]]:
    found: list[Value | None] = []
    of = next(
        (float(item) for key, item in value.items() if _KEY_OF.fullmatch(key) and _is_number(item)), None
    )
    for key, item in value.items():
        if not _KEY.fullmatch(key.strip()):
            continue
        if isinstance(item, dict):
            found += _of_object(item)[0]
        elif _is_number(item):
            found.append(Value(float(item), of, 0, 0, True))
        elif item is None or isinstance(item, str):
            found.append(_whole(item or ""))
        else:
            found.append(_no_value())
    return found, [
        item for key, item in value.items() if isinstance(item, str) and not _KEY.fullmatch(key.strip())
    ]


def _is_number(item: Any) -> bool:
    return isinstance(item, int | float) and not isinstance(item, bool)


def _no_value() -> Value:
    return Value(None, None, 0, 0, False, "no number where the score belongs")


def _whole(text: str) -> Value:
    """The number that a text is, and nothing beside it."""
    value = alone(text)
    return value or _no_value()


def _from_labels(text: str) -> Iterator[Value]:
    at = 0
    for label in _LABEL.finditer(text):
        if label.start() < at or _NO_LABEL.match(text, label.end()):
            continue
        before = line_before(text, label.start())
        if PART_BEFORE.search(before) or _OTHER_SCORE.search(before):
            continue
        between = _BETWEEN.match(text, label.end())
        assert between
        value = value_at(text, between.end())
        if value is None or not _belongs(text, label, between, value):
            continue
        if value.of is None and (of := _NOTE.fullmatch(between["note"] or "")):
            value = replace(value, of=number_of(of[1]), unit=True)
        at = value.end
        yield value


def _belongs(text: str, label: re.Match[str], between: re.Match[str], value: Value) -> bool:
    """Whether the number behind a label is what the label names."""
    if between["line"]:  # on a line of its own, and no item of a list
        line = text[between.end() : (text + "\n").index("\n", value.end)]
        return value.unit or alone(line) is not None
    if label["weak"] and not between["sign"] and not value.unit:
        return False
    rest = text[value.end : value.end + 30]
    return not any(pattern.match(rest) for pattern in (MINUS, _REFUSED, FOR_A_PART))
