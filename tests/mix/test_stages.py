"""What is built again when something changes, and what the mixture makes of the rendered tasks."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from komt.files import home
from komt.mix import build, read_examples, stage_key
from komt.recipe import Recipe, parse_recipe
from komt.sources import load_source, read_rows
from komt.tasks import add_folder_beside


def recipe(seed: int = 0, evaluate: tuple[str, ...] = (), **data: Any) -> Recipe:
    values = {"name": "t", "seed": seed, "data": data, "evaluate": {"tasks": list(evaluate)}}
    return parse_recipe(values, "test")


def table(path: Path, rows: list[tuple[str, str]]) -> dict[str, Any]:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([("q", "a"), *rows])
    return {"path": str(path), "prompt": "{{ q }}", "answer": "{{ a }}", "evaluate": 0}


def parts() -> dict[str, int]:
    """Every part of the rendered tasks, with the time it was written."""
    found = (home() / "stages").glob("task-*/part-*.parquet")
    return {f"{path.parent.name}/{path.name}": path.stat().st_mtime_ns for path in found}


def test_changed_rates_render_nothing_anew_and_a_changed_task_itself_alone(tmp_path: Path) -> None:
    first = table(tmp_path / "one.csv", [("하나", "일"), ("둘", "이"), ("셋", "삼")])
    tasks = ["sample.sentiment", "sample.inference"]
    build(recipe(tasks=tasks, files=[first]), tmp_path / "a")
    before = parts()
    assert len(before) == 5  # two tasks with both splits, and the table
    rates: dict[str, Any] = {"sample.sentiment": {"rate": 0.5}, "sample.inference": {"cap": 9}}
    few = {"rate": 0.5}
    manifest = build(recipe(tasks=rates, files=[first], few_shot=few, mixing={"maximum": 30}), tmp_path / "b")
    assert parts() == before
    assert manifest.tasks["sample.inference"].examples == 9
    table(tmp_path / "one.csv", [("하나", "일"), ("둘", "이"), ("넷", "사")])
    build(recipe(tasks=tasks, files=[first]), tmp_path / "c")
    new = parts().keys() - before.keys()
    assert {name.split("-")[1] for name in new} == {"one"}
    assert before.items() <= parts().items()


def test_a_killed_build_leaves_no_folder_and_goes_on_with_its_parts(tmp_path: Path) -> None:
    made = recipe(tasks=["sample.sentiment", "sample.inference"])

    def stop(note: str) -> None:
        if note.startswith("comparing"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build(made, tmp_path / "data", note=stop)
    assert not (tmp_path / "data").exists()
    before = parts()
    build(made, tmp_path / "data")
    assert parts() == before


def test_few_shot_examples_come_from_the_same_task_and_other_groups(tmp_path: Path) -> None:
    few = {"rate": 0.5, "shots": 3, "tokens": 2000}
    manifest = build(recipe(tasks=["sample.qa", "sample.sentiment"], few_shot=few), tmp_path / "data")
    train = read_examples(tmp_path / "data" / "train.parquet")
    shown = [example for example in train if example.kind == "few_shot"]
    assert 0.35 < len(shown) / len(train) < 0.65
    assert manifest.tasks["sample.qa"].kinds["few_shot"] == sum(item.task == "sample.qa" for item in shown)
    answers = {task: Counter[str]() for task in ("sample.qa", "sample.sentiment")}
    for example in train:
        answers[example.task][example.messages[-1].content] += 1
    for example in shown:
        assert 2 <= len(example.messages) - 2 <= 6
        assert [m.supervised for m in example.messages] == [False] * (len(example.messages) - 1) + [True]
        assert sum(len(message.content) for message in example.messages) <= 2000
        assert example.messages[-2].content not in {m.content for m in example.messages[:-2]}
        assert all(message.content in answers[example.task] for message in example.messages[1:-1:2])
        if at := example.evidence:
            text = example.messages[at.message].content[at.start : at.end]
            assert text == example.messages[-1].content


def test_kinds_are_thinned_by_whole_groups(tmp_path: Path) -> None:
    manifest = build(recipe(tasks=["sample.qa"], kinds={"instruction_first": 0.3}), tmp_path / "data")
    task = manifest.tasks["sample.qa"]
    train = read_examples(tmp_path / "data" / "train.parquet")
    left = [example for example in train if example.kind == "instruction_first"]
    assert 0 < len(left) < task.rejected["mixture"]["kind"]
    assert set(Counter(example.group for example in left).values()) == {4}


def test_a_row_of_another_tasks_evaluation_is_not_trained_on(tmp_path: Path) -> None:
    held = read_held()
    rows = [
        (held, "긍정"),
        (f"{held} 그래서 하는 말인데 오늘은 일찍 자야겠다.", "부정"),
        ("처음 보는 글", "부정"),
    ]
    own = table(tmp_path / "own.csv", rows)
    manifest = build(
        recipe(tasks=["sample.sentiment"], files=[own], evaluate=("sample.sentiment",)), tmp_path / "data"
    )
    assert manifest.tasks["own"].rejected == {"filter": {"in_evaluation": 2}}


def read_held() -> str:
    """The held-out text of the sample with most words: long enough to be found inside another."""
    rows = read_rows(load_source("sample-sentiment"), "test")
    return max((row["text"] for row in rows if isinstance(row, dict)), key=lambda text: len(text.split()))


def test_near_duplicates_of_one_answer_are_left_out_and_others_kept(tmp_path: Path) -> None:
    long = "이 식당은 국물이 진하고 반찬이 정갈해서 부모님을 모시고 다시 오고 싶은 곳이었습니다"
    rows = [(long, "좋아요"), (f"{long}!", "좋아요"), (f"{long} 꼭", "좋아요"), (f"{long} 정말", "싫어요")]
    manifest = build(recipe(files=[table(tmp_path / "t.csv", rows)]), tmp_path / "data")
    assert manifest.tasks["t"].rejected == {"filter": {"duplicate": 1, "near_duplicate": 1}}
    exact = recipe(files=[table(tmp_path / "t.csv", rows)], quality={"duplicates": "exact"})
    assert build(exact, tmp_path / "data").tasks["t"].rejected == {"filter": {"duplicate": 1}}


def test_conflicting_labels_are_reported_dropped_or_outvoted(tmp_path: Path) -> None:
    rows = [("같은 글", "긍정"), ("같은 글", "긍정"), ("같은 글!", "부정"), ("다른 글", "부정")]

    def built(policy: str) -> Any:
        own = {**table(tmp_path / "t.csv", rows), "metrics": ["accuracy"]}
        return build(recipe(files=[own], quality={"conflicts": policy}), tmp_path / policy).tasks["t"]

    assert (built("report").conflicts, built("report").examples) == (1, 3)
    assert (built("drop").examples, built("drop").rejected["filter"]["conflict"]) == (1, 3)
    assert (built("majority").examples, built("majority").rejected["filter"]["conflict"]) == (2, 1)


def test_an_own_file_named_as_a_source_gives_its_own_rows(tmp_path: Path) -> None:
    path = tmp_path / "sample-sentiment.csv"
    own = table(path, [(f"내 글 {number}번", f"답 {number}") for number in range(3)])
    manifest = build(recipe(tasks=["sample.sentiment"], files=[own]), tmp_path / "data")
    train = read_examples(tmp_path / "data" / "train.parquet")
    asked = {one.messages[0].content for one in train if one.task == "sample-sentiment"}
    assert asked == {"내 글 0번", "내 글 1번", "내 글 2번"}
    assert {name.rpartition("/")[2] for name in manifest.inputs} == {
        "sample-sentiment.csv",
        "sentiment.train.jsonl",
        "sentiment.test.jsonl",
    }


@pytest.fixture
def own_task(tmp_path: Path) -> Iterator[Callable[[str], Recipe]]:
    """Makes a recipe over a source of one's own with some files."""
    yield partial(_own_task, tmp_path)
    add_folder_beside("")


