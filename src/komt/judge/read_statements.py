"""Scores of a judge's reply that a sentence gives, or that stand alone."""

from __future__ import annotations

import re
from collections.abc import Iterator

from komt.judge.read_labels import FOR_A_PART, MINUS, NEAR, PART, PART_BEFORE, line_before
from komt.judge.read_value import BEFORE_ALONE, Value, alone, value_at, values_in

_PART_SUBJECT = re.compile(
    PART + r"\s*(?:은|는|이|가|에|에는|에서|에서는|면에서는?|측면에서는?|항목은|점수는|[:=-])", re.IGNORECASE
)
# What the right answer to the question is, is no score of the one that was given.
_ANSWER_BEFORE = re.compile(
    r"(?<!이\s)(?<!해당\s)(?<!위\s)(?:답변|응답|대답)\s*[:=][\s\"'(]*$"
    r"|(?<![가-힣])(?:정답|해답|모범\s*답안|(?:옳은|올바른|맞는|바른|문제의|질문의)\s*답|답)(?:은|이|는|도|란)?\s*[:=]?[\s\"'(]*$"
    r"|\b(?:answer|solution)\s*(?:is|was|should\s+be|would\s+be|[:=])[\s\"'(]*$",
    re.IGNORECASE,
)
# What others gave, what one side alone would get, a mean: not the score. Up to the number itself.
_NOT_ITS_OWN = re.compile(
    r"(?:(?:다른|타|또\s*다른|동료|이전|앞선|일부|어떤|대부분의?)\s*[가-힣]+"
    r"|(?<!본\s)(?<!저희\s)(?:평가자|심사자|심사위원|채점자|평가원|(?:Chat)?GPT[-\w.]*|Claude|Gemini"
    r"|사용자|이용자|사람|전문가|고객|독자)들?)"
    r"(?:은|는|이|가|께서)\s+(?:(?:이|해당|그|위)\s+)?(?:[가-힣]+(?:에|에게|에는|을|를)\s+)?(?:[가-힣]+\s+)?$"
    r"|만(?:을)?\s*(?:보면|보자면|본다면|놓고(?:\s*보면)?|따지면|고려하면|평가하면)\s*(?:[가-힣]+\s+)?$"
    r"|(?:문항|문제|항목|개)당\s*$|평균(?:\s*점수)?[은는이가]?\s*$"
    r"|\b(?:other|another|previous|some|most)\s+(?:\w+\s+)?(?:judges?|reviewers?|raters?|evaluators?|users?|people|critics)"
    r"\s+(?:\w+\s+)?$|\b(?:users?|people|critics|readers?)\s+$",
    re.IGNORECASE,
)
_GIVES = re.compile(
    r"\s*(?:을|를|으로|로|이라고|라고|이라는|라는|의|정도(?:의|로|를|가)?|수준(?:의|으로)?)?\s*(?:점수(?:를|로|가)?\s*)?"
    r"(?:정도(?:로|를|가)?\s*|수준(?:으로|의)?\s*)?(?:밖에\s+|만\s+)?(?:[가-힣]{1,6}(?:하게|히)\s+)?"
    r"(?:부여|드[리립린렸]|주겠|줍니다|주었|준다|줬|주고자|주고\s*싶|줄\s*수\s*있|줄게|주는\s*것|주기로|주려(?!다|던|고\s*[했하])|주면|매[기깁겼긴]|"
    r"에\s*해당|처리|이요|짜리\s*답변(?:입니다|이다)|평가(?:합|했|한다|하겠|됩|된|할|하였|해)|채점|책정|산정|판단|결정|선정|입니다|이다|이에요|예요|이라\s*할|"
    r"[이가]?\s*(?:적[절당]|타당|합당|알맞|마땅)|받을\s*만|생각|보입니다|답변(?:입니다|이다)|하겠)",
)
_GIVES_ENGLISH = re.compile(
    r"\b(?:rated?|rates|gives?|(?<=I )gave|scored?|scores|assign(?:s|ed)?|award(?:s|ed)?|deserves?|merits?"
    r"|earns?|gets?|receives?)\s+"
    r"(?:(?:it|this|the|answer|response|reply|assistant|model)\s+){0,3}"
    r"(?:(?:with|at|as)\s+)?(?:(?:an?|the)\s+)?(?:(?:overall|final)\s+)?(?:(?:score|rating|grade)\s+(?:of\s+)?)?\[*",
    re.IGNORECASE,
)
_DENIED = re.compile(
    r"않|못|없|아니|아닙|어렵|힘들|부족|무리|과하|과분|아깝|지나치|[았었]을|[았었]겠|겠지만|싶지만|싶었|모자라"
    r"|\bnot\b|n't|\b(?:would|could|might) have\b|cannot",
    re.IGNORECASE,
)
_LIST_GOES_ON = re.compile(r"\s*(?:,|이고|이며|및|과\s|와\s|;)")
_WISHED = re.compile(r"[^.,]{0,16}싶(?:지만|었|으나)")
_SUPPOSED = re.compile(
    r"[라다]면(?=[\s,])|[었았]으면|더라도|만약|처음에|원래|당초|애초|이전|\bif\b|unless|initially|at first",
    re.I,
)
_MINUS_BEFORE = re.compile(
    r"(?:감점|가점|마이너스|deduct(?:ed|ing)?|minus|lost|loses?|subtract(?:ed)?)\s*[:=]?\s*$|[-+]$"
    r"|\b(?:(?:more|fewer|less|higher|lower)\s+than|at\s+(?:most|least)|up\s+to|almost|nearly)\s+(?:an?\s+)?$",
    re.IGNORECASE,
)
_AFTER_LEAD = re.compile(
    r"\s*(?:입니다|이다|이에요|처리)?\s*(?:[.:;!(\[,–—-](?!\s*\d)|이유|근거|설명|평가|because\b|since\b|as\b|for\b)",
    re.IGNORECASE,
)
_LISTED = re.compile(r"^\s*\d+\s*점?\s*[.):,-]", re.MULTILINE)


