"""finetune_with_lora.py, on a tiny model."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from komt.commands._published import DATA, build_parser, main, make_recipe
from komt.mix import read_examples
from komt.serve.first_talk import default_model
from komt.testing import tiny_model_folder

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return str(tiny_model_folder(tmp_path_factory.mktemp("model"), "llama"))


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def write_rows(*rows, path="my.json"):
    Path(path).write_text(json.dumps(rows, ensure_ascii=False, indent=1), encoding="utf-8")


def train(model, *words):
    return main(["--model_name_or_path", model, "--bits", "32", *words])


def prompts():
    return {example.messages[0].content for example in read_examples(Path("output/data/train.parquet"))}


def test_a_list_becomes_an_adapter_where_infer_looks_for_it(model, capsys):
    write_rows(
        {"instruction": "한국의 수도는?", "output": "서울"},
        {"instruction": "줄이세요.", "input": "긴 글입니다.", "output": "글"},
        {"instruction": "바다의 빛깔은?", "input": "", "output": "파랑"},
    )
    assert train(model, "--data_path", "my.json", "--per_device_train_batch_size", "2", "--seed", "3") == 0
    out, err = capsys.readouterr()
    assert prompts() == {"한국의 수도는?", "줄이세요.\n\n긴 글입니다.", "바다의 빛깔은?"}
    summary = json.loads(Path("output/train/train.json").read_text())
    assert (summary["trained"], summary["steps"]) == (3, 2)
    assert Path("output/train/adapter/adapter_model.safetensors").is_file()
    assert default_model(Path()) == "output"
    assert "infer.py --model_name_or_path output" in out
    lines = [line.split() for line in err.splitlines()]
    assert ["learning_rate", "0.0005", "1e-5"] in lines
    assert ["num_train_epochs", "1", "3"] in lines


def test_the_script_runs_from_the_root(model, tmp_path):
    write_rows({"instruction": "한국의 수도는?", "output": "서울"})
    words = ["--model_name_or_path", model, "--bits", "32", "--data_path", str(tmp_path / "my.json")]
    done = subprocess.run(
        [sys.executable, "finetune_with_lora.py", *words, "--output_dir", str(tmp_path / "o")],
        cwd=ROOT,
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    assert (tmp_path / "o" / "train" / "adapter").is_dir()


def test_without_data_the_sample_is_used_and_said(capsys):
    assert main(["--model_name_or_path", "no-such-model"]) == 2
    err = capsys.readouterr().err
    assert "the sample that comes with komt" in err
    rows = json.loads(DATA.read_text(encoding="utf-8"))
    assert len(rows) == 240
    assert rows[0].keys() == {"instruction", "output"}
    assert not Path("output").exists()
    assert main(["--model_name_or_path", "no-such-model"]) == 2
    assert "already there" in capsys.readouterr().err


@pytest.mark.realdata
def test_without_data_korquad_is_used_where_it_is_present(realdata, capsys):
    assert main(["--model_name_or_path", "no-such-model"]) == 2
    assert "KorQuAD 1.0" in capsys.readouterr().err
    assert len(json.loads(DATA.read_text(encoding="utf-8"))) > 1000


def test_the_heading_of_the_published_data_is_not_repeated(model, capsys):
    write_rows({"instruction": "### instruction: 한국의 수도는?", "output": "서울"})
    assert train(model, "--data_path", "my.json") == 0
    assert prompts() == {"한국의 수도는?"}
    assert "'### instruction:' is left out" in capsys.readouterr().err


def test_the_defaults_are_those_printed():
    recipe = make_recipe(build_parser().parse_args([]), [{"instruction": "가", "output": "나"}])
    assert (recipe.train.epochs, recipe.train.lr, recipe.train.step_examples) == (1.0, 5e-4, 32)
    assert (recipe.model.name, recipe.model.bits) == ("gemma-3-270m", 4)
    assert recipe.data.files[0].prompt == "{{ instruction }}"


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (["--learning_rat", "1e-4"], "unknown argument --learning_rat; did you mean '--learning_rate'?"),
        (["--num-train-epochs=2"], "did you mean '--num_train_epochs'?"),
        (["my.json"], "unknown argument my.json"),
        (["--num_train_epochs", "0", "--learning_rate", "nan"], "--learning_rate nan is out of range"),
        (["--seed", "-1"], "--seed -1 is out of range"),
        (["--output_dir", "file"], "--output_dir file is a file"),
    ],
)
def test_wrong_usage_is_named_before_anything_is_made(words, what, tmp_path, capsys):
    Path("file").write_text("")
    assert main(words) == 2
    assert what in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ('[{"instruction": "가",\n "output": "나"},\n {"instruction"', "my.json, line 3"),
        ('{"instruction": "가", "output": "나"}', "not a JSON list of rows"),
        ("3", "not a JSON list of rows"),
        ("[]", "the list is empty"),
        ("", "the file is empty"),
        ('[{"instruction": "가", "output": "나"}, {"instruction": "가"}]', "my.json, item 2"),
        ('[{"instruction": "가", "outputs": "나"}]', "did you mean 'outputs'?"),
        ('["가"]', "a row is not an object"),
        ('[{"instruction": "가", "output": 3}]', "a value is not a text"),
        ('[{"instruction": "가", "output": " "}]', "every row has an empty instruction or output"),
    ],
)
def test_bad_data_is_one_message_and_leaves_nothing(text, what, model, tmp_path, capsys):
    Path("my.json").write_text(text, encoding="utf-8")
    assert train(model, "--data_path", "my.json") == 1
    err = capsys.readouterr().err
    assert what in err
    assert err.count("komt: ") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["my.json"]


def test_a_missing_file_is_named(model, capsys):
    assert train(model, "--data_path", "none.json") == 1
    assert "no such file: none.json" in capsys.readouterr().err