def _own_task(folder: Path, files: str) -> Recipe:
    for name, text in {
        "sources/mine.yaml": "name: mine\ntitle: T\nlicence: own\norigin: native\n"
        f"reader: {{format: csv}}\nfiles: {files}\n",
        "tasks/mine.say.yaml": "name: mine.say\nfamily: own\nsource: mine\nmetrics: [exact_match]\n"
        'templates: [{id: own, kind: plain, prompt: "{{ q }}", answer: "{{ a }}"}]\n',
    }.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    add_folder_beside(folder)
    return recipe(tasks=["mine.say"])


@pytest.mark.parametrize(
    ("files", "asked"),
    [
        ("[{path: ../two.csv, split: train}, {path: ../one/q.csv, split: test}]", "둘째 문장"),
        (
            "[{path: ../one/q.csv, split: train, reader: {rename: {q: a, a: q}}}, "
            "{path: ../two.csv, split: test}]",
            "첫째 답변",
        ),
    ],
)
def test_files_that_are_declared_otherwise_are_read_anew(
    tmp_path: Path, own_task: Callable[[str], Recipe], files: str, asked: str
) -> None:
    (tmp_path / "one").mkdir()
    table(tmp_path / "one" / "q.csv", [("첫째 문장", "첫째 답변")])
    table(tmp_path / "two.csv", [("둘째 문장", "둘째 답변")])
    first = "[{path: ../one/q.csv, split: train}, {path: ../two.csv, split: test}]"
    for declared in (first, files):
        manifest = build(own_task(declared), tmp_path / "data")
    train = read_examples(tmp_path / "data" / "train.parquet")
    assert [one.messages[0].content for one in train] == [asked]
    assert "mine/one/q.csv" in manifest.inputs or "mine/q.csv" in manifest.inputs


def test_a_changed_file_beside_another_or_of_another_folder_is_read_anew(
    tmp_path: Path, own_task: Callable[[str], Recipe]
) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        table(tmp_path / folder / "q.csv", [(f"문장 {folder}", "답변")])
    files = "[{path: ../a/q.csv, split: train}, {path: ../b/q.csv, split: train}]"
    files = files.replace("split: train", "split: train, reader: {beside: [more]}, beside: [../more.txt]")
    (tmp_path / "more.txt").write_text("하나\n")
    keys = []
    for place, text in (
        ("more.txt", "둘\n"),
        ("a/q.csv", "q,a\n새 문장,답변\n"),
        ("b/q.csv", "q,a\n또 문장,답\n"),
    ):
        keys.append(stage_key(own_task(files)))
        (tmp_path / place).write_text(text)
    keys.append(stage_key(own_task(files)))
    assert all(one != other for one, other in combinations(keys, 2))
