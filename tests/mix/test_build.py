from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from komt.errors import DataError
from komt.example import SCHEMA, Example
from komt.mix import Manifest, build, read_examples, read_manifest, stage_key
from komt.recipe import Recipe, load_recipe, parse_recipe
from komt.tasks import add_folder_beside


def recipe(**data: Any) -> Recipe:
    return parse_recipe({"name": "t", "data": data}, "test")


def own(path: Path, rows: list[tuple[str, str]], **more: Any) -> Recipe:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([("q", "a"), *rows])
    return recipe(files=[{"path": str(path), "prompt": "{{ q }}", "answer": "{{ a }}", **more}])


def balanced(manifest: Manifest) -> bool:
    """Kept and rejected rows make up what was read, for every task, in training and evaluation."""
    for task in manifest.tasks.values():
        for part in (task, task.evaluation):
            if (
                part
                and part.examples + sum(sum(stage.values()) for stage in part.rejected.values()) != part.read
            ):
                return False
    return True


def test_the_sample_recipe_builds_every_row(tmp_path: Path) -> None:
    manifest = build(load_recipe("sample"), tmp_path / "data")
    assert manifest.examples == 240 + 48 + 48 + 36 + 36 + 24 + 4 * 31  # the questions; a share of all others
    assert balanced(manifest)
    assert manifest.comparable
    assert manifest.licences == ["CC0-1.0"]
    assert read_manifest(tmp_path / "data") == manifest
    assert {path.name for path in (tmp_path / "data").iterdir()} == {
        "train.parquet",
        "evaluate.parquet",
        "rejects.parquet",
        "fingerprints.parquet",
        "manifest.json",
        "report.html",
    }
    train, evaluation = (
        read_examples(tmp_path / "data" / f"{name}.parquet") for name in ("train", "evaluate")
    )
    assert (len(train), len(evaluation)) == (manifest.examples, 3 * 80 + 3 * 20 + 4 * 15)
    assert len({example.id for example in train}) == len(train)
    assert {example.split for example in train} == {"train"}
    assert {example.split for example in evaluation} == {"test"}
    assert pq.read_schema(tmp_path / "data" / "train.parquet").equals(SCHEMA)
    assert pq.read_metadata(tmp_path / "data" / "fingerprints.parquet").num_rows == len(train)


def test_two_builds_are_byte_identical(tmp_path: Path) -> None:
    recipe = load_recipe("sample", ["data.tasks.sample.qa.cap=50", "data.tasks.sample.title.rate=0.5"])
    build(recipe, tmp_path / "a")
    build(recipe, tmp_path / "b")
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes(), path.name


def test_tasks_of_one_source_take_the_same_passages_first(tmp_path: Path) -> None:
    tasks = {"sample.qa": {"cap": 80}, "sample.question": {"cap": 40}, "sample.summary": {"rate": 0.25}}
    manifest = build(recipe(tasks=tasks), tmp_path / "data")
    groups: dict[str, set[str]] = {}
    for example in read_examples(tmp_path / "data" / "train.parquet"):
        groups.setdefault(example.task, set()).add(example.group)
    assert {name: len(found) for name, found in groups.items()} == {
        "sample.qa": 20,
        "sample.question": 10,
        "sample.summary": 15,
    }
    assert groups["sample.question"] < groups["sample.summary"] < groups["sample.qa"]
    assert manifest.tasks["sample.qa"].rejected == {"mixture": {"cap": 160}}
    assert manifest.tasks["sample.summary"].rejected == {"mixture": {"rate": 45}}
    assert balanced(manifest)


