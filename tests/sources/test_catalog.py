"""The catalogue: every entry is complete, and says of the real files what they hold."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any
from unicodedata import is_normalized

import pytest

from komt.sources.read import RESPLIT, read_rows
from komt.sources.readers import Rejected
from komt.sources.source import CATALOG, Source, file_hash, load_source, place, present

NAMES = sorted(path.stem for path in CATALOG.glob("*.yaml"))
PUBLIC = [name for name in NAMES if not name.startswith(("sample", "aihub-", "kisti-"))]

# Items in the files, counted without komt: lines with wc and awk, records with csv, objects with json.
TRUTH: dict[str, dict[str, int]] = {
    "3i4k": {"train": 55134, "test": 6121},
    "apeach": {"test": 3770},
    "chatbot-data": {"train+test": 11823},
    "curse": {"train+test": 5825},
    "klue-dp": {"dev": 2000},
    "klue-ner": {"dev": 5000},
    "klue-nli": {"dev": 3000},
    "klue-sts": {"dev": 519},
    "kobest-boolq": {"train": 3665, "dev": 700, "test": 1404},
    "kobest-copa": {"train": 3076, "dev": 500, "test": 1000},
    "kobest-hellaswag": {"train": 2029, "dev": 500, "test": 500},
    "kobest-sentineg": {"train": 3649, "dev": 400, "test": 397},
    "kobest-wic": {"train": 3318, "dev": 610, "test": 1260},
    "kochat-entity": {"train+test": 19992},
    "kochat-intent": {"train+test": 19992},
    "kommongen": {"dev": 1000, "test": 1432},
    "korean-hate-speech": {"train": 7896, "dev": 471},
    "koreanlm": {"train+test": 1000},
    "kornli": {"dev": 2490, "test": 5010},
    "korquad": {"dev": 5774},
    "korsts": {"train": 5749, "dev": 1500, "test": 1379},
    "naver-ner": {"test": 9000},
    "nsmc-synopses": {"train+test": 50},
    "ntrex": {"test": 1997},
    "parakqc": {"train+test": 10000},
    "parakqc-pairs": {"train+test": 10000},
    "parallel-french": {"train": 207, "test": 4},
    "parallel-jhe": {"dev": 720, "test": 720},
    "parallel-news": {"dev": 1000, "test": 2000},
    "parallel-north": {"dev": 1000, "test": 2000},
    "paws-ko": {"dev": 2000, "test": 2000},
    "question-pair": {"train": 6888, "test": 688},
    "question-pair-v2": {"train": 6136, "dev": 682, "test": 758},
    "sae4k": {"train+test": 30837},
    "scinews-sum": {"train+test": 50},
}

LABELS: dict[str, dict[str, set[str]]] = {
    "3i4k": {"label": set("0123456")},
    "apeach": {"label": {"none", "hate"}},
    "chatbot-data": {"label": set("012")},
    "curse": {"label": set("01")},
    "klue-nli": {"label": {"entailment", "neutral", "contradiction"}},
    "klue-sts": {"label": set("01"), "score": {f"{tenth / 10:.1f}" for tenth in range(51)}},
    "kobest-boolq": {"label": {"True", "False"}},
    "kobest-copa": {"label": set("12"), "ask": {"원인", "결과"}},
    "kobest-hellaswag": {"label": set("0123")},
    "kobest-sentineg": {"label": set("01")},
    "kobest-wic": {"label": {"True", "False"}},
    "kochat-entity": {"domain": {"dust", "restaurant", "travel", "weather"}},
    "kochat-intent": {"label": {"dust", "restaurant", "travel", "weather"}},
    "korean-hate-speech": {
        "gender_bias": {"True", "False"},
        "bias": {"gender", "others", "none"},
        "hate": {"hate", "offensive", "none"},
    },
    "kornli": {"label": {"entailment", "neutral", "contradiction"}},
    "korsts": {"score": {f"{tenth / 10:.1f}" for tenth in range(51)}},
    "parakqc": {"topic": set("0123"), "act": set("0123")},
    "parakqc-pairs": {"label": {"same", "different"}},
    "paws-ko": {"label": set("01")},
    "question-pair": {"label": set("01")},
    "question-pair-v2": {"label": set("01")},
    "sae4k": {"label": set("012345")},
}

ENTITY_TYPES: dict[str, set[str]] = {
    "klue-ner": {"PS", "LC", "OG", "DT", "TI", "QT"},
    "kochat-entity": {"LOCATION", "PLACE", "RESTAURANT", "DATE"},
    "naver-ner": {
        *("PER", "ORG", "LOC", "DAT", "TIM", "NUM", "CVL"),
        *("TRM", "EVT", "ANM", "AFW", "FLD", "PLT", "MAT"),
    },
}

# Fields that the data itself leaves empty.
MAY_BE_EMPTY = {"koreanlm": {"input"}, "korean-hate-speech": {"title"}}


def here(source: Source) -> list[str]:
    return [split for split in source.splits if present(source, split)]


def rows_of(name: str, *splits: str) -> list[dict[str, Any]]:
    source = load_source(name)
    return [
        row for split in splits or here(source) for row in read_rows(source, split) if isinstance(row, dict)
    ]


def texts(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [text for item in items for text in texts(item)]


@pytest.mark.parametrize("name", NAMES)
def test_every_entry_loads_and_opens_with_its_command(name: str) -> None:
    source = load_source(name)
    assert (CATALOG / f"{name}.yaml").read_text().startswith(f"# komt sources show {name}\n")
    assert all((source.licence, source.citation, source.title))
    assert source.bundled or source.repository or source.login


@pytest.mark.parametrize("name", PUBLIC)
def test_a_checksum_is_of_a_commit(name: str) -> None:
    source = load_source(name)
    paths = [(path, sha) for file in source.files for path, sha in file.paths]
    assert len(set(paths)) == len(paths)
    assert source.revision or not any(sha for _, sha in paths)


def test_evaluation_sets_are_marked() -> None:
    assert [name for name in PUBLIC if load_source(name).evaluation_only] == ["apeach", "ntrex"]


def test_every_source_without_an_official_split_holds_rows_out_by_what_is_asked() -> None:
    alone = [name for name in PUBLIC if load_source(name).splits in {("train",), ("train", "test")}]
    made = {name: load_source(name).hold_out_by for name in alone if load_source(name).hold_out}
    assert made == {
        "chatbot-data": "question",
        "curse": "text",
        "koalpaca": "instruction",
        "kochat-entity": "question",
        "kochat-intent": "question",
        "koreanlm": "instruction",
        "kullm": "instruction",
        "nsmc-raw": "review",
        "nsmc-synopses": "title",
        "parakqc": "block",
        "parakqc-pairs": "block",
        "sae4k": "sentence",
        "scinews-sum": "title",
    }


@pytest.mark.realdata
def test_every_file_that_is_here_has_its_checksum_in_the_catalogue(realdata: Path) -> None:
    unpinned, wrong = [], []
    for name in PUBLIC:
        source = load_source(name)
        for path, expected in (item for file in source.files for item in file.paths):
            if (found := place(source, path)).is_file():
                unpinned += [] if expected else [str(found)]
                wrong += [] if file_hash(found) == expected else [str(found)]
    assert (unpinned, wrong) == ([], [])


@pytest.mark.realdata
@pytest.mark.parametrize("name", TRUTH)
def test_counts_are_those_of_the_catalogue_and_of_the_files(name: str, realdata: Path) -> None:
    source = load_source(name)
    rows: Counter[str] = Counter()
    rejected: dict[str, dict[str, int]] = {}
    for split in here(source):
        for row in read_rows(source, split):
            rows[split] += 1
            if isinstance(row, Rejected):
                reasons = rejected.setdefault(split, {})
                reasons[row.reason] = reasons.get(row.reason, 0) + 1
    truth = TRUTH[name]
    assert dict(rows) == {split: source.rows[split] for split in here(source)}  # type: ignore[index]
    assert rejected == source.rejected
    assert truth in ({"train+test": rows.total()}, dict(rows))


@pytest.mark.realdata
@pytest.mark.parametrize("name", TRUTH)
def test_values_are_clean_and_ids_unique(name: str, realdata: Path) -> None:
    rows = rows_of(name)
    assert len({row["id"] for row in rows}) == len(rows)
    empty = {field for row in rows for field, value in row.items() if value == ""}
    assert empty <= MAY_BE_EMPTY.get(name, set())
    faults: Counter[str] = Counter()
    for row in rows:
        for text in texts(row):
            faults["BOM"] += "\ufeff" in text
            faults["CR"] += "\r" in text
            faults["not NFC"] += not is_normalized("NFC", text)
            faults["not stripped"] += text != text.strip()
    assert +faults == {}


@pytest.mark.realdata
@pytest.mark.parametrize("name", LABELS)
def test_labels_are_those_documented(name: str, realdata: Path) -> None:
    rows = rows_of(name)
    for field, allowed in LABELS[name].items():
        assert {row[field] for row in rows} - allowed == set()
        assert len(allowed) > 10 or {row[field] for row in rows} == allowed


@pytest.mark.realdata
@pytest.mark.parametrize("name", ENTITY_TYPES)
def test_entities_stand_in_their_sentence(name: str, realdata: Path) -> None:
    found: set[str] = set()
    for row in rows_of(name):
        for entity in row["entities"]:
            assert entity["text"] in row.get("sentence", row.get("question"))
            found.add(entity["type"])
    assert found == ENTITY_TYPES[name]


@pytest.mark.realdata
@pytest.mark.parametrize("name", [name for name in TRUTH if "train+test" in TRUTH[name]])
def test_what_is_held_out_stands_nowhere_in_train(name: str, realdata: Path) -> None:
    field = load_source(name).hold_out_by
    train, test = ({row[field] for row in rows_of(name, split)} for split in ("train", "test"))
    assert len(test) > 0
    assert not train & test


@pytest.mark.realdata
def test_one_question_of_kochat_falls_on_one_side_in_both_its_sources(realdata: Path) -> None:
    sides = [
        {row["question"] for row in rows_of(name, "test")} for name in ("kochat-intent", "kochat-entity")
    ]
    assert sides[0] == sides[1]


@pytest.mark.realdata
def test_all_reviews_of_nsmc_are_read(realdata: Path) -> None:
    source = load_source("nsmc-raw")
    train: Counter[str] = Counter()
    ratings: Counter[str] = Counter()
    for row in read_rows(source, "train"):
        train[row.reason if isinstance(row, Rejected) else "kept"] += 1
        if isinstance(row, dict):
            ratings[row["rating"]] += 1
    assert train == {"kept": 705265, "empty_review": 21}
    assert source.rows == {"train": train.total(), "test": 712404 - train.total()}
    assert source.rejected == {"train": {"empty_review": 21}}
    assert set(ratings) == {str(rating) for rating in range(1, 11)}


@pytest.mark.realdata
def test_the_label_0_of_question_pairs_means_the_same(realdata: Path) -> None:
    alike = Counter(row["label"] for row in rows_of("question-pair") if row["question1"] == row["question2"])
    assert alike == {"0": 944, "1": 2}
    alike = Counter(
        row["label"] for row in rows_of("question-pair-v2") if row["question1"] == row["question2"]
    )
    assert alike["0"] > 400 * alike["1"]


@pytest.mark.realdata
def test_klue_sts_is_1_from_three_points_on(realdata: Path) -> None:
    assert all((float(row["score"]) >= 3) == (row["label"] == "1") for row in rows_of("klue-sts"))


@pytest.mark.realdata
def test_the_words_of_klue_dp_form_a_tree(realdata: Path) -> None:
    changed = 0
    for row in rows_of("klue-dp"):
        words = row["words"]
        changed += "".join(word["word"] for word in words) != row["sentence"].replace(" ", "")
        assert [word["index"] for word in words] == list(range(1, len(words) + 1))
        assert [word["head"] for word in words].count(0) == 1
        assert all(0 <= word["head"] <= len(words) and word["head"] != word["index"] for word in words)
    # Numbers that a spreadsheet has rewritten: 5.0 as 5, 0.9% as 0.90%.
    assert changed == 6


@pytest.mark.realdata
def test_the_word_of_kobest_wic_stands_in_brackets_in_all_but_three_rows(realdata: Path) -> None:
    rows = rows_of("kobest-wic")
    marked = [
        row
        for row in rows
        if f"[{row['word']}]" in row["sentence1"] and f"[{row['word']}]" in row["sentence2"]
    ]
    assert (len(marked), len(rows)) == (5185, 5188)


@pytest.mark.realdata
def test_summaries_of_science_news_are_sentences_of_the_article(realdata: Path) -> None:
    for row in rows_of("scinews-sum"):
        assert set(row["summary"]) <= set(row["sentences"])
        assert len(row["summary"]) > 1
        assert all(sentence in row["context"] for sentence in row["sentences"])


@pytest.mark.realdata
def test_parakqc_is_a_thousand_sets_of_ten(realdata: Path) -> None:
    rows = rows_of("parakqc")
    assert set(Counter(row["set"] for row in rows).values()) == {10}
    assert len({row["set"] for row in rows}) == 1000
    # A few sentences stand in two sets.
    blocks: dict[str, set[int]] = {}
    for row in rows:
        blocks.setdefault(row["sentence"], set()).add(row["block"])
    for pair in rows_of("parakqc-pairs"):
        assert pair["block"] in blocks[pair["sentence1"]] & blocks[pair["sentence2"]]


@pytest.mark.realdata
def test_the_sentences_of_sentineg_and_their_originals_have_opposite_labels(realdata: Path) -> None:
    rows = rows_of("kobest-sentineg", "test")
    assert all({row["label"], row["label_original"]} == {"0", "1"} for row in rows)
    assert all(row["sentence"] != row["original"] for row in rows)


@pytest.mark.realdata
def test_html_entities_of_parallel_news_are_characters(realdata: Path) -> None:
    rows = rows_of("parallel-news", "dev")
    assert any("jalapeñ" in row["en"] for row in rows)
    assert not any("&ntilde;" in row["en"] or "\u00a0" in row["ko"] for row in rows)


@pytest.mark.realdata
def test_a_bar_in_a_comment_and_a_separator_in_a_sentence_stay_in_their_row(realdata: Path) -> None:
    assert any("보수 성향 강해… 美조사 | 한경닷컴" in row["text"] for row in rows_of("curse"))
    assert any("\x1c" in row["sentence1"] + row["sentence2"] for row in rows_of("paws-ko", "dev"))


@pytest.mark.realdata
@pytest.mark.parametrize("name", [name for name in TRUTH if load_source(name).resplit_by])
def test_a_redivided_evaluation_set_has_no_value_on_both_sides(name: str, realdata: Path) -> None:
    source = load_source(name)
    assert not present(source, "train")
    train, test = (
        [row for row in read_rows(source, split, resplit=True) if isinstance(row, dict)]
        for split in ("train", RESPLIT)
    )
    field = source.resplit_by
    assert not {row[field] for row in train} & {row[field] for row in test}
    assert 0.15 < len(test) / (len(train) + len(test)) < 0.35


@pytest.mark.realdata
def test_the_same_english_line_falls_on_one_side_in_north_and_south(realdata: Path) -> None:
    sides = {
        name: {
            split: {
                row["en"]
                for row in read_rows(load_source(name), split, resplit=True)
                if isinstance(row, dict)
            }
            for split in ("train", RESPLIT)
        }
        for name in ("parallel-news", "parallel-north")
    }
    assert len(sides["parallel-north"][RESPLIT]) == 254
    assert sides["parallel-north"] == sides["parallel-news"]
