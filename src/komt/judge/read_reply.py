"""From a judge's reply to a score, or to none with a reason: what is not clearly said is no score."""

from __future__ import annotations

import re
from dataclasses import dataclass

from komt.judge.read_labels import labelled
from komt.judge.read_statements import asserted, mentioned, single
from komt.judge.read_text import clean, sentences, with_stars_counted
from komt.judge.read_value import NUMBER, Value

_DECLINES = re.compile(
    r"(?:평가|채점|판단)(?:를|을|은|는)?\s*(?:진행|제공|수행)?(?:할|해\s*드릴)\s*수(?:가|는)?\s*없(?:습니다|어요|음|다(?=[\s.]|$)|네요)"
    r"|(?:평가|채점|판단)(?:하기|하는\s*것)(?:가|이|는|은)?\s*(?:어렵|곤란|불가능|힘듭|힘들)(?!게|도록|지만|으나|지\s*않)"
    r"|(?:점수|평점)(?:를|은|는|도)?\s*(?:매길|줄|부여할|드릴|제시할|정할|제공할|산정할|매겨\s*드릴)\s*수(?:가|는|도)?\s*없"
    r"|(?:평가|채점)(?:를|을|는|은)?\s*(?:불가|거부|거절|보류)|점수\s*[:=]?\s*(?:없음|불가|미정|보류)"
    r"|(?:cannot|can't|can\s+not|unable\s+to|not\s+able\s+to|refuse\s+to|won't|decline\s+to)\s+(?:\w+\s+){0,2}"
    r"(?:rate|score|evaluate|assess|judge|grade)",
    re.IGNORECASE,
)
_FULL_MARKS = re.compile(
    r"(?<!점\s)(?<!점)만점(?:을|으로|이)?\s*(?:드립|드리|부여|줍니다|주겠|입니다|이다|받을)(?![^.\n]*(?:않|못|없|아니|아닙|어렵|힘들|무리|부족|다만|감점))|^\W*만점\W*$|점수\s*[:=]\s*만점(?!에)",
    re.IGNORECASE,
)

# At the beginning of a line or sentence: there it is the judge's own last word, and nobody else's score.
_FINAL = re.compile(
    r"(?:^|\n|[.!?]\s)[\s\-•\d.)\[]*(?:최종\s*(?:점수|평점|평가)|final\s+(?:score|rating|grade))(?=[\]\s]*(?:[:=]|은\s|는\s|is\s))",
    re.IGNORECASE,
)

# Characters; a reply without end says the same over and over.
LONGEST = 30_000


@dataclass(frozen=True, slots=True)
class Reading:
    """What a reply says.

    Attributes:
        score: on the rubric's own scale, or None: unscored.
        reason: why it is unscored; "" where it is scored.
    """

    score: float | None
    reason: str = ""


def read_score(reply: str, low: float, high: float, *, cut: bool = False) -> Reading:
    """The score that a reply states on a scale from `low` to `high`, or none and why.

    Scores may have decimals; none is brought from another scale to this one. Several statements must agree: a
    reply that says two things is unscored, unless the last one is called final.

    Args:
        reply: as the judge wrote it.
        low: the scale's lowest score.
        high: its highest one.
        cut: whether the reply was cut off at its length limit, so that a number at its very end may be a part
            of one.
    """
    if len(reply) > LONGEST:
        return Reading(None, "too long for a judgement")
    text = with_stars_counted(clean(reply)).strip()
    if not text:
        return Reading(None, "only thoughts" if reply.strip("\ufeff\u200b \n\t") else "empty")
    if (cut or _open_brackets(text)) and re.search(rf"{NUMBER}\.?$", text, re.IGNORECASE):
        return Reading(None, "cut off in the middle of a number")
    if _DECLINES.search(text):
        return Reading(None, "the judge declines")
    text = _without_asides(text, low, high)
    statements = _statements(text) if text.strip() else []
    if not statements and _FULL_MARKS.search(text):
        return Reading(high)
    reading = _agreed(statements, low, high)
    if reading.score is None and (final := _FINAL.search(text)) and not re.search(r"[{]|\[\[", text):
        # What comes after the final score still has to agree with it.
        last = _agreed(_statements(text[final.start() :]), low, high)
        return last if last.score is not None and _on_scale(statements, low, high) else reading
    return reading


def _on_scale(values: list[Value], low: float, high: float) -> bool:
    """Whether every statement is a score of this scale: else the judge may have meant another one."""
    return all(value.number is not None and low <= value.number <= high for value in values) and all(
        value.of in {None, high} for value in values
    )


def _open_brackets(text: str) -> bool:
    return any(text.count(first) > text.count(last) for first, last in ("{}", "[]", "()"))


def _without_asides(text: str, low: float, high: float) -> str:
    """Without the scale's own description, quotations, and what a score is said not to be."""
    span = rf"{low:g}\s*점?\s*(?:[-~∼〜–—]|에서|부터|to)\s*{high:g}(?![\d.])\s*점?(?:\s*까지)?"
    scale = rf"{span}(?:\s*(?:사이|척도|범위|만점|기준))*"
    text = re.sub(rf"(?<![\d.]){scale}(?:의|에서|로|중)?", " ", text)
    text = re.sub(rf"최[소저대고하상]\s*{NUMBER}\s*점(?:에서|부터|,)?", " ", text)
    text = re.sub(r"\"[^\"\n]*\"\s*이?라[고는며]", " ", text)
    return re.sub(rf"{NUMBER}\s*점?\s*[이은]\s*아니(?:라|고)\s*", "", text)


def _statements(text: str) -> list[Value]:
    """The places that decide: labelled scores, else given ones, else numbers that stand by themselves."""
    labels, given = labelled(text), asserted(sentences(text))
    if labels or given:
        return labels + given + [value for value in single(text) if value.number is not None]
    return single(text) + mentioned(text)


def _agreed(values: list[Value], low: float, high: float) -> Reading:
    """The one score that all statements state."""
    if not values:
        return Reading(None, "no score in it")
    for value in values:
        if value.number is None:
            return Reading(None, value.why)
        if value.of is not None and value.of != high:
            return Reading(None, f"out of {value.of:g}, where the scale goes to {high:g}")
    scores = sorted({value.number for value in values if value.number is not None})
    if len(scores) > 1:
        return Reading(None, f"contradictory: {', '.join(f'{score:g}' for score in scores)}")
    if not low <= scores[0] <= high:
        return Reading(None, f"{scores[0]:g} is not on the scale from {low:g} to {high:g}")
    return Reading(scores[0])
