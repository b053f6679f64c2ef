"""Particles (josa) that do not fit the word before them: 사과을, 책를, 학교으로, 물으로."""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from komt.evaluate.text_metrics import kiwi
from komt.korean import PAIRS, josa, nfc

# Longest first: 으로써 before 으로 before 로. 아/야, 이고/고 and their like are endings as well as particles.
_PAIRS = ("으로써/로써", "으로서/로서", "이라는/라는", "이라고/라고", "이랑/랑", "이나/나", "으로/로")
_SHORT = ("은/는", "이/가", "을/를", "과/와")
# A particle may have others behind it: 학교으로는, 사과을까지.
_AFTER = r"(?:부터|까지|만|도|는|의|만은|만이|부터는|까지는|까지도|뿐|밖에)?"
_FORMS = {form: pair for pair in (*_PAIRS, *_SHORT) for form in PAIRS[pair]}
_EOJEOL = {
    form: re.compile(rf"(?P<word>\S*[가-힣]){form}(?P<after>{_AFTER}[^\w\s]*)")
    for form in sorted(_FORMS, key=len, reverse=True)
}
# By how much more likely the sentence must be with the fitting particle, in natural logarithms. To Kiwi 로
# and 으로 are one after ㄹ, and no word ends in 으로 after a vowel or ㄹ: there it may be as likely.
_MARGIN, _MARGIN_OF_RO = 3.0, -0.5


@dataclass(frozen=True, slots=True)
class WrongParticle:
    """A word with a particle that does not fit it, and how it should be."""

    found: str
    right: str


def wrong_particles(text: str) -> tuple[list[WrongParticle], int]:
    """Particles that do not fit the last sound of the word before them, and how many particles of such kind
    there are.

    Looked at are 은/는, 이/가, 을/를, 과/와, (으)로, (이)나, (이)랑, (이)라는, (이)라고 after Hangul. Many
    nouns end like a wrong particle (마을, 국가, 효과): one counts as wrong only if Kiwi finds the sentence
    with the fitting form clearly more likely, and then reads it as a noun with a particle.

    Raises:
        MissingExtra: kiwipiepy is not installed.
    """
    wrong: list[WrongParticle] = []
    count = 0
    for sentence in filter(None, map(str.strip, nfc(text).splitlines())):
        found, particles = _in_line(sentence)
        wrong += found
        count += particles
    return wrong, count


@lru_cache(maxsize=4096)
def _in_line(line: str) -> tuple[tuple[WrongParticle, ...], int]:
    _, likelihood = _analysed(line)
    wrong, mended = list[WrongParticle](), line
    for match in reversed(list(re.finditer(r"\S+", line))):
        if fitting := _fitting(match.group()):
            instead = line[: match.start()] + fitting.right + line[match.end() :]
            if _is_wrong(instead, match.start(), fitting, likelihood):
                wrong.insert(0, fitting)
                mended = mended[: match.start()] + fitting.right + mended[match.end() :]
    tokens, _ = _analysed(mended)
    return tuple(wrong), sum(token.tag.startswith("J") and token.form in _FORMS for token in tokens)


def _fitting(eojeol: str) -> WrongParticle | None:
    """The eojeol with the other form of what may be its particle, if that form would not fit; else None."""
    wrong: list[WrongParticle] = []
    for form, pattern in _EOJEOL.items():
        match = pattern.fullmatch(eojeol)
        if match and not (form.startswith("로") and match["word"].endswith("으")):
            fitted = josa(match["word"], _FORMS[form])
            if fitted == match["word"] + form:
                return None
            wrong.append(WrongParticle(eojeol, fitted + match["after"]))
    return wrong[0] if wrong else None


def _is_wrong(line: str, at: int, fitting: WrongParticle, likelihood: float) -> bool:
    tokens, instead = _analysed(line)
    is_ro = len(fitting.found) > len(fitting.right) and "으로" in fitting.found
    if instead - likelihood < (_MARGIN_OF_RO if is_ro else _MARGIN):
        return False
    own = [token for token in tokens if at <= token.start < at + len(fitting.right)]
    return any(
        before.tag.startswith(("N", "SL", "SN", "XSN", "W"))
        and token.tag.startswith("J")
        and token.form in _FORMS
        for before, token in itertools.pairwise(own)
    )


def _analysed(line: str) -> tuple[list[Any], float]:
    tokens, likelihood = kiwi().analyze(line, top_n=1)[0]
    return tokens, float(likelihood)
