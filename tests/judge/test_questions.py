"""The bundled questions: whole, in good order, answers computed again."""

import re
import unicodedata
from collections import Counter
from datetime import date, timedelta
from fractions import Fraction
from itertools import combinations, permutations, product

import pytest

from komt.errors import UsageError
from komt.evaluate.particles import wrong_particles
from komt.judge.questions import FOLDER, bundled, read_questions
from komt.korean import hangul_share

QUESTIONS = {question.id: question for question in bundled()}
TEXTS = [
    (q.id, text) for q in bundled() for turn, asked in enumerate(q.turns) for text in (asked, *q.points[turn])
]


def answer(name, turn=0):
    """What stands after 정답: in the first point."""
    return QUESTIONS[name].points[turn][0].removeprefix("정답: ")


def test_at_least_eighty_in_ten_categories_a_third_of_two_turns():
    assert len(QUESTIONS) == len(bundled()) >= 80
    counts = Counter(question.category for question in bundled())
    assert len(counts) == len(list(FOLDER.glob("*.yaml"))) == 10
    assert min(counts.values()) >= 8
    two = sum(len(question.turns) == 2 for question in bundled())
    assert 0.3 <= two / len(bundled()) <= 0.4
    assert all(len(question.turns) <= 2 for question in bundled())
    per_category = Counter(question.category for question in bundled() if len(question.turns) == 2)
    assert set(per_category) == set(counts)


def test_ids_are_the_files_names_and_numbers():
    for path in FOLDER.glob("*.yaml"):
        found = read_questions([path])
        assert [question.id for question in found] == [
            f"{path.stem}-{n:02}" for n in range(1, len(found) + 1)
        ]
        assert len({question.category for question in found}) == 1
        assert "CC0 1.0" in path.read_text(encoding="utf-8").splitlines()[0]


def test_every_turn_has_points():
    for question in bundled():
        assert len(question.points) == len(question.turns)
        assert all(question.points), question.id
        for points in question.points:
            assert sum(point.startswith("정답: ") for point in points[:1]) == sum(
                "정답: " in p for p in points
            )


def test_texts_are_nfc_korean_and_without_stray_spaces():
    for name, text in TEXTS:
        assert unicodedata.is_normalized("NFC", text), name
        assert not re.search(r"[\u200b\u00a0\ufeff\t]| $| \n|  +(?=[가-힣])", text), name
    for question in bundled():
        for asked in question.turns:
            assert len(asked) >= 25, question.id
            if question.category != "코딩":
                assert hangul_share(asked) > 0.8, question.id
            assert not re.search(r" [.,?!](\s|$)|(?<!\.)\.\.(?!\.)|[?!]\.", asked), question.id


def test_no_text_comes_twice_and_no_two_questions_are_alike():
    counts = Counter(text for _, text in TEXTS)
    assert [text for text, count in counts.items() if count > 1] == []

    def grams(text):
        letters = re.sub(r"\W", "", text)
        return {letters[at : at + 4] for at in range(len(letters) - 3)}

    asked = [(q.id, grams(text)) for q in bundled() for text in q.turns]
    for (one, first), (other, second) in combinations(asked, 2):
        assert one == other or len(first & second) < 0.35 * min(len(first), len(second)), (one, other)


def test_particles_are_right():
    wrong = {(name, found) for name, text in TEXTS for found in wrong_particles(text)[0]}
    assert wrong == set()


def test_arithmetic_of_mathematics():
    prices = [
        (a, b)
        for a, b in product(range(0, 10000, 50), repeat=2)
        if 3 * a + 2 * b == 23500 and 2 * a + 4 * b == 27000
    ]
    assert prices == [(5000, 4250)]
    assert answer("math-01") == "아메리카노 5,000원, 카페라테 4,250원"
    assert answer("math-01", 1) == f"{min(n for n in range(8) if 5000 * (7 - n) + 4250 * n <= 33000)}잔"
    rolls = list(product(range(1, 7), repeat=2))
    assert answer("math-02") == str(Fraction(sum(12 % (a * b) == 0 for a, b in rolls), len(rolls)))
    numbers = [n for n in range(1, 101) if (n % 3 == 0) != (n % 5 == 0)]
    assert answer("math-03") == f"{len(numbers)}개"
    assert answer("math-03", 1) == str(sum(numbers))
    assert answer("math-04") == f"{60 * (10 + 60 * 10 // (180 - 60))}m"
    assert answer("math-05") == f"{(500 * 10 - 300 * 8) // 200}%"
    slant = (6**2 + 8**2) ** 0.5
    assert answer("math-06") == f"겉넓이 {6 * slant + 36:.0f}π cm², 부피 {36 * 8 / 3:.0f}π cm³"
    assert answer("math-07") == f"{(72 * 25 + 86 - 68) / 25:.2f}점"
    made = [n for n in range(100, 1000, 2) if len(set(str(n))) == 3 and set(str(n)) <= set("012345")]
    assert answer("math-08") == f"{len(made)}개"
    assert answer("math-08", 1) == f"{sum(n > 320 for n in made)}개"
    roots = [(a, b) for a, b in product(range(-20, 20), repeat=2) if a + b == 6 and b - a == 4]
    assert roots == [(1, 5)]
    assert answer("math-09") == "k = 5, 두 근은 1과 5"


