"""What the sentences of a judge's reply find: which of two answers is better, or that neither is.

A sentence counts only where its last clause has one of the forms below up to its end, and states it: what is
denied, asked, wished, supposed, reported, or praised in one respect ends or begins otherwise.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal

from komt.judge.read_text import sentences

Verdict = Literal["a", "b", "tie"]

NOUN = r"(?:답변|대답|응답|대화|모델|비서|어시스턴트|assistant|answer|response|reply|model|option)"
SIDE = (
    rf"(?:{NOUN}\s*)?(?<![A-Za-z가-힣])(?P<side>[AB])(?![A-Za-z0-9])"
    rf"(?:\s*쪽|(?:의(?:\s*[첫두]\s*번째)?|'s)?(?:\s*{NOUN})?)?"
)
_SIDE = re.compile(rf"{SIDE}\s*(?P<mark>보다|에\s*비해|만큼|[이가은는])(?:\s|[는서도만]\s|,)", re.I)
_MORE = (
    r"더욱|더|훨씬|조금|약간|좀|다소|한층|확실히|분명히|단연|월등[히하]|근소하게"
    r"|전반적으로|전체적으로|종합적으로"
)
_GOOD = (
    r"(?<![부불])(?:낫|나은|나았|나아(?!지)|좋|우수|훌륭|뛰어|탁월|적절|적합|정확|자연스|유용|유익|충실|바람직|명확"
    r"|알맞|친절|완전|풍부|높은|앞[서선섭섰])"
)
_STRONG = r"낫|나은|나았|나아|우수|뛰어|탁월|앞[서선섭섰]"
_BAD = (
    r"못하|못합|못했|뒤처|뒤떨어|떨어[지집진졌]|부족|나쁘|나쁩|열등|미흡"
    r"|[부불](?:정확|자연|적절|명확|완전|친절|충분)"
)
# How a statement ends; how a judge's own finding does; and "is the better answer".
_IS = r"[가-힣]{0,4}(?:니다|(?<![나까가])요|다|음|함|임|죠)"
_OWN = (
    r"(?:(?:판단|생각|평가|판정|결론|느[끼낍껴]|여[기깁겨]|하겠|봅니다|본다|보입니다|보인다|(?:볼|할)\s*수\s*있)[가-힣]*"
    r"(?:\s*(?:수\s*있|내[리립])[가-힣]*)?|보는\s*것이\s*(?:타당|맞|옳|적절)[가-힣]*)"
)
_THING = (
    rf"[가-힣]{{0,2}}(?<![을할일날될럴])\s*(?:{NOUN}|답|쪽|것|편|글)"
    rf"(?:\s*같[가-힣]+|(?:으로|이?라고|로)\s*{_OWN}|[가-힣]{{0,3}}(?:니다|다|요|임))"
)
_END = (
    rf"(?:{_IS}|[가-힣]{{0,3}}다고\s*{_OWN}|{_THING}|[가-힣]{{0,2}}\s*(?:보입니다|보인다|보여요))"
    r"(?=\W*$|\s*[:–—-]\s|,?\s*왜냐)"
)
_PRAISED = re.compile(rf"{_GOOD}{_END}")
_BLAMED = re.compile(rf"(?:{_BAD}){_IS}\W*$")
_LESS = re.compile(rf"덜\s*(?![부불나틀어]){_GOOD}{_END}")
_AND = re.compile(r"(.*[가-힣]고),?\s+(.*)", re.DOTALL)
_WON = re.compile(r"(?:승리|이[겼깁긴])[가-힣]{0,4}(?:니다|다|음|함|임)?\W*$")
_CHOSEN = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        rf"{SIDE}\s*[을를]\s*[^.]{{0,24}}?(?:선택|고르|고릅|고른|골랐|택[하합한했]|추천|선호|꼽)(?!하지|지|은|는){_IS}\W*$",
        rf"{SIDE}\s*[을를]\s*더\s*(?:나은|좋은|우수한)\s*(?:{NOUN}|쪽|것)(?:으로|이?라고)\s*{_OWN}\W*$",
        rf"{SIDE}\s*완?승리?(?:입니다|이다|임)?\W*$",
        rf"{SIDE}\s*손을\s*들(?:어\s*[주드줍줬])?{_IS}\W*$",
        rf"{SIDE}\s*에게?\s*더\s*(?:높은|좋은)\s*점수를\s*(?:주|드|부여|매|줍){_IS}\W*$",
        rf"(?:(?:더|가장)\s*(?:나은|좋은|우수한|뛰어난|적절한)\s*(?:{NOUN}|쪽|것|답)|승자|판정|결론|선택)[은는]\s*"
        rf"{SIDE}\s*(?:입니다|이다|임|예요|이에요|(?:으?로|이?라고)\s*{_OWN})\W*$",
    )
)
# Others' preferences are not the judge's.
_OTHERS = re.compile(
    r"(?:사람|사용자|독자|일부|평가자|심사자|심사위원|전문가|질문자|고객|모델|누군가)(?:들)?(?:은|는|이|가)\s"
)
_RESPECT = (
    r"(?:[가-힣]+성|자연스러움|간결함|친절함|친절도|완성도|가독성|문법|표현|길이|분량|형식|문체|구성|구조|논리|어휘"
    r"|맞춤법|말투|어조|예시|근거|내용|설명|깊이|정보)"
)
_IN_ONE_RESPECT = re.compile(
    rf"{_RESPECT}\s*(?:은|는|만|에서는?|에선|에\s*있어서?는?|(?:측)?면에서는?|부분에서는?|(?:측)?면(?:은|만)|:)\s*{SIDE}(?!\s*보다)"
    rf"|{_RESPECT}(?:이|가|은|는|에서|\s*(?:측)?면에서)\s*(?:(?:{_MORE})\s*)*{_GOOD}"
    r"|만\s*(?:보면|본다면|놓고|따지|고려하)",
    re.IGNORECASE,
)
_SUPPOSED = re.compile(
    r"만약|만일|(?<!야\s한)(?<!고른)(?<!택한)다면|(?<!고르)(?<!하)라면|[았었했]으면|\b(?:if|unless|says|said)\b",
    re.I,
)
_TIE = re.compile(
    r"무승부|동점|동률|비겼|비김|비깁|\btied?\b|(?:^\W*|\ba\s+)draw\b|막상막하|대등|동등|비슷한\s*수준"
    r"|(?:수준|품질|점수|질)(?:이|은|가)?\s*(?:(?:서로|거의|매우)\s*)*(?:같|동일|비슷)"
    r"|(?:똑같이|서로|거의)\s*(?:좋|비슷|같|우수|훌륭)|\bequally\s+(?:good|well|strong|helpful)\b",
    re.IGNORECASE,
)
_NOT_TO_TELL = re.compile(
    r"우열[을이은]?\s*(?:없|(?:가[리릴]|매[기길]|논[하할]|따[지질])[가-힣\s]{0,8}(?:어렵|힘들|없|못|곤란))"
    r"|^\W*(?:두\s*(?:답변|대답|응답)(?:의|은|\s*(?:사이|간)에는?)?\s*(?:(?:수준|품질|질)[은에]\s*)?)?"
    r"(?:큰|뚜렷한|별다른|별)\s*차이[가는]?\s*없[가-힣]{1,3}\W*$"
)
_UNTRUE = re.compile(
    r"않|아니|아닙|없|어렵|힘들|못|까\W*$|나요|않|\b(?:not|no|if|isn't|neither)\b|tie\s+goes|tie-?break", re.I
)
# Alike in one respect, or a word before another noun: "길이가 거의 같습니다", "서로 같은 실수".
_ALIKE_IN_PART = re.compile(
    r"(?:길이|분량|내용|표현|형식|문체|구조|말투|어조|주제|결론|오류|실수|주장|예시|뜻|의미|글자)[^,.]{0,6}?"
    r"(?:같|비슷|동일|동등|대등)|(?:같은|비슷한|동등한|동일한|대등한)\s+(?!수준(?!의)|점수(?!의)|품질(?!의)|답변(?:입|이다))"
)
_BOTH_ALIKE = re.compile(
    r"\W*비슷비슷(?:합니다|하다|해요|함)\W*|\W*(?:(?:따라서|결론적으로|종합하면|전반적으로|전체적으로|결국|제\s*생각에는?)[,\s]*)*"
    r"(?:둘\s*(?:다|모두)|두\s*(?:답변|대답|응답)(?:[은이]|의\s*(?:수준|품질|질)[은이])?)\s*(?:(?:모두|서로|거의|똑같이|완전히)\s*)*"
    r"(?:(?:비슷|비슷비슷|동등|대등)(?:합니다|하다|해요|함|했습니다)|같습니다|같다)\W*"
)
_MUCH = (
    r"(?:(?:clearly|slightly|much|far|significantly|marginally|somewhat|generally|overall|definitely|also"
    r"|a|an|the|bit|little)\s+)*"
)
_STOP = r"(?=\W*$|[.,;:!)]|\s+(?:than|because|since|as|overall|due|and|by)\b)"
_BETTER_IS = re.compile(
    rf"{SIDE}\s+(?:is|was|does|performs|did|performed|provide[sd]|gives|gave|offer(?:s|ed))\s+{_MUCH}"
    rf"(?P<how>better|best|superior|stronger|preferable|winner|worse|inferior|weaker)(?:\s+(?:{NOUN}|one|choice|overall))*{_STOP}",
    re.IGNORECASE,
)
_WINS = re.compile(
    rf"\b(?:better|best|stronger|winning)\s+(?:{NOUN}|one|choice)\s+is\s+(?:clearly\s+)?(?:{NOUN}\s+)?(?P<last>[AB])\b(?!\s*')"
    rf"|{SIDE}\s+(?:wins|won)\b{_STOP}"
    rf"|\bI(?:\s+(?:would|will|strongly|clearly|have\s+to|also)|'d|'ll)*\s+(?:prefer|choose|pick|select|go\s+with)\s+(?:{NOUN}\s+)?(?P<chosen>[AB])\b",
    re.IGNORECASE,
)
_PARTLY = re.compile(r"\bin\s+terms\s+of|\bwhen\s+it\s+comes|\bat\s+\w+ing\b", re.IGNORECASE)
_DENIED = re.compile(r"\bneither\b|\bnor\b|\bnot\b|n't\b", re.IGNORECASE)
_CONCLUDES = re.compile(
    r"따라서|그러므로|결론|종합|최종|전반|전체적|결국|다시\s*(?:보|생각|검토|읽)"
    r"|therefore|overall|in conclusion|thus|so,",
    re.IGNORECASE,
)
_TAKEN_BACK = re.compile(
    r"^(?:하지만|그러나|아니)?[,\s]*(?:그렇지(?:는)?\s*않|(?:이는|그건|그것은)?\s*사실이?\s*아[니닙])"
)


def found_better(text: str) -> list[tuple[Verdict, bool]]:
    """What sentences find, each with whether it concludes; what the next one takes back is left out."""
    found: list[tuple[Verdict, bool]] = []
    for sentence in sentences(text):
        if _TAKEN_BACK.search(sentence):
            found = found[:-1]
            continue
        verdicts = set(_of_sentence(re.sub(r"\([^()]*\)", "", sentence)))
        concludes = bool(_CONCLUDES.search(sentence))
        if len(verdicts) == 1 or concludes:
            found += [(verdict, concludes) for verdict in sorted(verdicts)]
    return found


def says_tie(text: str) -> bool:
    """Whether a text speaks of a tie, or that neither can be told to be better."""
    return bool(_TIE.search(text) or _NOT_TO_TELL.search(text))


def side(letter: str) -> Verdict:
    """The answer that a letter names."""
    return "a" if letter.lower() == "a" else "b"


def _other(letter: str) -> Verdict:
    return "b" if side(letter) == "a" else "a"


def _of_sentence(sentence: str) -> Iterator[Verdict]:
    if sentence.endswith("?"):
        return
    better = [*_in_english(sentence), *_in_korean(sentence)]
    yield from better
    tie = bool(_BOTH_ALIKE.fullmatch(sentence) or _NOT_TO_TELL.search(sentence))
    if not better and not tie and (named := _TIE.search(sentence)):
        before, after = sentence[: named.start()], sentence[named.end() :]
        tie = (
            not _UNTRUE.search(after)
            and not re.search(r"지만|으나|는데", after)
            and not re.search(r"\b(?:not|no)\W+(?:an?\W+)?$", before)
        )
    if (
        not better
        and tie
        and not _SUPPOSED.search(sentence)
        and not _ALIKE_IN_PART.search(sentence)
        and not re.search(r"지만\W*$", sentence)
    ):
        yield "tie"


def _in_english(sentence: str) -> Iterator[Verdict]:
    if _SUPPOSED.search(sentence):
        return
    for part in re.split(r"[;,]", sentence):
        if _DENIED.search(part) or _PARTLY.search(part):
            continue
        for match in _BETTER_IS.finditer(part):
            worse = match["how"].lower() in {"worse", "inferior", "weaker"}
            yield _other(match["side"]) if worse else side(match["side"])
        for match in _WINS.finditer(part):
            yield side(match["side"] or match["chosen"] or match["last"])


def _in_korean(sentence: str) -> Iterator[Verdict]:
    """The better one by the last clause: `A가 더 낫다`, `A는 B보다 못하다`, `A를 선택한다`."""
    clause = re.split(r"지만|는데|으나", sentence)[-1]
    if _IN_ONE_RESPECT.search(sentence) or _SUPPOSED.search(clause):
        return
    others = _OTHERS.search(sentence)
    if others and re.search(rf"다고\s*{_OWN}", clause):
        return
    if not others:
        for form in _CHOSEN:
            if match := form.search(clause):
                yield side(match["side"])
                return
    if (parts := _AND.match(clause)) and not re.search(rf"더|{_GOOD}", parts[1]):
        clause = parts[2]  # "A는 틀렸고, B가 더 정확합니다"; of two that are praised none is better
    marks = [(match["side"].lower(), match["mark"], match.end()) for match in _SIDE.finditer(clause)]
    compared = {letter for letter, mark, _ in marks if mark not in "이가은는"}
    subjects = {letter for letter, mark, _ in marks if mark in "이가은는"}
    if len(subjects) != 1 or subjects & compared:
        return
    [subject] = subjects
    rest = clause[marks[-1][2] - 1 :]
    if _LESS.search(rest) or _BLAMED.search(rest):
        if compared:
            yield _other(subject)
    elif _WON.search(rest) or (
        _PRAISED.search(rest) and "덜" not in rest and (compared or re.search(rf"{_MORE}|{_STRONG}", rest))
    ):
        yield side(subject)