def test_duplicates_and_empty_rows_are_counted_by_reason(tmp_path: Path) -> None:
    rows = [("하나", "1"), ("하나", "1"), ("하나 ", "1"), ("하나", "2"), ("", "3"), ("넷", "")]
    manifest = build(own(tmp_path / "t.csv", rows, evaluate=0), tmp_path / "data")
    task = manifest.tasks["t"]
    assert (task.read, task.examples, task.evaluation) == (6, 2, None)
    assert task.rejected == {"filter": {"duplicate": 2, "empty_answer": 1, "empty_prompt": 1}}
    rejects = pq.read_table(tmp_path / "data" / "rejects.parquet").to_pylist()
    assert [item["reason"] for item in rejects] == ["empty_prompt", "empty_answer", "duplicate", "duplicate"]
    assert json.loads(rejects[0]["row"])["a"] == "3"


def test_a_question_of_the_evaluation_is_not_trained_on(tmp_path: Path) -> None:
    rows = [(f"질문 {number % 10}", f"답 {number}") for number in range(20)]
    manifest = build(own(tmp_path / "t.csv", rows, evaluate=0.2), tmp_path / "data")
    train, held = (read_examples(tmp_path / "data" / f"{name}.parquet") for name in ("train", "evaluate"))
    assert len(held) == 4
    asked = {item.messages[0].content for item in held}
    assert not asked & {item.messages[0].content for item in train}
    assert manifest.tasks["t"].rejected["filter"]["in_evaluation"] == 20 - 4 - len(train)
    assert balanced(manifest)


def test_what_is_shortened_or_over_long_is_counted(tmp_path: Path) -> None:
    def one(item: Example) -> tuple[Example | None, str]:
        length = len(item.messages[0].content)
        if length > 6:
            return None, "over_long"
        return (replace(item, metadata={"cut": True}), "shortened") if length > 5 else (item, "")

    def fit(items: Sequence[Example]) -> list[tuple[Example | None, str]]:
        return [one(item) for item in items]

    rows = [("가" * length, str(length)) for length in range(1, 10)]
    manifest = build(own(tmp_path / "t.csv", rows, evaluate=0), tmp_path / "data", fit)
    task = manifest.tasks["t"]
    assert (task.examples, task.shortened, task.rejected) == (6, 1, {"length": {"over_long": 3}})


def test_labels_of_own_data_are_choices_where_accuracy_is_asked_for(tmp_path: Path) -> None:
    rows = [(f"글 {number}", ["긍정", "부정"][number % 2]) for number in range(10)]
    made = own(tmp_path / "t.csv", rows, metrics=["accuracy"])
    build(made, tmp_path / "data")
    for item in read_examples(tmp_path / "data" / "train.parquet"):
        assert sorted(item.choices) == ["긍정", "부정"]
        assert item.answer_index is not None
        assert item.choices[item.answer_index] == item.references[0]


