"""The state of a dialogue: joint goal accuracy and slot F1, as KLUE WoS computes them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from komt.evaluate.counts import f_score, match
from komt.evaluate.intervals import Statistic, mean_of
from komt.evaluate.metrics import Score
from komt.evaluate.reading import bare, lines_of, says_nothing
from komt.example import Example

_SLOT = re.compile(r"(?P<slot>[^:：=]+?)\s*(?:[:：=]|->|→)\s*(?P<value>\S.*)")
_SAME = {
    **dict.fromkeys(("네", "yes", "예", "가능", "있음"), "예"),
    **dict.fromkeys(("아니오", "아니요", "no", "아뇨"), "아니요"),
    **dict.fromkeys(("dontcare", "상관 없음", "상관없음", "상관 없어요", "무관"), "상관없음"),
}


def read_state(answer: str) -> frozenset[tuple[str, str]] | None:
    """Slots and values of an answer, a line each: `숙소 예약 요일: 토요일`; None where no line has that form.

    `숙소-예약 요일: 토요일`, `숙소-예약 요일-토요일`, `=` for `:`, bullets, and 네 or yes for 예 are read
    alike. 없음 is the empty state.
    """
    if says_nothing(answer):
        return frozenset()
    found = set[tuple[str, str]]()
    for line in lines_of(answer):
        if one := _SLOT.fullmatch(line):
            slot, value = one["slot"], one["value"]
        elif line.count("-") >= 2:
            domain, name, value = line.split("-", 2)
            slot = f"{domain} {name}"
        else:
            continue
        found.add((" ".join(bare(slot).replace("-", " ").split()), _value(value)))
    return frozenset(found) or None


def _value(text: str) -> str:
    value = bare(text.rstrip(" .;,")).casefold()
    return _SAME.get(value, value)


@dataclass(frozen=True, slots=True)
class OverTurns:
    """Agreement of dialogue states, turn by turn.

    Attributes:
        joint: whether all of a state must be right; else the mean of the turns' F1 (KLUE's "slot micro F1").
    """

    joint: bool

    def score(self, answer: str, example: Example) -> Score:
        """1 or 0, or the F1 of slots with values; `chosen` is "" where the answer has no slot at all."""
        given, right = read_state(answer), read_state(example.references[0]) if example.references else None
        if right is None:
            return Score(None)
        chosen = "" if given is None else None
        if self.joint:
            return Score(float(given == right), chosen=chosen)
        return Score(f_score(*match(given, right)) if given is not None else 0.0, chosen=chosen)

    def statistic(self, scores: Sequence[Score]) -> Statistic:
        """The mean over turns."""
        return mean_of([float(score.value or 0) for score in scores])


JOINT_ACCURACY, SLOT_F1 = OverTurns(joint=True), OverTurns(joint=False)