def test_puzzles_have_one_answer():
    def fits(order):
        at = {name: place for place, name in enumerate(order)}
        between = abs(at["하은"] - at["지호"]) - 1
        ends = at["민서"] in {0, 4}
        return not ends and at["도윤"] == at["하은"] + 1 and at["수아"] < at["지호"] and between == 2

    rows = [order for order in permutations(("민서", "도윤", "하은", "지호", "수아")) if fits(order)]
    assert [", ".join(row) for row in rows] == [answer("reasoning-01")]
    true = {
        who: [who == "나래", who == "라온", who != "다인", who != "라온"].count(True)
        for who in ("가연", "나래", "다인", "라온")
    }
    assert [who for who, count in true.items() if count == 1] == [answer("reasoning-02")]
    assert [who for who, count in true.items() if count == 3] == [answer("reasoning-02", 1)]


def test_times_and_days():
    def free(*spans):
        return {minute for start, end in spans for minute in range(start, end)}

    yun = free((600, 720), (840, 990))
    all_free = yun & free((660, 870), (930, 1020)) & free((570, 690), (840, 1020))
    starts = [m for m in range(1440) if set(range(m, m + 60)) <= all_free]
    assert starts == [15 * 60 + 30]
    assert answer("reasoning-03") == "15:30~16:30"
    shorter = all_free - set(range(960, 1440))
    starts = [m for m in range(1440) if set(range(m, m + 30)) <= shorter]
    spans = ", ".join(f"{m // 60:02}:{m % 60:02}~{(m + 30) // 60:02}:{(m + 30) % 60:02}" for m in starts)
    assert answer("reasoning-03", 1) == spans
    assert answer("reasoning-05") == f"오후 6시 {4 * (3 + 6 / 24):.0f}분"
    assert answer("reasoning-05", 1) == f"{12 * 60 // 4}일 뒤"
    leap = [year for year in range(1996, 2060, 4) if date(year, 3, 1).weekday() == 4]
    assert {"월화수목금토일"[date(year, 10, 9).weekday()] for year in leap} == {answer("reasoning-07")[0]}
    assert date(leap[0], 3, 1) + timedelta(222) == date(leap[0], 10, 9)
    assert "222일" in QUESTIONS["reasoning-07"].points[0][1]
    assert date(2026, 2, 14).weekday() == 5
    assert "2026년 2월 14일 토요일" in QUESTIONS["extraction-01"].turns[0]


def test_what_code_prints_and_does(capsys):
    functions = [lambda x: x * i for i in range(3)]  # noqa: B023
    print(*[f(10) for f in functions])
    assert capsys.readouterr().out.strip() == answer("coding-06")
    lazy = (lambda x: x * i for i in range(3))  # noqa: B023
    print(*[f(10) for f in lazy])
    assert capsys.readouterr().out.strip() == answer("coding-06", 1)
    text = "한글 abc 나무"
    assert sum((ord(c) - 0xAC00) % 28 != 0 for c in text if "가" <= c <= "힣") == 2
    pattern = re.compile(QUESTIONS["coding-05"].points[0][0].split("예: ")[1])
    written = ("010-1234-5678", "01012345678", "010 1234 5678", "010-1234 5678")
    assert [bool(pattern.search(number)) for number in written] == [True, True, True, False]


def test_sums_of_texts():
    assert answer("extraction-05") == f"{2 * 8000:,}원"
    assert answer("extraction-05", 1) == f"{2 * 8000 // 2:,}원"
    assert 9 * 4 == 36
    assert "(4) 3년" in answer("extraction-07")
    food, travel, other = 4500 + 6000 + 14300, 1550 + 1500 + 8900 + 1550, 23000 + 39000
    assert answer("extraction-08") == f"식비 {food:,}원, 교통비 {travel:,}원, 기타 {other:,}원"
    assert answer("extraction-08", 1) == f"{food // 4:,}원"
    assert answer("science-08") == f"{1.5 * 4 * 30:.0f}kWh, {1.5 * 4 * 30 * 200:,.0f}원"
    assert answer("humanities-07") == f"{3 + 8}만 원"
    assert answer("culture-03", 1) == f"{(10_000 + 50 * 12 / 0.06) / 10_000:.0f}억 원"
    assert 2026 - 1957 + 1 == 70
    assert answer("culture-09").endswith(f"만 {2026 - 1957}세")


def test_spacing_only_is_mended():
    wrong = re.search(r'"(.*)"', QUESTIONS["grammar-02"].turns[0]).group(1)
    assert wrong.replace(" ", "") == answer("grammar-02").replace(" ", "")
    assert wrong != answer("grammar-02")


def test_mistakes_in_files_of_questions_are_told(tmp_path):
    good = tmp_path / "good.yaml"
    good.write_text("category: 글\nquestions:\n- {id: a, turns: [{ask: 묻는다}]}\n", encoding="utf-8")
    (question,) = read_questions([good])
    assert (question.id, question.category, question.turns, question.points) == (
        "a",
        "글",
        ("묻는다",),
        ((),),
    )
    with pytest.raises(UsageError, match="same id: a"):
        read_questions([good, good])
    bad = tmp_path / "bad.yaml"
    bad.write_text(
        "category: 글\nquestions:\n- {id: b, turn: [{ask: 묻는다}], turns: []}\n", encoding="utf-8"
    )
    with pytest.raises(UsageError, match=r"did you mean 'turns'") as error:
        read_questions([bad])
    assert "bad.yaml" in str(error.value)
