"""komt eval on preference pairs, through the command line: a run's held-out ones, files, flags, bad input."""

import json
import shutil

import pytest

from komt.cli import main
from komt.testing import tiny_model_folder

CITIES = ("서울", "부산", "대구", "인천", "광주", "대전", "울산", "세종", "수원", "창원")
HELD = "pair_accuracy", "pair_accuracy_norm"
REWARDS = "reward_accuracy", "reward_margin", "pair_loss"
LOG_PROBS = tuple(f"{which}_log_prob{end}" for end in ("", "_norm") for which in ("chosen", "rejected"))


def write_pairs(path, numbers):
    rows = [
        {
            "prompt": f"{city}에 대하여 아는 것을 한 문장으로 짧게 말해 주세요. 번호는 {n}번입니다.",
            "chosen": f"{city}입니다.",
            "rejected": "모름 모름",
        }
        for city in CITIES
        for n in numbers
    ]
    path.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of DPO on a tiny model, as `komt run` leaves it."""
    folder = tmp_path_factory.mktemp("pairs")
    tiny_model_folder(folder / "base", "llama")
    write_pairs(folder / "votes.jsonl", range(3))
    (folder / "votes.yaml").write_text(
        f"""
name: votes
model: {{name: {folder / "base"}, bits: 32}}
data:
  files:
    - {{path: votes.jsonl, prompt: "{{{{ prompt }}}}", answer: "{{{{ chosen }}}}",
        rejected: "{{{{ rejected }}}}", evaluate: 0.2}}
  quality: {{duplicates: exact}}
