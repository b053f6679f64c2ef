"""ROUGE-L and chrF, by hand and against the packages that define them."""

import random
import unicodedata

import pytest

from komt.evaluate.metrics import METRICS
from komt.evaluate.text_metrics import chrf, rouge_l
from komt.example import Example, Message


def example_of(*references: str) -> Example:
    return Example(
        id="t:1",
        task="t",
        family="translation",
        kind="plain",
        source="s",
        licence="CC0",
        origin="native",
        split="test",
        template="a",
        group="",
        messages=(Message("user", "물음"), Message("assistant", references[0], True)),
        references=references,
    )


@pytest.mark.parametrize(
    ("answer", "reference", "value"),
    [
        ("가나다라", "가나다라", 1),
        ("가나다라", "가다", 2 * 2 / (4 + 2)),
        ("학교에 갔다", "학교에서 왔다", 2 * 4 / (5 + 6)),  # 학교에 … 다
        ("라다나가", "가나다라", 2 * 1 / (4 + 4)),
        ("가 나", "가나", 1),
        ("가나", "다라", 0),
        ("", "가", 0),
        ("가", "", 0),
        ("", "", 0),
    ],
)
def test_rouge_l_is_the_f1_of_the_longest_common_subsequence(answer, reference, value):
    assert rouge_l(answer, reference) == pytest.approx(value)


def random_texts(count: int) -> list[tuple[str, str]]:
    draw = random.Random(0)
    return [
        (
            "".join(draw.choices("가나다라 마", k=draw.randint(1, 90))),
            "".join(draw.choices("가나다라 마", k=70)),
        )
        for _ in range(count)
    ]


def test_rouge_l_equals_rouge_score_with_characters_as_its_tokens():
    scorer = pytest.importorskip("rouge_score.rouge_scorer")

    class Characters:
        def tokenize(self, text):
            return [character for character in text if not character.isspace()]

    oracle = scorer.RougeScorer(["rougeL"], tokenizer=Characters())
    for answer, reference in random_texts(60):
        right = oracle.score(reference, answer)["rougeL"].fmeasure
        assert rouge_l(answer, reference) == pytest.approx(right)


def test_chrf_by_hand():
    # Unigrams 가나 of 가나다: precision 1, recall 2/3; bigrams 가나: precision 1, recall 1/2. Longer n-grams
    # the answer has none of, and sacrebleu leaves them out. F2 of the means: 5pr / (4p + r).
    precision, recall = 1.0, (2 / 3 + 1 / 2) / 2
    value = 5 * precision * recall / (4 * precision + recall)
    assert chrf("가나", "가나다") == pytest.approx(value)
    assert chrf("가 나", "가나 다") == pytest.approx(value)
    assert chrf("가나다라마바", "가나다라마바") == pytest.approx(1)
    assert chrf("가나", "다라") == 0
    assert chrf("", "다라") == 0


def test_chrf_equals_sacrebleu():
    sacrebleu = pytest.importorskip("sacrebleu")
    for answer, reference in random_texts(20):
        right = sacrebleu.sentence_chrf(answer, [reference]).score / 100
        assert chrf(answer, reference) == pytest.approx(right)


@pytest.mark.parametrize("metric", ["rouge_l", "chrf"])
def test_the_best_reference_counts_and_decomposed_text_is_composed(metric):
    judge = METRICS.get(metric)
    decomposed = unicodedata.normalize("NFD", "날씨가 맑다")
    assert judge.score(decomposed, example_of("비가 온다", "날씨가 맑다")).value == pytest.approx(1)
    assert judge.score("날씨가 흐리다", example_of("비가 온다")).value < 0.5
