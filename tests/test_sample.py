"""The bundled sample: answers stand in their passages, labels are of their set, nothing twice, all NFC."""

import json
import unicodedata
from collections import Counter
from importlib.resources import files

import pytest

from komt.files import read_text

SAMPLE = files("komt") / "sample"
SPLITS = ("train", "test")
ROWS = {"sentiment": ("text",), "inference": ("premise", "hypothesis"), "dialogue": ("utterance", "reply")}
ROWS["correction"] = ("wrong", "right")


def passages(split):
    data = json.loads(read_text(SAMPLE / f"passages.{split}.json"))["data"]
    return [paragraph for article in data for paragraph in article["paragraphs"]]


def rows(kind, split):
    text = read_text(SAMPLE / f"{kind}.{split}.jsonl")
    return [json.loads(line) for line in text.split("\n") if line]


def test_every_file_is_nfc_without_stray_spaces():
    names = [f"passages.{split}.json" for split in SPLITS]
    names += [f"{kind}.{split}.jsonl" for kind in ROWS for split in SPLITS]
    for name in names:
        text = read_text(SAMPLE / name)
        assert unicodedata.is_normalized("NFC", text), name
        assert "\u200b" not in text, name
        assert "\u00a0" not in text, name


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
    assert len({row["id"] for row in [*train, *test]}) == 60
    texts = [tuple(row[name] for name in ROWS[kind]) for row in [*train, *test]]
    assert len(set(texts)) == 60
    assert all(text == text.strip() and text for row in texts for text in row)


def test_labels():
    for split, each in (("train", 15), ("test", 5)):
        labels = Counter(row["label"] for row in rows("inference", split))
        assert labels == {"함의": each, "모순": each, "중립": each}
        assert set(Counter(row["label"] for row in rows("sentiment", split))) == {"긍정", "부정"}
    assert not {r["premise"] for r in rows("inference", "train")} & {
        r["premise"] for r in rows("inference", "test")
    }
    assert all(row["wrong"] != row["right"] for split in SPLITS for row in rows("correction", split))