pack: {{tokens: 256}}
train: {{objective: dpo, preference: {{beta: 0.5}}, step_examples: 8, lr: 1.0e-3, lora: {{dropout: 0.0}}}}
""",
        encoding="utf-8",
    )
    home = pytest.MonkeyPatch()
    home.setenv("KOMT_HOME", str(folder / "home"))
    assert main(["run", str(folder / "votes.yaml"), "--out", str(folder / "run")]) == 0
    home.undo()
    return folder / "run"


def scores(capsys, *words):
    assert main(["eval", *map(str, words), "--bits", "32", "--json"]) == 0
    found = capsys.readouterr()
    return {(row["model"], row["metric"]): row for row in json.loads(found.out)}, found.err


def test_a_run_on_pairs_is_scored_on_what_it_held_out_beside_its_start(run, tmp_path, capsys):
    rows, err = scores(capsys, run, "--out", tmp_path)
    base, own = str(run.parent / "base"), str(run)
    assert set(rows) == {(base, metric) for metric in (*HELD, *LOG_PROBS)} | {
        (own, metric) for metric in (*HELD, *REWARDS, *LOG_PROBS)
    }
    # The same as training wrote of these pairs, by another way of computing them.
    written = {(row["model"], row["metric"]): row for row in read_json(run / "report" / "scores.json")}
    for metric in (*HELD, *REWARDS, *LOG_PROBS):
        for name in ("value", "n"):
            assert rows[own, metric][name] == pytest.approx(written["tuned", metric][name], abs=1e-4)
    for row in rows.values():
        assert (row["by"], row["flags"], row["unscored"], row["split"]) == ("loglikelihood", [], 0, "test")
        assert row["low"] <= row["value"] <= row["high"]
    gain = rows[own, "chosen_log_prob"]["gain"][base]["value"]
    assert gain == pytest.approx(
        rows[own, "chosen_log_prob"]["value"] - rows[base, "chosen_log_prob"]["value"]
    )
    assert "changed" not in err
    files = sorted(path.name for path in tmp_path.iterdir())
    assert len(files) == 3
    assert main(["eval", str(tmp_path), "--show", "all", "1"]) == 0
    shown = capsys.readouterr().out
    assert "모름 모름" in shown or "입니다." in shown
    assert main(["report", str(tmp_path), "--compare", base, own, "--format", "md"]) == 0
    assert "rejected_log_prob_norm" in capsys.readouterr().out


def read_json(path):
    return json.loads(path.read_text(encoding="utf-8"))


def test_pairs_of_a_file_are_scored_and_flagged_where_they_were_trained_on(run, tmp_path, capsys):
    file = write_pairs(tmp_path / "more.jsonl", [1, 7])
    rows, _ = scores(capsys, run, "--pairs", file)
    row = rows[str(run), "reward_margin"]
    assert (row["task"], row["n"], row["split"]) == ("more", 20, "test")
    assert 0 < row["contaminated"] <= 20
    assert row["flags"] == ["contaminated"]
    assert row["clean"]["n"] == 20 - row["contaminated"]
    assert rows[str(run.parent / "base"), "pair_accuracy"]["flags"] == []
    limited, _ = scores(capsys, run, "--pairs", file, "--limit", "3")
    assert limited[str(run), "pair_accuracy"]["flags"] == ["contaminated", "limited"]


def test_a_model_that_nobody_knows_the_start_of_has_no_rewards_unless_one_is_named(run, tmp_path, capsys):
    file, base = write_pairs(tmp_path / "more.jsonl", [7]), run.parent / "base"
    rows, _ = scores(capsys, base, "--pairs", file)
    assert {metric for _, metric in rows} == {*HELD, *LOG_PROBS}
    adapter, _ = scores(capsys, run / "train" / "adapter", "--pairs", file, "--reference", base)
    plain, _ = scores(capsys, run / "train" / "adapter", "--pairs", file)
    assert adapter == plain
    assert {metric for _, metric in adapter} == {*HELD, *LOG_PROBS, "reward_accuracy", "reward_margin"}


def test_a_task_of_pairs_is_scored_by_likelihood_and_answered_on_demand(run, capsys):
    words = run.parent / "base", "--tasks", "sample.preference", "--limit", "2", "--max-new-tokens", "2"
    rows, _ = scores(capsys, *words)
    assert {metric for _, metric in rows} == {*HELD, *LOG_PROBS}
    rows, _ = scores(capsys, *words, "--reference", run)
    assert (str(run.parent / "base"), "reward_accuracy") in rows
    rows, _ = scores(capsys, *words, "--choices", "generate")
    assert {metric for _, metric in rows} == {"rouge_l", "chrf"}


def test_a_run_whose_recipe_or_start_has_changed_since_says_so(run, tmp_path, capsys):
    copy = shutil.copytree(run, tmp_path / "run")
    recipe = copy / "recipe.yaml"
    recipe.write_text(recipe.read_text(encoding="utf-8").replace("lr: 0.001", "lr: 0.002"), encoding="utf-8")
    _, err = scores(capsys, copy)
    assert "have changed since it was trained" in err


def test_a_start_that_is_gone_can_be_named(run, tmp_path, capsys):
    copy, base = shutil.copytree(run, tmp_path / "run"), run.parent / "base"
    recipe = copy / "recipe.yaml"
    recipe.write_text(recipe.read_text(encoding="utf-8").replace(str(base), "gone"), encoding="utf-8")
    assert main(["eval", str(copy), "--bits", "32"]) == 2
    assert "was trained from 'gone', which is not to be had" in capsys.readouterr().err
    rows, _ = scores(capsys, copy, "--reference", base)
    assert (str(copy), "reward_margin") in rows


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"prompt": "가", "answer": "나"}\n', "no preference pairs: the columns are prompt, answer"),
        ("", "empty"),
        ('{"prompt": "가", "chosen": "나", "rejected": "나"}\n', "has no usable row: identical_answers 1"),
        ("{", "more.jsonl"),
    ],
)
def test_files_without_pairs_are_refused(run, tmp_path, capsys, text, said):
    file = tmp_path / "more.jsonl"
    file.write_text(text, encoding="utf-8")
    assert main(["eval", str(run), "--pairs", str(file)]) == 1
    err = capsys.readouterr().err
    assert said in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--pairs", "none.jsonl"], "no such file: none.jsonl"),
        (["--choices", "generate"], "preference pairs are scored by log-likelihood"),
        (["--reference", "RUN"], "would be the name of both the model and its reference"),
        (["--reference", "nobody"], "no model 'nobody'"),
        (["--reference", "http://127.0.0.1:9/v1"], "tells no log-likelihood"),
        (["--reference", "nobody", "--tasks", "sample.qa"], "--reference is for preference pairs"),
        (["--against", "/none"], "no training data at /none"),
        (["--engine", "llama.cpp", "--processes", "2"], "--processes is for models"),
        (["--processes", "9999"], "--processes 9999: at most"),
        (["--processes", "0"], "--processes 0: at least 1"),
    ],
)
def test_bad_options_are_refused(run, capsys, words, said):
    assert main(["eval", str(run), *[str(run) if word == "RUN" else word for word in words]]) in {1, 2}
    err = capsys.readouterr().err
    assert said in err
    assert "Traceback" not in err


def test_rows_that_cannot_be_used_are_told(run, tmp_path, capsys):
    file = write_pairs(tmp_path / "more.jsonl", [7])
    same, empty = ({"prompt": "가", "chosen": "나", "rejected": worse} for worse in ("나", ""))
    with file.open("a", encoding="utf-8") as lines:
        lines.write(f"\n{json.dumps(same)}\n{json.dumps(empty)}")
    rows, err = scores(capsys, run, "--pairs", file)
    assert "more: rows that cannot be used: identical_answers 1, empty_rejected 1" in err
    assert rows[str(run), "pair_accuracy"]["n"] == 10
