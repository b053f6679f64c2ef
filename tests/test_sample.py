"""The bundled sample: answers stand in their passages, labels are of their set, nothing twice, all NFC."""

import json
import re
import unicodedata
from collections import Counter
from difflib import SequenceMatcher
from importlib.resources import files

import pytest

from komt.encodings import read_text
from komt.korean import hangul_share, normalise_answer

SAMPLE = files("komt") / "sample"
SPLITS = ("train", "test")
# The texts of a row set's rows; no set of them comes twice.
ROWS = {
    "sentiment": ("text",),
    "inference": ("premise", "hypothesis"),
    "dialogue": ("utterance", "reply"),
    "correction": ("wrong", "right"),
    "topic": ("text",),
    "paraphrase": ("sentence1", "sentence2"),
    "questions": ("question", "answer"),
    "translation": ("ko", "en"),
    "style": ("casual", "polite", "formal"),
    "ordering": ("text",),
}
# Sets of which every single text comes once only: premises, for instance, come with three hypotheses.
ONCE_ONLY = [kind for kind in ROWS if kind != "inference"]
LAST_SYLLABLES = {"polite": ("요",), "formal": ("니다", "니까", "시오")}
TOPICS = {"정치", "경제", "사회", "생활문화", "세계", "과학기술", "스포츠"}


def passages(split):
    data = json.loads(read_text(SAMPLE / f"passages.{split}.json"))["data"]
    return [paragraph for article in data for paragraph in article["paragraphs"]]


def rows(kind, split):
    text = read_text(SAMPLE / f"{kind}.{split}.jsonl")
    return [json.loads(line) for line in text.split("\n") if line]


PAIR = ("prompt", "chosen", "rejected")


def all_rows(kind):
    return [*rows(kind, "train"), *rows(kind, "test")]


def texts_in(value):
    if isinstance(value, str):
        return [value]
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [text for item in items for text in texts_in(item)]


def last_words(text):
    """What its sentences end in, without the marks."""
    return [sentence.rstrip(".?!") for sentence in re.split(r"(?<=[.?!]) ", text)]


def test_every_file_is_nfc_without_stray_spaces():
    kinds = [*ROWS, "preference"]
    everything = [passages(split) for split in SPLITS] + [rows(kind, s) for kind in kinds for s in SPLITS]
    names = [f"passages.{split}.json" for split in SPLITS]
    names += [f"{kind}.{split}.jsonl" for kind in kinds for split in SPLITS]
    for name in names:
        text = read_text(SAMPLE / name)
        assert unicodedata.is_normalized("NFC", text), name
        assert "\u200b" not in text, name
        assert "\u00a0" not in text, name
    for text in texts_in(everything):
        assert text
        assert text == " ".join(text.split())
        assert not re.search(r" [.,?!]|[.?!,][.?!,]", text), text
        # Korean quotation marks; English has its apostrophe.
        assert text.isascii() or not set(text) & set("'\""), text


@pytest.mark.parametrize(("split", "count"), [("train", 60), ("test", 20)])
def test_passages_and_their_questions(split, count):
    found = passages(split)
    assert len(found) == count
    for passage in found:
        context = passage["context"]
        assert 150 <= len(context) <= 400
        assert len(passage["qas"]) == 4
        assert passage["title"]
        assert passage["summary"].endswith(".")
        assert all(word in context for word in passage["keywords"])
        for question in passage["qas"]:
            (answer,) = question["answers"]
            start = answer["answer_start"]
            assert context[start : start + len(answer["text"])] == answer["text"]
            assert context.count(answer["text"]) == 1, question
            assert question["question"].endswith("?")
            assert answer["text"] not in question["question"]


def test_eight_domains_and_no_passage_or_question_twice():
    everything = [*passages("train"), *passages("test")]
    assert len({passage["domain"] for passage in everything}) == 8
    assert set(Counter(passage["domain"] for passage in everything).values()) == {10}
    assert len({passage["context"] for passage in everything}) == 80
    assert len({question["question"] for passage in everything for question in passage["qas"]}) == 320
    assert len({question["id"] for passage in everything for question in passage["qas"]}) == 320


@pytest.mark.parametrize("kind", ROWS)
def test_row_sets_have_sixty_rows_a_quarter_held_out_and_none_twice(kind):
    train, test = rows(kind, "train"), rows(kind, "test")
    assert (len(train), len(test)) == (45, 15)
    assert [row["id"] for row in [*train, *test]] == [f"{kind}-{number:02}" for number in range(1, 61)]
    texts = [tuple(row[name] for name in ROWS[kind]) for row in [*train, *test]]
    assert len(set(texts)) == 60


@pytest.mark.parametrize("kind", ONCE_ONLY)
def test_no_text_comes_twice_within_or_across_the_splits(kind):
    texts = [normalise_answer(row[name]) for row in all_rows(kind) for name in ROWS[kind]]
    assert [text for text, count in Counter(texts).items() if count > 1] == []


def test_labels():
    for split, each in (("train", 15), ("test", 5)):
        labels = Counter(row["label"] for row in rows("inference", split))
        assert labels == {"함의": each, "모순": each, "중립": each}
        assert set(Counter(row["label"] for row in rows("sentiment", split))) == {"긍정", "부정"}
    assert not {r["premise"] for r in rows("inference", "train")} & {
        r["premise"] for r in rows("inference", "test")
    }
    assert all(row["wrong"] != row["right"] for split in SPLITS for row in rows("correction", split))