def test_a_recipe_that_leaves_nothing_says_why(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no example to train on") as error:
        build(own(tmp_path / "t.csv", [("", "1"), ("x", "")], evaluate=0), tmp_path / "data")
    assert "t: 2 read, 1 empty_answer, 1 empty_prompt" in str(error.value)
    assert not (tmp_path / "data").exists()
    with pytest.raises(DataError, match="names no tasks and no files"):
        build(recipe(), tmp_path / "data")


def test_rows_with_broken_unicode_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text("".join(json.dumps({"q": f"{n}\ud800"[: n + 1], "a": "x"}) + "\n" for n in range(4)))
    made = recipe(files=[{"path": str(path), "prompt": "{{ q }}", "answer": "{{ a }}", "evaluate": 0}])
    manifest = build(made, tmp_path / "data")
    assert manifest.tasks["t"].rejected == {"source": {"broken_unicode": 3}}
    rejects = pq.read_table(tmp_path / "data" / "rejects.parquet").to_pylist()
    assert [item["where"] for item in rejects] == [f"t.jsonl, line {n}" for n in (2, 3, 4)]
    assert balanced(manifest)


def test_without_train_file_both_cures_are_told(tmp_path: Path) -> None:
    with pytest.raises(DataError) as error:
        build(recipe(tasks=["korquad.qa"]), tmp_path / "data")
    text = str(error.value)
    assert "KorQuAD_v1.0_train.json" in text
    assert "data.resplit: true" in text
    assert "not comparable with published results" in text


def test_a_task_that_is_only_evaluated_is_not_trained_on(tmp_path: Path) -> None:
    made = parse_recipe(
        {"name": "t", "data": {"tasks": ["sample.title"]}, "evaluate": {"tasks": ["sample.qa"]}}, "test"
    )
    manifest = build(made, tmp_path / "data")
    assert manifest.tasks["sample.qa"].examples == 0
    assert manifest.tasks["sample.qa"].evaluation is not None
    assert {item.task for item in read_examples(tmp_path / "data" / "train.parquet")} == {"sample.title"}
    assert Counter(item.task for item in read_examples(tmp_path / "data" / "evaluate.parquet")) == {
        "sample.title": 20,
        "sample.qa": 80,
    }


def test_the_stage_key_follows_the_data_and_nothing_else(tmp_path: Path) -> None:
    base = stage_key(load_recipe("sample"))
    assert stage_key(load_recipe("sample", ["train.lr=1e-3", "evaluate.limit=3"])) == base
    for override in ("seed=1", "pack.tokens=512", "model.name=other", "data.tasks.sample.qa.cap=9"):
        assert stage_key(load_recipe("sample", [override])) != base
    first = stage_key(own(tmp_path / "t.csv", [("a", "b")]))
    assert stage_key(own(tmp_path / "t.csv", [("a", "c")])) != first
    assert stage_key(own(tmp_path / "t.csv", [("a", "b")])) == first
    json.dumps(base)


@pytest.mark.realdata
def test_korquad_is_built_without_an_article_in_both_parts(tmp_path: Path, realdata: Path) -> None:
    manifest = build(load_recipe("korquad", ["data.tasks.korquad.qa.cap=700"]), tmp_path / "data")
    task = manifest.tasks["korquad.qa"]
    assert task.read == 4528
    assert 695 <= task.examples <= 700  # whole passages, up to the cap
    repeated = {"duplicate": 11, "near_duplicate": 5}
    assert task.rejected == {"filter": repeated, "mixture": {"cap": 4528 - 16 - task.examples}}
    assert balanced(manifest)
    assert (manifest.resplit, manifest.comparable) == (["korquad"], False)
    train, held = (read_examples(tmp_path / "data" / f"{name}.parquet") for name in ("train", "evaluate"))
    assert len(held) == 1246
    assert {item.split for item in held} == {"resplit-test"}
    assert not {item.metadata["title"] for item in train} & {item.metadata["title"] for item in held}
    assert sum(item.kind == "instruction_first" for item in train) >= 175


@pytest.mark.realdata
def test_the_korean_of_the_north_is_no_duplicate_of_the_souths(tmp_path: Path, realdata: Path) -> None:
    """Both tell the same news; where they differ in spaces alone, the North's spelling is still the point."""
    tasks = [
        "parallel-news.en_ko",
        "parallel-news.ko_en",
        "parallel-north.en_north",
        "parallel-north.north_en",
    ]
    manifest = build(recipe(tasks=tasks, resplit=True), tmp_path / "data")
    assert balanced(manifest)
    assert {name: manifest.tasks[name].read for name in tasks} == dict.fromkeys(tasks, 736)
    for name in tasks:
        alike = manifest.tasks[name].rejected.get("filter", {})
        assert alike.get("duplicate", 0) + alike.get("near_duplicate", 0) < 10, name
    north = manifest.tasks["parallel-north.en_north"]
    assert north.examples > 700


def test_a_test_set_that_is_divided_does_not_stand_against_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KOMT_DATA", str(tmp_path))
    (tmp_path / "mini").mkdir()
    rows = "".join(f"이것은 서로 다른 {n}번 문장이다.\t{'좋다' if n % 2 else '싫다'}\n" for n in range(200))
    (tmp_path / "mini" / "test.tsv").write_text(rows, encoding="utf-8")
    for folder, text in (
        (
            "sources",
            "name: mini\ntitle: t\nlicence: CC0-1.0\norigin: native\ncitation: c\n"
            "resplit_by: sentence\n"
            "reader: {format: csv, delimiter: '\t', quoting: none, header: false,"
            " columns: [sentence, label]}\n"
            "files: [{path: train.tsv, split: train}, {path: ../mini/test.tsv, split: test}]\n",
        ),
        (
            "tasks",
            "family: sentiment\nsource: mini\ninput: [sentence]\nlabel: label\n"
            "choices: {좋다: 좋다, 싫다: 싫다}\n"
            "templates:\n"
            "  - {id: plain, kind: plain, prompt: '{{ sentence }} 좋은가요?', answer: '{{ choice }}'}\n"
            "metrics: [accuracy]\n",
        ),
    ):
        (tmp_path / folder).mkdir()
        name = "mini.yaml" if folder == "sources" else "mini.label.yaml"
        (tmp_path / folder / name).write_text(text, encoding="utf-8")
    (tmp_path / "r.yaml").write_text(
        "name: r\ndata: {resplit: true, tasks: [mini.label]}\n", encoding="utf-8"
    )
    add_folder_beside(tmp_path / "r.yaml")
    try:
        manifest = build(load_recipe(str(tmp_path / "r.yaml")), tmp_path / "data")
    finally:
        add_folder_beside("")
    task = manifest.tasks["mini.label"]
    assert task.evaluation is not None
    assert 100 < task.examples == task.read == 200 - task.evaluation.read


def test_pairs_are_counted_and_those_that_are_none_left_out_with_their_reason(tmp_path: Path) -> None:
    long = "아주 긴 답입니다. " * 60
    rows = [
        ("한국의 수도는?", "서울입니다.", "부산입니다."),
        ("한국의 수도는?", "서울입니다.", "인천입니다."),  # another fault: another pair
        ("한국의 수도는?", "서울입니다.", "부산입니다."),
        ("바다는 왜 파란가요?", "푸른빛이 흩어지기 때문입니다.", "푸른빛이 흩어지기 때문입니다. "),
        ("전화번호는?", "010-2468-1357입니다.", "010-8765-4321입니다."),  # masked they are alike
        ("산은 왜 높나요?", "땅이 솟았기 때문입니다.", ""),
        ("강은 어디로 흐르나요?", "바다로 흐릅니다.", long),
        ("해는 어디서 뜨나요?", "동쪽에서 뜹니다.", "East."),
    ]
    path = tmp_path / "votes.jsonl"
    keys = ("prompt", "chosen", "rejected")
    lines = [json.dumps(dict(zip(keys, row, strict=True)), ensure_ascii=False) for row in rows]
    path.write_text("\n".join(lines), encoding="utf-8")
    templates = {"prompt": "{{ prompt }}", "answer": "{{ chosen }}", "rejected": "{{ rejected }}"}
    votes = recipe(files=[{"path": str(path), **templates, "evaluate": 0}])

    def fit(examples: Sequence[Example]) -> list[tuple[Example | None, str]]:
        return [(None, "over_long") if len(one.rejected) > 500 else (one, "") for one in examples]

    manifest = build(votes, tmp_path / "data", fit)
    assert manifest.tasks["votes"].rejected == {
        "filter": {"duplicate": 1, "empty_rejected": 1, "identical_answers": 2},
        "length": {"over_long": 1},
    }
    assert balanced(manifest)
    kept = sorted(read_examples(tmp_path / "data" / "train.parquet"), key=lambda one: one.rejected)
    assert [one.rejected for one in kept] == ["East.", "부산입니다.", "인천입니다."]
    assert all(one.chosen == one.messages[-1].content for one in kept)
