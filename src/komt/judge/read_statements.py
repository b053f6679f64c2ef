"""Places of a judge's reply that state a score: labels, JSON, tags, verbs, numbers that stand alone."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from komt.judge.read_text import json_objects
from komt.judge.read_value import NUMBER, Value, number_of, value_at, values_in

# A score of one side of an answer is not the answer's score.
_PART = (
    r"(?:(?<!다음)(?<!처음)(?<!마음)(?<![가-힣])(?!만족도|완성도만)[가-힣]+(?:성|력|도|감|함|움|음)"
    r"|문법|표현|내용|형식|문체|맥락|사실|논리|구성|어휘|맞춤법|길이|길이감|항목"
    r"|\b(?:accuracy|fluency|relevance|depth|creativity|clarity|coherence|details?|safety|style|grammar|\w+ness))"
)
_PART_BEFORE = re.compile(
    _PART + r"\s*(?:에\s*대한|의|별|(?:측)?면의?|평가)?\s*[(\[\"':=-]*\s*$", re.IGNORECASE
)
_PART_SUBJECT = re.compile(
    _PART + r"\s*(?:은|는|이|가|에|에는|에서|에서는|면에서는?|측면에서는?|항목은|점수는|[:=-])", re.IGNORECASE
)
# What the right answer to the question is, is no score of the one that was given.
_ANSWER_BEFORE = re.compile(
    r"(?<![가-힣])(?:정답|해답|모범\s*답안|(?:옳은|올바른|맞는|바른|문제의|질문의)\s*답|답)(?:은|이|는|도|란)?\s*[:=]?[\s\"'(]*$"
    r"|\b(?:answer|solution)\s*(?:is|was|should\s+be|would\s+be|[:=])[\s\"'(]*$",
    re.IGNORECASE,
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
_GIVES = re.compile(
    r"\s*(?:을|를|으로|로|이라고|라고|이라는|라는|의|정도(?:의|로|를|가)?|수준(?:의|으로)?)?\s*(?:점수(?:를|로|가)?\s*)?"
    r"(?:정도(?:로|를|가)?\s*|수준(?:으로|의)?\s*)?(?:밖에\s+|만\s+)?(?:[가-힣]{1,6}(?:하게|히)\s+)?"
    r"(?:부여|드[리립린렸]|주겠|줍니다|주었|준다|줬|주고자|주고\s*싶|줄\s*수\s*있|줄게|주는\s*것|주기로|주려(?!다|던|고\s*[했하])|주면|매[기깁겼긴]|"
    r"에\s*해당|처리|이요|짜리\s*답변(?:입니다|이다)|평가(?:합|했|한다|하겠|됩|된|할|하였|해)|채점|책정|산정|판단|결정|선정|입니다|이다|이에요|예요|이라\s*할|"
    r"[이가]?\s*(?:적[절당]|타당|합당|알맞|마땅)|받을\s*만|생각|보입니다|답변(?:입니다|이다)|하겠)",
)
_GIVES_ENGLISH = re.compile(
    r"\b(?:rated?|rates|gives?|scored?|scores|assign(?:s|ed)?|award(?:s|ed)?|deserves?|merits?|earns?|gets?|receives?)\s+"
    r"(?:(?:it|this|the|answer|response|reply|assistant|model)\s+){0,3}"
    r"(?:(?:with|at|as)\s+)?(?:(?:an?|the)\s+)?(?:(?:overall|final)\s+)?(?:(?:score|rating|grade)\s+(?:of\s+)?)?\[*",
    re.IGNORECASE,
)
_DENIED = re.compile(
    r"않|못|없|아니|아닙|어렵|힘들|부족|무리|과하|과분|아깝|지나치|[았었]을|[았었]겠|겠지만|싶지만|싶었|모자라"
    r"|\bnot\b|n't|\b(?:would|could|might) have\b|cannot",
    re.IGNORECASE,
)
# Behind a label, and taken back: "8점은 무리", "8점에 못 미침", "8점짜리 답변은 아닙니다",
# "4.5점이라고 답했습니다".
_REFUSED = re.compile(
    r"['\"]?(?:(?:[을를은는이가도에의]|에는|에서|짜리)\s(?:(?!며|고\s|므로)[^.,\n]){0,12}?"
    r"(?:못|없|아[니닙]|무리|과하|높다|높습|낮다|낮습|뻔|가능|수\s*있었|시작|넘|가까|반올림|비하|배$)"
    r"|\s*이?라[고는]\s*(?:[답말썼쓴했]|정보|내용|주장))"
)
_LIST_GOES_ON = re.compile(r"\s*(?:,|이고|이며|및|과\s|와\s|;)")
_WISHED = re.compile(r"[^.,]{0,16}싶(?:지만|었|으나)")
_SUPPOSED = re.compile(
    r"[라다]면(?=[\s,])|[었았]으면|더라도|만약|처음에|원래|당초|애초|이전|\bif\b|unless|initially|at first",
    re.I,
)
_MINUS = re.compile(
    r"[ \t]*(?:을|이|씩|만|정도|만큼)?[ \t]*(?:감점|깎|차감|뺐|뺍|빼|제외|제했|추가|가산|가점|부족|모자"
    r"|낮|높|차이"
    r"|손해|잃|더\s|덜\s"
    r"|deduct|off\b|lost|less|more|higher|lower|짜리(?!\s*답)|슛|차로)",
    re.IGNORECASE,
)
_MINUS_BEFORE = re.compile(
    r"(?:감점|가점|마이너스|deduct(?:ed|ing)?|minus|lost|loses?|subtract(?:ed)?)\s*[:=]?\s*$|[-+]$"
    r"|\b(?:(?:more|fewer|less|higher|lower)\s+than|at\s+(?:most|least)|up\s+to|almost|nearly)\s+(?:an?\s+)?$",
    re.IGNORECASE,
)
_BEFORE_ALONE = re.compile(r"(?:[\s\"'(\[{<=→:•·]|-+(?=\s))*(?:(?:총|약|대략)\s*)?")
_AFTER_ALONE = re.compile(r"[\s\"')\]}>]*(?:정도|처리)?(?:입니다|이다|이에요|예요|이요|임)?[\s\"')\]}>.!]*")
_AFTER_LEAD = re.compile(
    r"\s*(?:입니다|이다|이에요|처리)?\s*(?:[.:;!(\[,–—-](?!\s*\d)|이유|근거|설명|평가|because\b|since\b|as\b|for\b)",
    re.IGNORECASE,
)
# Characters around a number that are looked at.
_NEAR = 80
_LISTED = re.compile(r"^\s*\d+\s*점?\s*[.):,-]", re.MULTILINE)


def _before(text: str, at: int) -> str:
    """What stands before a place on its line, as far as it matters."""
    near = text[max(0, at - _NEAR) : at]
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
        line_before = _before(text, label.start())
        if _PART_BEFORE.search(line_before) or re.search(
            r"\b(?:각|항목별|세부|부분|부문|기존|평균)\s*$", line_before
        ):
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
    return not _MINUS.match(rest) and not _REFUSED.match(rest)


def asserted(sentences: list[str]) -> list[Value]:
    """Scores that a sentence gives: `8점을 부여합니다`, `10점 만점에 8점`, `I would give it a 7`."""
    found = []
    for sentence in sentences:
        if _PART_SUBJECT.search(sentence):
            continue
        values, lists = values_in(sentence), False
        for value in values:
            clause = re.split(r"지만|으나|는데|면서|,", sentence[value.end : value.end + _NEAR])[0]
            supposed = _SUPPOSED.search(_before(sentence, value.start)) or _DENIED.search(clause)
            given = _GIVES.match(sentence, value.end) or (
                value.of is not None and "만점" in sentence[value.start : value.end]
            )
            if (
                given
                and not supposed
                and not is_difference(sentence, value)
                and not _WISHED.match(sentence, value.end)
                and not _ANSWER_BEFORE.search(_before(sentence, value.start))
            ):
                found.append(value)
                lists = True
        if lists:  # "8점, 6점입니다": the others are given with it
            found += [value for value in values if _LIST_GOES_ON.match(sentence, value.end)]
        found += _given_in_english(sentence)
    return found


def _given_in_english(sentence: str) -> Iterator[Value]:
    if _DENIED.search(sentence) or _SUPPOSED.search(sentence):
        return
    for verb in _GIVES_ENGLISH.finditer(sentence):
        value = value_at(sentence, verb.end())
        if value is None:
            continue
        after = sentence[value.end : value.end + _NEAR]
        if value.unit or re.match(
            r"[\]\s]*(?:$|[.,;!)]|(?:for|because|since|as|on|overall|due|based)\b)", after
        ):
            yield value


def is_difference(sentence: str, value: Value) -> bool:
    """Whether points are taken off or added rather than given."""
    return bool(_MINUS.match(sentence, value.end) or _MINUS_BEFORE.search(_before(sentence, value.start)))


def alone(line: str) -> Value | None:
    """The number that a whole line is: `8`, `(8점)`, `**4/5**`, `여덟 점입니다.`"""
    before = _BEFORE_ALONE.match(line)
    value = value_at(line, before.end() if before else 0)
    if value is None or not _AFTER_ALONE.fullmatch(line, value.end):
        return None
    return value


def single(text: str) -> list[Value]:
    """Scores that stand by themselves: the first or last line as a number, `8점.` or `8 - …` at the start."""
    lines = [line for line in text.split("\n") if line.strip()]
    found = [value for line in dict.fromkeys((lines[0], lines[-1])) if (value := alone(line))]
    start = _BEFORE_ALONE.match(text)
    leads = value_at(text, start.end() if start else 0)
    if (
        leads
        and leads.number is not None
        and _AFTER_LEAD.match(text, leads.end)
        and not _is_list(text, leads)
    ):
        found.append(leads)
    return found


def mentioned(text: str) -> list[Value]:
    """Every number that is called points, where one of them ends the text or is out of a whole; else none.

    Points taken off and scores of single sides are left out.
    """
    found, ends = [], False
    for value in values_in(text):
        after, before = text[value.end : value.end + _NEAR], _before(text, value.start)
        fraction = value.of is not None
        if is_difference(text, value) or _PART_BEFORE.search(before) or _ANSWER_BEFORE.search(before):
            continue
        if fraction and (
            before.rstrip().endswith("의") or re.match(r"[가-힣]|\s+of\b", after.replace("입니다", ""))
        ):
            continue
        found.append(value)
        ends |= fraction or re.fullmatch(r"\s*[.!)\]\"']*\s*", after) is not None
    return found if ends else []


def _is_list(text: str, value: Value) -> bool:
    """Whether the number in front counts the items of a list."""
    many = len(_LISTED.findall(text)) > 1
    return many or (value.number == 1 and not value.unit and text[value.end : value.end + 1] in {".", ")"})
