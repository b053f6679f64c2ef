"""From a judge's reply about two answers to a verdict, or to none with a reason."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from komt.judge.read_reply import LONGEST
from komt.judge.read_statements import is_difference
from komt.judge.read_text import clean, json_objects, sentences
from komt.judge.read_value import Value, value_at, values_in

Verdict = Literal["a", "b", "tie"]

_NOUN = r"(?:답변|대답|응답|대화|모델|비서|어시스턴트|assistant|answer|response|model|option)"
_LETTER = r"(?<![A-Za-z가-힣])(?P<{0}>[AaBb])(?![A-Za-z0-9])"
_BETTER = (
    r"(?<![부불])(?:낫|나은|나았|좋|우수|훌륭|뛰어|적절|정확|자연스|유용|충실|탁월|바람직|승리|이겼|이깁|앞[서선]|선택"
    r"|유익|명확|알맞|친절|완전|풍부)"
)
_WORSE = (
    r"(?:더\s*)?(?:못하|못합|뒤처|뒤떨어|떨어[지집진]|부족|나쁘|나쁩|나쁜|졌습|열등|미흡"
    r"|부정확|부자연|부적절|불명확|불완전|불친절|불충분)"
)
_TIE = (
    r"무승부|동점|동률|비겼|비김|비깁|\btie(?:d)?\b|(?:^\W*|\ba\s+)draw\b|우열을\s*(?:가리|매기|논하)|막상막하|대등|"
    r"(?:수준|품질|점수|질)(?:이|은|가)?\s*(?:서로\s*)?(?:같|동일|비슷|동등)|(?:똑같이|서로|거의)\s*(?:좋|비슷|같|동등|우수)|비슷한\s*수준|동등"
)
# Alike in one respect, or a word before another noun: "길이가 거의 같습니다", "서로 같은 실수",
# "수준이 같은 학생".
_ALIKE_IN_PART = re.compile(
    r"(?:길이|분량|내용|표현|형식|문체|구조|말투|어조|주제|결론|오류|실수|주장|예시|뜻|의미|글자)[^,.]{0,6}?"
    r"(?:같|비슷|동일|동등)|(?:같은|비슷한|동등한|동일한)\s+(?!수준(?!의)|점수(?!의)|품질(?!의))"
)
_NO_TIE = re.compile(
    r"(?:동점|무승부|tie)\S*\s*(?:이|은|가)?\s*아[니닙]|(?:무승부|동점)(?:라고|이라고|으로|로)\S*\s*(?:볼|할|하기|보기)"
    r"|\b(?:not|no)\s+(?:a\s+)?(?:tie|draw)\b|\btie\s+goes\b|\btie-?break",
    re.IGNORECASE,
)
# One respect is no verdict: "정확성은 A가 더 좋습니다", "A는 정확성이 더 좋습니다",
# "길이만 보면 A가 낫습니다".
_RESPECT = (
    r"(?:[가-힣]+성|자연스러움|간결함|친절함|친절도|완성도|문법"
    r"|표현|길이|분량|형식|문체|구성|논리|어휘|맞춤법|말투|어조)"
)
_IN_ONE_RESPECT = re.compile(
    rf"{_RESPECT}\s*(?:은|는|만|에서는?|에선|에\s*있어서?는?|(?:측)?면에서는?|부분에서는?|(?:측)?면(?:은|만))\s*{_NOUN}?\s*[AB](?![A-Za-z])"
    rf"|{_RESPECT}(?:이|가|은|는|에서|\s*(?:측)?면에서)\s*(?:(?:더|훨씬|조금|좀|약간)\s*)*{_BETTER}"
    r"|만\s*(?:보면|본다면|놓고|따지|고려하)|\b(?:wins|won)\s+on\b",
    re.IGNORECASE,
)
# What a reply reports, doubts, asks or wishes is not what it finds.
_NOT_FOUND = re.compile(
    r"[다라]['\"]?\s*(?:이?라)?(?:고|는)(?![가-힣]*\s*(?:판단|생각|[봅본보볼]|평가|결론|판정|할\s*수\s*있|하겠|느[끼낍껴]|여[기깁겨]|말할\s*수\s*있|말씀|것|점|확신|믿))"
    r"|니까\s*$|까요?\s*$|나요\s*$|[은는을]지(?=\s|$)|는가\s*$|[았었했렸]을|필요|[어아해]야\s*(?:합|했|한|할|함)|[아어여해]질\s*수|다고는\s*못"
)
_SUPPOSED = re.compile(r"만약|만일|(?<!야\s한)(?<!고른)(?<!택한)다면|(?<!고르)(?<!하)라면")
# A whole sentence; "길이는 둘 다 비슷합니다" speaks of one side of them.
_BOTH_ALIKE = re.compile(
    r"\W*(?:(?:따라서|결론적으로|종합하면|전반적으로|전체적으로|결국|제\s*생각에는?)[,\s]*)*"
    r"(?:둘\s*(?:다|모두)|두\s*(?:답변|대답|응답)(?:[은이]|의\s*(?:수준|품질|질)[은이])?)\s*(?:(?:모두|서로|거의|똑같이)\s*)*"
    r"(?:(?:비슷|동등|대등)(?:합니다|하다|해요|함|했습니다)|같습니다|같다)\W*"
)
_DOUBLE = re.compile(r"\[\[\s*([^\[\]]*?)\s*\]\]")
_LABEL = re.compile(
    r"(?:판정|결론|승자|승리|우승|선택|결과|평가|더\s*(?:나은|좋은|우수한)\s*(?:쪽|답변|대답|응답|모델|것)(?:은|는)?|최종|정답"
    r"|winner|verdict|choice|better(?:\s+(?:answer|response|assistant))?(?:\s+is)?|preferred|result|decision|answer)"
    r"[\]\"')]*\s*(?:(?:은|는|으로|로|is)\s*)?[:=→-]+>?\s*(?:최종\s*)?(?:판정\s*[:=]\s*)?([^\n]{1,40})",
    re.IGNORECASE,
)
_KEY = re.compile(
    r"winner|verdict|choice|better|preferred|preference|result|decision|answer|판정|승자|결론|선택|결과|더\s*나은\s*답변|최종\s*판정|우승",
    re.I,
)
_ORDINALS = (
    (
        re.compile(
            rf"(?:첫\s*번째|첫째|1\s*번(?:째)?|전자의?)\s*{_NOUN}|{_NOUN}\s*(?:1|①|첫\s*번째)(?!\d)(?:번)?",
            re.I,
        ),
        " 답변 A",
    ),
    (
        re.compile(
            rf"(?:두\s*번째|둘째|2\s*번(?:째)?|후자의?)\s*{_NOUN}|{_NOUN}\s*(?:2|②|두\s*번째)(?!\d)(?:번)?",
            re.I,
        ),
        " 답변 B",
    ),
)
_COMPARED = re.compile(r"^\s*([AaBb])\s*(>>?|<<?|=|≈|≥|≤)\s*([AaBb])\s*$")
_NAME = re.compile(
    rf"^\W*(?:{_NOUN}\s*)?([AaBb])(?:\s*{_NOUN})?\W*(?:입니다|이다|임|쪽|승|승리|wins?|is\s+better)?\W*$",
    re.IGNORECASE,
)
_TIE_WHOLE = re.compile(
    rf"^\W*(?:[Cc]|{_TIE}|둘\s*다\s*(?:같음|비슷)|both|equal)(?:\s*\([^)]*\))?\W*(?:입니다|이다|임|다|로\s*판정합니다)?\W*$",
    re.IGNORECASE,
)
_SUBJECT = re.compile(
    rf"{_LETTER.format('first')}(?:의)?(?:\s*{_NOUN})?\s*(?P<mark>가|이|는|은|를|을|쪽이|쪽을|보다는?|에\s*비해|와|과|도|만큼|is|was|wins?|provides|gives)?",
    re.IGNORECASE,
)
_ENGLISH = re.compile(
    rf"(?:{_NOUN}\s+)?{_LETTER.format('who')}(?:'s\s+{_NOUN})?\s+(?:is|was|wins|won|performs|provides|gives|offers|does)\s+(?:\w+\s+){{0,3}}?(?P<how>better|best|superior|stronger|preferable|winner|worse|inferior|weaker|wins)",
    re.IGNORECASE,
)
_ENGLISH_WINS = re.compile(
    rf"(?:{_NOUN}\s+)?{_LETTER.format('who')}\s+(?:wins|won)\b|(?:prefer|choose|pick|select)\s+(?:{_NOUN}\s+)?{_LETTER.format('chosen')}",
    re.I,
)
_SCORED = re.compile(
    rf"(?:{_NOUN}\s*)?{_LETTER.format('who')}(?:\s*{_NOUN})?(?:의\s*점수)?\s*(?:[은는]|에는|에게는|[:=-])?\s*(?=\d)",
    re.IGNORECASE,
)
_DENIED = re.compile(
    r"않|지\s*못(?!하)|아니|아닙|어렵|없|\bneither\b|\bnor\b|\bnot\b|n't|n’t|라면|다면|었을|지만\s*$|\bif\b",
    re.IGNORECASE,
)
_CONCLUDES = re.compile(
    r"따라서|그러므로|결론|종합|최종|전반|전체적|결국|다시\s*(?:보|생각|검토|읽)"
    r"|therefore|overall|in conclusion|thus|so,",
    re.IGNORECASE,
)
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
    for pattern, name in _ORDINALS:
        text = pattern.sub(name, text)
    formal = [_named(match[1]) for match in _DOUBLE.finditer(text)]
    formal += _from_json(text)
    rest = _DOUBLE.sub(" ", text)
    behind = [_named(match[1]) for match in _LABEL.finditer(rest)]
    found = formal + [verdict for verdict in behind if verdict]
    if not found and not cut:
        found = _alone(rest)
    said = _from_sentences(rest)
    if found:
        # A sentence that weighs the two may praise either; one that concludes must not say otherwise.
        return _agreed(found + [verdict for verdict, concludes in said if concludes])
    if cut:
        return VerdictReading(None, "cut off before the verdict")
    if _DECLINES.search(text) and not re.search(_TIE, text):
        return VerdictReading(None, "the judge declines")
    weighed = [verdict for verdict, concludes in said if concludes] or [verdict for verdict, _ in said]
    return _agreed([*weighed, *_from_scores(rest)])


def _agreed(found: list[Verdict | None]) -> VerdictReading:
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
        return _side(first if sign in ">≥" else second)
    if name := _NAME.match(text):
        return _side(name[1])
    if _TIE_WHOLE.match(text):
        return "tie"
    said = {verdict for verdict, _ in _from_sentences(text)}
    return said.pop() if len(said) == 1 else None


def _side(letter: str) -> Verdict:
    return "a" if letter.lower() == "a" else "b"


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


def _from_sentences(text: str) -> list[tuple[Verdict, bool]]:
    """What sentences find better, each with whether it concludes."""
    found: list[tuple[Verdict, bool]] = []
    for sentence in sentences(text):
        concludes = bool(_CONCLUDES.search(sentence))
        verdicts = set(_of_sentence(sentence))
        if len(verdicts) == 1:
            found.append((verdicts.pop(), concludes))
        elif len(verdicts) > 1 and concludes:
            found += [(verdict, True) for verdict in verdicts]
    return found


def _from_scores(text: str) -> list[Verdict]:
    """Who got the better score, where each answer has one and nothing else: `답변 A: 8점, 답변 B: 6점`."""
    found: dict[str, Value] = {}
    for match in _SCORED.finditer(text):
        value = value_at(text, match.end())
        if value is None or not value.unit or value.number is None or is_difference(text, value):
            continue
        if match["who"].lower() in found:
            return []
        found[match["who"].lower()] = value
    if len(found) != 2 or len(values_in(text)) != 2 or found["a"].of != found["b"].of:
        return []
    first, second = (float(found[letter].number or 0) for letter in "ab")
    return ["tie" if first == second else "a" if first > second else "b"]


def _of_sentence(sentence: str) -> Iterator[Verdict]:
    if _BOTH_ALIKE.fullmatch(sentence):
        yield "tie"
        return
    if tie := re.search(_TIE, sentence, re.IGNORECASE):
        better = set(_better_of(sentence[tie.end() :]))
        if not better and not _NO_TIE.search(sentence) and not _ALIKE_IN_PART.search(sentence):
            yield "tie"
        yield from better
        return
    yield from _better_of(sentence)


def _better_of(sentence: str) -> Iterator[Verdict]:
    """Which answer a sentence finds better as a whole."""
    if _IN_ONE_RESPECT.search(sentence) and not _CONCLUDES.search(sentence):
        return
    for match in _ENGLISH.finditer(sentence):
        if not _DENIED.search(sentence):
            worse = match["how"].lower() in {"worse", "inferior", "weaker"}
            yield _other(_side(match["who"])) if worse else _side(match["who"])
    for match in _ENGLISH_WINS.finditer(sentence):
        if not _DENIED.search(sentence):
            yield _side(match["who"] or match["chosen"])
    for clause in re.split(r"지만|는데|으나|(?<=[가-힣])고\s*,\s*(?=.{0,12}[AaBb](?![A-Za-z]))", sentence):
        yield from _of_clause(clause, whole=clause is sentence or sentence.endswith(clause))


def _of_clause(clause: str, whole: bool) -> Iterator[Verdict]:
    """What a Korean clause finds better: `A가 더 낫다`, `A보다 B가 낫다`, `A는 B보다 못하다`, `A를 선택`."""
    if not whole or not re.search(r"[가-힣]", clause):
        return
    subjects, compared, last = [], [], 0
    for match in _SUBJECT.finditer(clause):
        mark = (match["mark"] or "").replace(" ", "")
        if mark.startswith("보다") or mark.startswith("에비해") or mark == "만큼":
            compared.append(match["first"].lower())
        elif mark in {"가", "이", "는", "은", "쪽이", "를", "을", "쪽을"}:
            subjects.append(match["first"].lower())
        last = match.end()
    rest = clause[last:]
    if len(set(subjects)) != 1 or _DENIED.search(rest) or _NOT_FOUND.search(rest) or _SUPPOSED.search(clause):
        return
    subject = subjects[0]
    if subject in compared:
        return
    if less := re.search(r"덜\s*(?P<bad>부|불|나쁘|어색|틀)?", rest):
        if compared and not less["bad"]:
            yield _other(_side(subject))
        return
    overall = bool(compared) or re.search(
        r"더|낫|나은|나았|우수|뛰어|승|이겼|이깁|선택|못하|못합|떨어|뒤", rest
    )
    if re.match(rf"\s*{_WORSE}", rest) or (compared and re.search(_WORSE, rest)):
        if compared:
            yield _other(_side(subject))
    elif overall and re.search(_BETTER, rest):
        yield _side(subject)


def _other(verdict: Verdict) -> Verdict:
    return "b" if verdict == "a" else "a"
