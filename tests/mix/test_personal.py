from __future__ import annotations

import pytest

from komt.mix.personal import has_luhn, is_resident_number, mask


def resident(birth: str, serial: str) -> str:
    """A made-up number with the right check digit."""
    weights = (2, 3, 4, 5, 6, 7, 8, 9, 2, 3, 4, 5)
    total = sum(w * int(d) for w, d in zip(weights, birth + serial, strict=True))
    return f"{birth}-{serial}{((11 if serial[0] in '1234' else 13) - total % 11) % 10}"


@pytest.mark.parametrize(
    ("text", "masked", "kind"),
    [
        (f"번호는 {resident('900101', '123456')}입니다", "번호는 [주민등록번호]입니다", "resident_number"),
        (
            f"번호는 {resident('051231', '412345').replace('-', '')}",
            "번호는 [주민등록번호]",
            "resident_number",
        ),
        (f"외국인 {resident('851130', '512345')}", "외국인 [주민등록번호]", "resident_number"),
        # No check digit since October 2020.
        ("아기는 201105-3123456", "아기는 [주민등록번호]", "resident_number"),
        ("010-1234-5678로 연락 주세요", "010-1234-5678로 연락 주세요", ""),
        ("010-2345-6789로 연락 주세요", "[전화번호]로 연락 주세요", "phone"),
        ("연락처:01023456789.", "연락처:[전화번호].", "phone"),
        ("문자는 010 2345 6789", "문자는 [전화번호]", "phone"),
        ("옛 번호 011-345-6789", "옛 번호 [전화번호]", "phone"),
        ("+82-10-2345-6789", "[전화번호]", "phone"),
        ("(02) 345-6789, 031-234-5678", "[전화번호], [전화번호]", "phone"),
        ("대표 02)2345-6789로", "대표 [전화번호]로", "phone"),
        ("070.7345.6789", "[전화번호]", "phone"),
        ("메일은 hong.gil-dong@mail.kr로", "메일은 [이메일]로", "email"),
        ("카드 4111-1111-1111-1111 결제", "카드 [카드번호] 결제", "card_number"),
        ("카드 5500000000000004", "카드 [카드번호]", "card_number"),
        ("아멕스 3782 822463 10005", "아멕스 [카드번호]", "card_number"),
    ],
)
def test_personal_data_is_masked(text: str, masked: str, kind: str) -> None:
    assert mask(text) == (masked, frozenset({kind} - {""}))


@pytest.mark.parametrize(
    "text",
    [
        "날짜 2019-05-31, 2019.05.31, 20190531, 1990-01-01 12:30:45",
        "기간은 1919-1945, 2002년 02-03월",
        "ISBN 978-89-01-12345-6, 9788901123456, 바코드 8801043012345",
        "점수 100-98, 3:2, 101-99-87, 25,345,678원",
        "계좌 110-234-567890, 국민 123456-01-234567, 1002-345-678901",
        "주문번호 2019-0102-3456, A010-2345-6789, 20231105-0001234",
        "운송장 6012-3456-7890, 1234567890123",
        "대표번호 1588-1234, 신고는 112, 119",
        "900101-1234567 900231-1234560 001301-3123456",
        "시각 1679012345678, 파이 3.14159265358979",
        "카드 아님 1234-5678-9012-3456 4111-1111-1111-1112 0000-0000-0000-0000",
        "010-0234-5678 010-2345-67890 1010-2345-6789 010-2345-6789-0",
        "@user 님, user@, a@b, @property, user@example.com, me@test.invalid",
        "02-123-4567890, 법령 제2023-1234호, 02-0123-4567",
    ],
)
def test_other_numbers_stay(text: str) -> None:
    assert mask(text) == (text, frozenset())


def test_kinds_are_told_apart() -> None:
    text = f"{resident('900101', '123456')} / 010-2345-6789 / a@b.kr / 4111 1111 1111 1111"
    masked, kinds = mask(text)
    assert masked == "[주민등록번호] / [전화번호] / [이메일] / [카드번호]"
    assert kinds == {"resident_number", "phone", "email", "card_number"}
    assert mask(masked) == (masked, frozenset())


def test_resident_numbers_have_a_real_date_and_a_check_digit() -> None:
    birth, rest = resident("000229", "312345").split("-")
    assert is_resident_number(birth, rest)
    assert not is_resident_number(birth, rest[:-1] + str((int(rest[-1]) + 1) % 10))
    # 1900 was no leap year.
    birth, rest = resident("000229", "112345").split("-")
    assert not is_resident_number(birth, rest)


def test_luhn() -> None:
    assert has_luhn("79927398713")
    assert not has_luhn("79927398710")
