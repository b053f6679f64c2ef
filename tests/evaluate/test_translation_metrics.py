"""BLEU and chrF of a corpus: equal to sacrebleu, from counts that are resampled."""

import random
import unicodedata

import pytest
from metric_examples import check_resamples, example_of, scored, value_of

from komt.evaluate.metrics import METRICS

sacrebleu = pytest.importorskip("sacrebleu")
ANSWERS = [
    "오늘 날씨가 맑다.",
    "나는 학교에 걸어서 갔다.",
    "그 책은 아주 재미있었다.",
    "",
    "고양이",
    "물을 마신다",
]
RIGHT = [
    "오늘은 날씨가 맑다.",
    "나는 학교에 걸어갔다.",
    "그 책이 무척 재미있었다.",
    "비가 온다.",
    "고양이가 창가에서 잔다.",
    "물을 많이 마신다",
]


def random_texts(letters: str, count: int) -> list[str]:
    draw = random.Random(len(letters))
    return ["".join(draw.choices(letters, k=draw.randint(1, 60))).strip() or "가" for _ in range(count)]


def test_chrf_of_a_corpus_equals_sacrebleu() -> None:
    pairs = [(ANSWERS, RIGHT), (random_texts("가나다라 ", 30), random_texts("가나다마  ", 30))]
    for answers, right in pairs:
        rows = [example_of(one) for one in right]
        assert value_of("chrf", answers, rows) * 100 == pytest.approx(
            sacrebleu.corpus_chrf(answers, [right]).score
        )
        for answer, row in zip(answers, rows, strict=True):
            own = sacrebleu.sentence_chrf(answer, list(row.references)).score
            assert METRICS.get("chrf").score(answer, row).value * 100 == pytest.approx(own)
        check_resamples("chrf", scored("chrf", answers, rows))


def test_bleu_of_a_corpus_equals_sacrebleu_with_korean_morphemes() -> None:
    pytest.importorskip("mecab_ko")
    rows = [example_of(one) for one in RIGHT]
    expected = sacrebleu.metrics.BLEU(tokenize="ko-mecab").corpus_score(ANSWERS, [RIGHT])
    assert value_of("bleu", ANSWERS, rows) * 100 == pytest.approx(expected.score)
    check_resamples("bleu", scored("bleu", ANSWERS, rows))


@pytest.mark.parametrize(
    ("words", "answers", "right"),
    [
        (
            "13a",
            ["It is raining, isn't it?", "The cat sleeps here."],
            ["It's raining, isn't it?", "A cat sleeps."],
        ),
        ("13a", ["a b c d e f", "g h"], ["a b c x e f", "g h i j"]),  # bigrams right, longer ones not all
        ("13a", ["a b", "c d"], ["a b", "c d"]),  # no trigram at all: 0
        ("13a", ["x", "y"], ["a b c d e", "f g h i j"]),  # nothing right
        ("13a", ["a b c d x y", "e f"], ["a q c z x w", "f e"]),  # smoothed
        ("zh", ["今天天气很好", "我去学校"], ["今天天气不错", "我走路去学校"]),
    ],
)
def test_bleu_of_other_languages_and_corners(words: str, answers: list[str], right: list[str]) -> None:
    rows = [example_of(one) for one in right]
    expected = sacrebleu.metrics.BLEU(tokenize=words).corpus_score(answers, [right]).score
    assert value_of("bleu", answers, rows) * 100 == pytest.approx(expected)


def test_the_best_reference_of_several_counts() -> None:
    row = example_of("비가 온다", "날씨가 맑다")
    assert value_of("chrf", ["날씨가 맑다"], [row]) == pytest.approx(1)
    expected = sacrebleu.corpus_chrf(["날씨는 맑다"], [["비가 온다"], ["날씨가 맑다"]]).score
    assert value_of("chrf", ["날씨는 맑다"], [row]) * 100 == pytest.approx(expected)
    two = example_of("the rain falls down now", "rain is falling down now")
    bleu = sacrebleu.metrics.BLEU().corpus_score(
        ["rain falls down now"], [["the rain falls down now"], ["rain is falling down now"]]
    )
    assert value_of("bleu", ["rain falls down now"], [two]) * 100 == pytest.approx(bleu.score)


def test_decomposed_text_is_composed_and_nothing_to_compare_with_is_unscored() -> None:
    decomposed = unicodedata.normalize("NFD", "날씨가 맑다")
    assert METRICS.get("chrf").score(decomposed, example_of("날씨가 맑다")).value == pytest.approx(1)
    for metric in ("chrf", "bleu"):
        assert METRICS.get(metric).score("날씨", example_of()).value is None
