"""Personal data in texts: resident numbers, phones, e-mail addresses and card numbers, by their own rules.

A number counts only with its check digits (resident numbers, cards) or its area code and form (phones), so
that dates, ISBN, barcodes, scores, accounts and order numbers stay.
"""

from __future__ import annotations

import calendar
import re
from collections.abc import Callable
from re import Match

PLACEHOLDERS = {
    "resident_number": "[주민등록번호]",
    "card_number": "[카드번호]",
    "phone": "[전화번호]",
    "email": "[이메일]",
}

# Whatever may be personal data has an @ or this: a quick look at a text ends here.
DIGITS = re.compile(r"[0-9][0-9]{2}[-. )]{0,2}[0-9]{4}")  # a class that opens a pattern is searched for fast

_RESIDENT = re.compile(r"(?<![0-9A-Za-z-])([0-9]{6})( ?- ?|)([1-8][0-9]{6})(?![0-9A-Za-z]|-[0-9])")
_CARD = re.compile(
    r"(?<![0-9A-Za-z-])(?:[0-9]{4}([- ])[0-9]{4}\1[0-9]{4}\1[0-9]{4}|3[47][0-9]{2}([- ])[0-9]{6}\2[0-9]{5}"
    r"|[0-9]{15,16})(?![0-9A-Za-z]|-[0-9])"
)
# Issuers of numbers without gaps: Visa, Mastercard, JCB, Discover, UnionPay, American Express.
_ISSUER = re.compile(r"(?:4[0-9]|5[1-5]|2[2-7]|35|6[025])[0-9]{14}|3[47][0-9]{13}")
_MOBILE = (
    r"(?:\+?82[-. ]?\(?0?\)?10|\(?01[016-9]\)?)([-. ])[2-9][0-9]{2,3}\1[0-9]{4}"
    r"|\+?8210[2-9][0-9]{7}|010[2-9][0-9]{7}|\(01[016-9]\) ?[2-9][0-9]{2,3}[-. ][0-9]{4}"
)
_AREA = r"(?:2|3[1-3]|4[1-4]|5[1-5]|6[1-4]|70|50[2-8]?)"
_LANDLINE = (
    rf"(?:\(0{_AREA}\) ?|0{_AREA}\) ?|0{_AREA}[-.]|\+82[-. ]{_AREA}[-. ])[2-9][0-9]{{2,3}}[-.][0-9]{{4}}"
)
_PHONE = re.compile(rf"(?<![0-9A-Za-z.+-])(?:{_MOBILE}|{_LANDLINE})(?![0-9A-Za-z]|[-.][0-9])")
_EMAIL = re.compile(
    r"(?<![A-Za-z0-9._%+-])[A-Za-z0-9][A-Za-z0-9._%+-]{0,63}@((?:[A-Za-z0-9-]{1,63}\.)+[A-Za-z]{2,24})"
    r"(?![A-Za-z0-9])"
)
# Names that are nobody's (RFC 2606).
_NOBODY = re.compile(r"(?:.*\.)?example\.(?:com|net|org)|.*\.(?:example|test|invalid)", re.IGNORECASE)
_WEIGHTS = (2, 3, 4, 5, 6, 7, 8, 9, 2, 3, 4, 5)


def mask(text: str) -> tuple[str, frozenset[str]]:
    """A text with [전화번호] and its like where personal data stood, and the kinds that were found.

    Kinds are the keys of PLACEHOLDERS.
    """
    if "@" not in text and not DIGITS.search(text):
        return text, frozenset()
    found = set[str]()

    def replacing(kind: str, holds: Callable[[Match[str]], bool]) -> Callable[[Match[str]], str]:
        def replace(match: Match[str]) -> str:
            if not holds(match):
                return match.group()
            found.add(kind)
            return PLACEHOLDERS[kind]

        return replace

    text = _RESIDENT.sub(replacing("resident_number", _is_resident), text)
    text = _CARD.sub(replacing("card_number", _is_card), text)
    text = _PHONE.sub(replacing("phone", lambda _: True), text)
    text = _EMAIL.sub(replacing("email", lambda match: not _NOBODY.fullmatch(match.group(1))), text)
    return text, frozenset(found)


def is_resident_number(birth: str, rest: str) -> bool:
    """Whether six and seven digits are a resident (or foreigner's) number: a real date and the check digit.

    Numbers of people born since October 2020 have no check digit: of them the date counts alone.
    """
    century = {"1": 1900, "2": 1900, "5": 1900, "6": 1900}.get(rest[0], 2000)
    year, month, day = century + int(birth[:2]), int(birth[2:4]), int(birth[4:])
    if year > 2039 or not 1 <= month <= 12 or not 1 <= day <= calendar.monthrange(year, month)[1]:
        return False
    if (year, month) >= (2020, 10):
        return True
    digits = [int(digit) for digit in birth + rest]
    total = sum(weight * digit for weight, digit in zip(_WEIGHTS, digits, strict=False))
    offset = 11 if rest[0] in "1234" else 13
    return (offset - total % 11) % 10 == digits[-1]


def has_luhn(digits: str) -> bool:
    """Whether a number's last digit is its check digit by Luhn (ISO/IEC 7812-1)."""
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) * (1 + place % 2)
        total += value - 9 if value > 9 else value
    return total % 10 == 0


def _is_resident(match: Match[str]) -> bool:
    birth, gap, rest = match.groups()
    # Barcodes and book numbers have 13 digits and no gap; a date without check digit needs the gap too.
    if not gap and (_is_barcode(birth + rest) or (rest[0] in "3478" and birth >= "201001")):
        return False
    return is_resident_number(birth, rest)


def _is_barcode(digits: str) -> bool:
    total = sum(int(digit) * (1 + 2 * (place % 2)) for place, digit in enumerate(digits))
    return total % 10 == 0 and digits.startswith(("880", "978", "979"))


def _is_card(match: Match[str]) -> bool:
    digits = re.sub("[- ]", "", match.group())
    issued = digits[0] in "34569" if len(digits) < len(match.group()) else bool(_ISSUER.fullmatch(digits))
    return issued and len(set(digits)) > 1 and has_luhn(digits)
