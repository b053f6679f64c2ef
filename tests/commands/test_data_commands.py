from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from komt.cli import main
from komt.files import data_root
from komt.mix import read_examples, read_manifest
from komt.recipe import load_recipe
from komt.sources import SOURCES
from komt.tasks import TASKS

Captured = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _no_tokenizer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Builds keep every example, whatever its length; and run in an empty folder."""
    monkeypatch.setattr("komt.commands._stages.fit_for", lambda recipe: None)
    monkeypatch.chdir(tmp_path)


def run(capsys: Captured, *words: str) -> tuple[int, str, str]:
    status = main(list(words))
    out, err = capsys.readouterr()
    assert "Traceback" not in out + err
    return status, out, err


def run_json(capsys: Captured, *words: str) -> Any:
    status, out, _ = run(capsys, *words, "--json")
    assert status == 0
    return json.loads(out)


def own_recipe(path: str, prompt: str = "{{ 질문 }}", answer: str = "{{ 답 }}", **more: Any) -> str:
    part = {"path": path, "prompt": prompt, "answer": answer, "evaluate": 0, **more}
    text = yaml.safe_dump({"name": "own", "data": {"files": [part]}}, allow_unicode=True)
    Path("own.yaml").write_text(text, encoding="utf-8")
    return "own.yaml"


def test_sources_are_listed_with_what_programs_read(capsys: Captured) -> None:
    rows = run_json(capsys, "sources", "list")
    assert [row["name"] for row in rows] == SOURCES.names()
    assert {tuple(row) for row in rows} == {("name", "licence", "origin", "repository", "present")}
    assert {row["name"]: row["present"] for row in rows}["korquad"] is False
    status, out, _ = run(capsys, "sources", "list")
    assert status == 0
    assert "sample-passages" in out


def test_a_source_is_shown_with_its_places(capsys: Captured) -> None:
    _, out, _ = run(capsys, "sources", "show", "korquad")
    assert "MISSING" in out
    assert "KorQuAD_v1.0_train.json" in out
    assert run_json(capsys, "sources", "show", "sample")["files"][0]["present"] is True


def test_a_source_is_checked_by_reading_it(capsys: Captured) -> None:
    report = run_json(capsys, "sources", "check", "sample")
    files = report.pop("files")
    assert report == {"rows": 320, "splits": {"train": 240, "test": 80}, "rejected": {}}
    assert {file["encoding"] for file in files} == {"utf-8"}
    status, _, err = run(capsys, "sources", "check", "korquad")
    assert status == 1
    assert "KOMT_DATA" in err


@pytest.mark.realdata
def test_korquad_is_checked_by_reading_it(capsys: Captured, realdata: Path) -> None:
    report = run_json(capsys, "sources", "check", "korquad")
    del report["files"]
    assert report == {"rows": 5774, "splits": {"dev": 5774}, "rejected": {}}


@pytest.mark.parametrize("words", [("sources", "show", "korquda"), ("tasks", "show", "korquad.q")])
def test_an_unknown_name_is_wrong_usage(capsys: Captured, words: tuple[str, ...]) -> None:
    status, _, err = run(capsys, *words)
    assert status == 2
    assert "did you mean 'korquad" in err


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (("import", "aihub-97", "none"), "no such file or folder: none"),
        (("fetch", "aihub-97"), "'aihub-97' (AI Hub"),
    ],
)
def test_a_failed_fetch_or_import_says_one_thing_and_leaves_nothing(
    capsys: Captured, words: tuple[str, ...], what: str
) -> None:
    status, out, err = run(capsys, "sources", *words)
    assert (status, out) == (1, "")
    assert err.startswith(f"komt: {what}")
    assert not (data_root() / "aihub-97").exists()


def test_tasks_are_listed_with_what_programs_read(capsys: Captured) -> None:
    rows = run_json(capsys, "tasks", "list")
    assert [row["name"] for row in rows] == TASKS.names()
    keys = ("name", "family", "source", "kinds", "templates", "metrics", "present")
    assert {tuple(row) for row in rows} == {keys}
    assert {row["name"]: row["templates"] for row in rows}["sample.qa"] == 7
    status, out, _ = run(capsys, "tasks", "list")
    assert status == 0
    assert "sample.closed_book" in out


def test_mixtures_are_listed_with_their_tasks(capsys: Captured) -> None:
    rows = {row["name"]: row for row in run_json(capsys, "tasks", "list", "--mixtures")}
    assert "klue-nli.label" in rows["klue"]["tasks"]
    assert set(rows["klue"]["tasks"]) < set(rows["public"]["tasks"])
    status, out, _ = run(capsys, "tasks", "list", "--mixtures")
    assert status == 0
    assert "KLUE, the Korean language understanding evaluation" in out


def test_a_table_in_a_pipe_has_a_line_for_each_row(capsys: Captured) -> None:
    _, out, _ = run(capsys, "sources", "list")
    lines = [line for line in out.splitlines() if "aihub-89 " in line]
    assert lines[0].rstrip().endswith("with questions that their passage does not answer")


def test_rows_are_shown_without_breaks_that_are_not_theirs(capsys: Captured) -> None:
    _, out, _ = run(capsys, "tasks", "show", "sample.qa")
    for record in run_json(capsys, "tasks", "show", "sample.qa"):
        for message in record["messages"]:
            assert f"\n{message['content']}\n" in out


def test_of_many_names_an_error_prints_the_nearest_and_the_command_for_all(capsys: Captured) -> None:
    _, _, err = run(capsys, "tasks", "show", "korquad.q")
    assert "did you mean 'korquad" in err
    assert f"`komt tasks list` prints all {len(TASKS.names())}" in err
    assert len(err) < 200


def test_a_task_is_shown_in_every_phrasing(capsys: Captured) -> None:
    shown = run_json(capsys, "tasks", "show", "sample.qa", "-n", "2")
    assert len(shown) == 14
    assert len({record["template"] for record in shown}) == 7
    _, out, _ = run(capsys, "tasks", "show", "sample.sentiment")
    assert "[user]" in out
    assert "[assistant]" in out


def test_tasks_are_checked_and_faults_fail(capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    status, out, _ = run(capsys, "tasks", "check")
    assert (status, "0 faults" in out, "korquad.qa" in out) == (0, True, True)
    good = TASKS.get("sample.title")
    bad = good.templates[0].model_copy(update={"prompt": "{{ preface }}제목을(를)  쓰세요.."})
    loaded = {"sample.title": good.model_copy(update={"templates": (bad,)})}
    monkeypatch.setattr(TASKS, "_loaded", loaded)
    status, out, _ = run(capsys, "tasks", "check", "sample.title")
    assert status == 1
    assert "both forms of a particle" in out
    assert "doubled punctuation" in out


def test_a_build_prints_its_counts_and_writes_its_folder(capsys: Captured) -> None:
    status, out, _ = run(capsys, "build", "sample", "data.tasks.sample.qa.cap=40")
    assert status == 0
    assert "356 examples in runs/sample/data" in out
    assert "cap 200" in out
    assert read_manifest(Path("runs/sample/data")).tasks["sample.qa"].examples == 40


def test_a_build_is_replaced_but_no_other_folder(capsys: Captured) -> None:
    words = ("build", "sample", "data.tasks={sample.title: {}}", "evaluate.tasks=[]", "--out", "data")
    assert run(capsys, *words)[0] == 0
    assert run(capsys, *words)[0] == 0
    Path("mine").mkdir()
    Path("mine/thesis.txt").write_text("x")
    status, _, err = run(capsys, *words[:-1], "mine")
    assert status == 2
    assert "something else" in err
    assert Path("mine/thesis.txt").is_file()


def test_alpaca_rows_stand_beside_the_examples(capsys: Captured) -> None:
    run(capsys, "build", "sample", "--out", "data", "--format", "alpaca")
    rows = json.loads(Path("data/alpaca.json").read_text(encoding="utf-8"))
    examples = read_examples(Path("data/train.parquet"))
    assert len(rows) == len(examples)
    assert rows[0] == {
        "instruction": examples[0].messages[0].content,
        "input": "",
        "output": examples[0].messages[1].content,
    }


def test_rejects_are_read_back_by_reason(capsys: Captured) -> None:
    Path("t.csv").write_text("질문,답\n하나,1\n하나,1\n둘,\n", encoding="utf-8")
    recipe = own_recipe("t.csv")
    _, out, _ = run(capsys, "build", recipe, "--show-rejects")
    assert "filter/duplicate t:t.csv:3" in out
    assert "filter/empty_answer t.csv:4" in out
    _, out, _ = run(capsys, "build", recipe, "--show-rejects", "duplicate")
    assert "filter/empty_answer" not in out


@pytest.mark.parametrize(
    ("name", "text", "what", "where"),
    [
        ("a.csv", "물음,답\n1,2\n", "'질문' that the rows do not have", "the fields are: 물음, 답"),
        ("a.csv", "", "the file is empty", "a.csv"),
        ("a.csv", "질문,답\n", "a header but no row", "a.csv"),
        ("a.csv", "질문,답\n1,2\n1,2,3\n", "3 cells where the table has 2 columns", "a.csv, line 3"),
        ("a.csv", '질문,답\n"1,2\n', "broken table", "a.csv, line 2"),
        ("a.json", '[{"질문": "1",\n "답"}]', "broken JSON", "a.json, line 2"),
        ("a.jsonl", '{"질문": "1", "답": "2"}\n{"질문"\n', "broken JSON", "a.jsonl, line 2"),
    ],
)
def test_a_mistake_in_own_data_is_named_with_its_place(
    capsys: Captured, name: str, text: str, what: str, where: str
) -> None:
    Path(name).write_text(text, encoding="utf-8")
    status, _, err = run(capsys, "build", own_recipe(name))
    assert status == 1
    assert what in err
    assert where in err
    assert not Path("runs").exists() or not list(Path("runs").rglob("*.parquet"))


def test_a_missing_own_file_is_named(capsys: Captured) -> None:
    status, _, err = run(capsys, "build", own_recipe("none.csv"))
    assert status == 1
    assert "none.csv" in err


def test_accuracy_over_free_text_is_wrong_usage(capsys: Captured) -> None:
    rows = "".join(f"질문 {number},답 {number}\n" for number in range(300))
    Path("t.csv").write_text(f"질문,답\n{rows}", encoding="utf-8")
    status, _, err = run(capsys, "build", own_recipe("t.csv", metrics=["accuracy"]))
    assert status == 2
    assert "300 different values" in err


def test_a_missing_train_file_is_told_with_both_cures(capsys: Captured) -> None:
    status, _, err = run(capsys, "build", "korquad", "data.resplit=false")
    assert status == 1
    assert "data.resplit: true" in err
    assert "KorQuAD_v1.0_train.json" in err


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp949"])
def test_init_writes_a_recipe_that_builds(capsys: Captured, encoding: str) -> None:
    rows = "".join(f'{n},"배송이 {n}일째\n안 와요",{"배송" if n % 2 else "환불"}\r\n' for n in range(30))
    Path("고객 문의.csv").write_bytes(f"번호,고객 문의,분류\r\n{rows}".encode(encoding))
    status, out, _ = run(capsys, "init", "고객 문의.csv", "--out", "q.yaml")
    assert status == 0
    assert "answer: 분류 (one of 2 labels)" in out
    assert "next: komt run q.yaml" in out
    part = load_recipe("q.yaml").data.files[0]
    assert part.prompt == '다음 고객 문의를 분류하세요.\n\n{{ row["고객 문의"] }}\n\n보기: 배송, 환불'
    assert part.answer == "{{ 분류 }}"
    assert run(capsys, "build", "q.yaml", "--out", "data")[0] == 0
    manifest = read_manifest(Path("data"))
    assert manifest.tasks["고객-문의"].splits == {"test": 3, "train": 27}
    assert read_examples(Path("data/train.parquet"))[0].choices


def test_init_knows_instruction_input_output(capsys: Captured) -> None:
    rows = [
        {"instruction": f"일 {n}", "input": "" if n % 2 else "글", "output": f"답 {n}"} for n in range(20)
    ]
    Path("a.json").write_text(json.dumps(rows, ensure_ascii=False), encoding="utf-8")
    _, out, _ = run(capsys, "init", "a.json")
    assert "answer: output (free text)" in out
    assert run(capsys, "build", "recipe.yaml", "--out", "data")[0] == 0
    prompts = {item.messages[0].content for item in read_examples(Path("data/train.parquet"))}
    prompts |= {item.messages[0].content for item in read_examples(Path("data/evaluate.parquet"))}
    assert {"일 0\n\n글", "일 1"} <= prompts


def test_init_leaves_ids_and_further_labels_out_of_the_prompt(capsys: Captured) -> None:
    rows = "".join(f"{n},{n},글 {n},{n % 2},{n % 3}\n" for n in range(30))
    Path("12.csv").write_text(f"번호,doc_id,글,성별,label\n{rows}", encoding="utf-8")
    _, out, _ = run(capsys, "init", "12.csv")
    assert "asked about: 글\n" in out
    assert load_recipe("recipe.yaml").name == "12"


def test_init_does_not_overwrite_unless_told(capsys: Captured) -> None:
    Path("a.csv").write_text("q,a\n1,2\n", encoding="utf-8")
    Path("recipe.yaml").write_text("mine")
    status, _, err = run(capsys, "init", "a.csv")
    assert status == 2
    assert "--force" in err
    assert Path("recipe.yaml").read_text() == "mine"
    assert run(capsys, "init", "a.csv", "--force")[0] == 0


@pytest.mark.parametrize(
    ("text", "what"), [("", "empty"), ("질문\n하나\n", "one column to ask about"), ("a,b\n", "no row")]
)
def test_init_says_why_a_file_cannot_be_used(capsys: Captured, text: str, what: str) -> None:
    Path("a.csv").write_text(text, encoding="utf-8")
    status, _, err = run(capsys, "init", "a.csv")
    assert status == 1
    assert what in err
    assert not Path("recipe.yaml").exists()


@pytest.mark.parametrize("verb", ["sources", "tasks", "build", "init"])
def test_help_shows_an_example(capsys: Captured, verb: str) -> None:
    with pytest.raises(SystemExit) as leaving:
        main([verb, "--help"])
    assert leaving.value.code == 0
    assert f"komt {verb} " in capsys.readouterr().out.partition("example:")[2]