def asserted(sentences: list[str]) -> list[Value]:
    """Scores that a sentence gives: `8점을 부여합니다`, `10점 만점에 8점`, `I would give it a 7`."""
    found = []
    for sentence in sentences:
        if _PART_SUBJECT.search(sentence) or sentence.endswith("?"):
            continue
        values, lists = values_in(sentence), False
        for value in values:
            clause = re.split(r"지만|으나|는데|면서|,", sentence[value.end : value.end + NEAR])[0]
            supposed = _SUPPOSED.search(line_before(sentence, value.start)) or _DENIED.search(clause)
            given = _GIVES.match(sentence, value.end) or (
                value.of is not None and "만점" in sentence[value.start : value.end]
            )
            if (
                given
                and not supposed
                and not is_difference(sentence, value)
                and not _WISHED.match(sentence, value.end)
                and not _ANSWER_BEFORE.search(line_before(sentence, value.start))
                and not _NOT_ITS_OWN.search(line_before(sentence, value.start))
                and not PART_BEFORE.search(line_before(sentence, value.start))
            ):
                found.append(value)
                lists = True
        if lists:  # "8점, 6점입니다": the others are given with it
            found += [
                value
                for value in values
                if _LIST_GOES_ON.match(sentence, value.end)
                and not PART_BEFORE.search(line_before(sentence, value.start))
            ]
        found += _given_in_english(sentence)
    return found


def _given_in_english(sentence: str) -> Iterator[Value]:
    if _DENIED.search(sentence) or _SUPPOSED.search(sentence):
        return
    for verb in _GIVES_ENGLISH.finditer(sentence):
        value = value_at(sentence, verb.end())
        if value is None or _NOT_ITS_OWN.search(line_before(sentence, verb.start())):
            continue
        after = sentence[value.end : value.end + NEAR]
        if FOR_A_PART.match(after):
            continue
        if value.unit or re.match(
            r"[\]\s]*(?:$|[.,;!)]|(?:for|because|since|as|on|overall|due|based)\b)", after
        ):
            yield value


def is_difference(sentence: str, value: Value) -> bool:
    """Whether points are taken off or added rather than given."""
    return bool(MINUS.match(sentence, value.end) or _MINUS_BEFORE.search(line_before(sentence, value.start)))


def single(text: str) -> list[Value]:
    """Scores that stand by themselves: the first or last line as a number, `8점.` or `8 - …` at the start."""
    lines = [line for line in text.split("\n") if line.strip()]
    found = [value for line in dict.fromkeys((lines[0], lines[-1])) if (value := alone(line))]
    start = BEFORE_ALONE.match(text)
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
        after, before = text[value.end : value.end + NEAR], line_before(text, value.start)
        fraction = value.of is not None
        if is_difference(text, value) or PART_BEFORE.search(before) or _ANSWER_BEFORE.search(before):
            continue
        if _NOT_ITS_OWN.search(re.split(r"[.!?]\s", before)[-1]) or FOR_A_PART.match(after):
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