@pytest.mark.parametrize(("split", "fewest", "most"), [("train", 6, 7), ("test", 2, 3)])
def test_topics_are_in_balance_and_not_named_in_the_text(split, fewest, most):
    labels = Counter(row["label"] for row in rows("topic", split))
    assert set(labels) == TOPICS
    assert {fewest, most} == set(labels.values())
    assert [row for row in rows("topic", split) if row["label"] in row["text"]] == []


def test_half_of_the_paraphrases_are_none_though_they_look_alike():
    def likeness(label):
        pairs = [row for row in all_rows("paraphrase") if row["label"] == label]
        return [SequenceMatcher(None, row["sentence1"], row["sentence2"]).ratio() for row in pairs]

    assert Counter(row["label"] for row in rows("paraphrase", "train")) == {"same": 23, "different": 22}
    assert Counter(row["label"] for row in rows("paraphrase", "test")) == {"same": 7, "different": 8}
    same, different = likeness("same"), likeness("different")
    assert min(different) > 0.45
    # What tells them apart is the meaning: those that differ share more of their wording.
    assert sum(different) > sum(same)


def test_questions_have_one_short_answer_each_that_they_do_not_give_away():
    asked = all_rows("questions")
    of_passages = {qa["question"] for split in SPLITS for part in passages(split) for qa in part["qas"]}
    for row in asked:
        assert row["question"].endswith("?")
        assert row["question"] not in of_passages
        assert row["answers"][0] == row["answer"]
        spellings = [normalise_answer(answer) for answer in row["answers"]]
        assert len(set(spellings)) == len(spellings)
        assert len(row["answer"]) <= 10
        words = row["question"].rstrip("?").split()
        assert not any(word.startswith(answer) for word in words for answer in row["answers"]), row
    answers = [normalise_answer(answer) for row in asked for answer in row["answers"]]
    assert len(set(answers)) == len(answers)


def test_translations_are_korean_and_english_and_ask_or_tell_alike():
    for row in all_rows("translation"):
        assert hangul_share(row["ko"]) == 1
        assert row["en"].isascii()
        assert row["en"][0].isupper()
        assert row["ko"].endswith("?") == row["en"].endswith("?")
        assert row["ko"][-1] in ".?"


def test_speech_levels_are_told_by_their_endings():
    for row in all_rows("style"):
        marks = [re.sub(r"[^.?!]", "", row[level]) for level in ("casual", "polite", "formal")]
        assert len(set(marks)) == 1, row
        assert all(not end.endswith(("요", "니다", "니까", "시오")) for end in last_words(row["casual"]))
        for level, endings in LAST_SYLLABLES.items():
            assert all(end.endswith(endings) for end in last_words(row[level])), row


def test_the_order_puts_the_shuffled_sentences_right():
    everything = all_rows("ordering")
    for row in everything:
        sentences, order = row["sentences"], row["order"]
        assert sorted(order) == list(range(1, len(sentences) + 1))
        assert order != sorted(order)
        assert row["text"] == " ".join(sentences[number - 1] for number in order)
        assert all(sentence.endswith(".") for sentence in sentences)
    assert set(Counter(len(row["order"]) for row in everything)) == {3, 4}
    sentences = [sentence for row in everything for sentence in row["sentences"]]
    assert len(set(sentences)) == len(sentences)
    # Each place comes first about equally often: a constant answer is seldom right.
    firsts = Counter(row["order"][0] for row in everything)
    assert max(firsts.values()) <= len(everything) / 2


def test_preference_pairs_are_a_hundred_and_twenty_and_none_twice():
    train, test = rows("preference", "train"), rows("preference", "test")
    assert (len(train), len(test)) == (100, 20)
    assert [row["id"] for row in [*train, *test]] == [f"preference-{n:03}" for n in range(1, 121)]
    for name in PAIR:
        texts = [normalise_answer(row[name]) for row in [*train, *test]]
        assert len(set(texts)) == len(texts) or name == "rejected"
    faults = Counter(row["fault"] for row in train)
    assert set(faults) == {row["fault"] for row in test}
    assert min(faults.values()) >= 12


def test_the_chosen_answer_of_a_pair_is_whole_polite_korean_and_the_rejected_one_has_its_fault():
    for row in all_rows("preference"):
        chosen, rejected = row["chosen"], row["rejected"]
        assert chosen != rejected
        assert hangul_share(chosen) == 1
        assert chosen.endswith((".", "요?"))
        if row["fault"] == "foreign":
            assert hangul_share(rejected) < 0.95, row
        elif row["fault"] == "short":
            assert len(rejected) < 8, row
            assert len(chosen) > 5 * len(rejected), row
        elif row["fault"] == "repetition":
            assert len(set(rejected.split())) < 0.8 * len(rejected.split()), row
        elif row["fault"] == "register":
            assert not all(end.endswith(("요", "니다", "십시오")) for end in last_words(rejected)), row


def test_short_answers_are_not_always_the_rejected_ones():
    longer = [len(row["rejected"]) > len(row["chosen"]) for row in all_rows("preference")]
    assert 0.1 < sum(longer) / len(longer) < 0.5
