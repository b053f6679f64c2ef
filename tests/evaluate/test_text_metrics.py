"""ROUGE and KLUE MRC's measures, by hand and against the package that defines them."""

import random
import unicodedata

import pytest
from metric_examples import example_of

from komt.evaluate.metrics import METRICS
from komt.evaluate.text_metrics import klue_exact_match, rouge_l, rouge_w


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


@pytest.mark.parametrize(
    ("metric", "name"), [("rouge_1", "rouge1"), ("rouge_2", "rouge2"), ("rouge_l", "rougeL")]
)
def test_rouge_equals_rouge_score_with_characters_as_its_tokens(metric, name):
    scorer = pytest.importorskip("rouge_score.rouge_scorer")

    class Characters:
        def tokenize(self, text):
            return [character for character in text if not character.isspace()]

    oracle, judge = scorer.RougeScorer([name], tokenizer=Characters()), METRICS.get(metric)
    for answer, reference in random_texts(60):
        right = oracle.score(reference, answer)[name].fmeasure
        assert judge.score(answer, example_of(reference)).value == pytest.approx(right)


@pytest.mark.parametrize(
    ("metric", "name"), [("rouge_1", "rouge1"), ("rouge_2", "rouge2"), ("rouge_l", "rougeL")]
)
def test_rouge_over_morphemes_equals_rouge_score_over_the_same_tokens(metric, name):
    scorer, kiwi = pytest.importorskip("rouge_score.rouge_scorer"), pytest.importorskip("kiwipiepy").Kiwi()

    class Morphemes:
        def tokenize(self, text):
            return [f"{token.form}/{token.tag}" for token in kiwi.tokenize(text)]

    oracle = scorer.RougeScorer([name], tokenizer=Morphemes())
    texts = [
        "학교에 갔다.",
        "학교에서 왔다.",
        "나는 밥을 먹고 학교에 갔다.",
        "비가 와서 집에 있었다.",
        "",
        "학교",
    ]
    judge = METRICS.get(f"{metric}_morph")
    for answer in texts:
        for reference in texts:
            right = oracle.score(reference, answer)[name].fmeasure
            assert judge.score(answer, example_of(reference)).value == pytest.approx(right)
    assert judge.score("학교에 갔다.", example_of("학교에서 왔다.")).value > 0


# As the official script of KLUE MRC says of these.
@pytest.mark.parametrize(
    ("answer", "reference", "em", "rouge"),
    [
        ("한국", "한국", 1, 1),
        ("한국.", "한국", 1, 1),
        ("《한국》", "한국", 0, 2 * 2 / (4 + 2)),
        ("대한민국", "민국 대한", 0, 2 * 2 / (4 + 5)),
        ("임 수 경", "임수경", 0, 2 * 1 / (5 + 3)),
        ("ABC", "abc", 1, 1),
        ("", "", 1, 1),
        ("없음", "", 0, 0),
        ("", "한국", 0, 0),
    ],
)
def test_exact_match_and_rouge_w_follow_klue_mrc(answer, reference, em, rouge):
    assert klue_exact_match(answer, reference) == em
    assert rouge_w(answer, reference) == pytest.approx(rouge)


def test_the_longest_run_is_found_in_long_texts_too():
    passage = (
        "훈민정음은 세종이 1443년에 창제하여 1446년에 반포한 우리 글자이다. 집현전 학자들이 해설서를 지었다 "
        * 4
    )
    assert len(passage) > 200  # from there on difflib passes over letters that are frequent
    run = len(" ".join(passage.replace(".", "").split()))
    assert rouge_w(f"답: {passage}", passage) == pytest.approx(2 * run / (run + run + 2))


def test_the_best_reference_counts_and_decomposed_text_is_composed():
    judge = METRICS.get("rouge_l")
    decomposed = unicodedata.normalize("NFD", "날씨가 맑다")
    assert judge.score(decomposed, example_of("비가 온다", "날씨가 맑다")).value == pytest.approx(1)
    assert judge.score("날씨가 흐리다", example_of("비가 온다")).value < 0.5
