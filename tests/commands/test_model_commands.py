"""komt chat, generate and eval through the command line, on a tiny model."""

import io
import json
from pathlib import Path

import pytest

from komt.cli import main
from komt.models.llama_cpp import start
from komt.testing import tiny_gguf, tiny_model_folder


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return str(tiny_model_folder(tmp_path_factory.mktemp("model"), "gemma3"))


def test_chat_answers_one_prompt_and_exits(model, capsys):
    words = ["chat", model, "--prompt", "안녕", "--bits", "32", "--temperature", "0", "--max-new-tokens", "8"]
    assert main(words) == 0
    first = capsys.readouterr().out
    assert first.endswith("\n")
    assert main(words) == 0
    assert capsys.readouterr().out == first


def test_chat_takes_questions_from_a_pipe(model, capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("안녕\n또 안녕\n"))
    assert main(["chat", model, "--bits", "32", "--max-new-tokens", "4", "--seed", "1"]) == 0
    assert capsys.readouterr().out.count("\n") >= 2


def test_chat_refuses_impossible_settings_before_loading(capsys):
    assert main(["chat", "no-such-model", "--temperature", "-1", "--top-p", "0"]) == 2
    err = capsys.readouterr().err
    assert "temperature -1.0 is below 0; top_p 0.0 is not above 0" in err


def test_an_unknown_model_names_what_is_taken(capsys):
    assert main(["chat", "gemma-3-270n", "--prompt", "가"]) == 2
    assert "did you mean 'gemma-3-270m'" in capsys.readouterr().err


def test_generate_answers_every_line_in_order(model, tmp_path, capsys):
    source, out = tmp_path / "q.jsonl", tmp_path / "a.jsonl"
    rows = [{"prompt": "안녕", "id": 1}, {"instruction": "줄여라", "input": "긴 글", "id": 2}]
    source.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows), encoding="utf-8")
    words = ["generate", model, str(source), "--bits", "32", "--max-new-tokens", "6"]
    assert main([*words, "--out", str(out)]) == 0
    answers = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert [{k: v for k, v in row.items() if k not in {"answer", "ended"}} for row in answers] == rows
    assert all(isinstance(row["answer"], str) and isinstance(row["ended"], bool) for row in answers)
    capsys.readouterr()
    assert main(words) == 0
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == answers


def test_generate_names_file_and_line_and_leaves_nothing(model, tmp_path, capsys):
    source, out = tmp_path / "q.jsonl", tmp_path / "a.jsonl"
    source.write_text('{"prompt": "가"}\n{"prompt": "나"\n', encoding="utf-8")
    assert main(["generate", model, str(source), "--out", str(out)]) == 1
    err = capsys.readouterr().err
    assert f"{source}, line 2" in err
    assert "not JSON" in err
    assert not out.exists()


def test_generate_refuses_an_empty_and_a_missing_file(model, tmp_path, capsys):
    (tmp_path / "empty.jsonl").write_text("\n")
    assert main(["generate", model, str(tmp_path / "empty.jsonl")]) == 1
    assert "the file is empty" in capsys.readouterr().err
    assert main(["generate", model, str(tmp_path / "none.jsonl")]) == 1
    assert "no such file" in capsys.readouterr().err
    assert main(["generate", model, "x", "--max-new-tokens", "0"]) == 2
    assert main(["generate", model, "x", "--out", str(tmp_path)]) == 2


def test_generate_does_not_overwrite_its_questions(tmp_path, capsys):
    source = tmp_path / "g.jsonl"
    source.write_text('{"prompt": "가"}\n', encoding="utf-8")
    (tmp_path / "sub").mkdir()
    for out in (source, tmp_path / "sub" / ".." / "g.jsonl"):
        assert main(["generate", "no-such-model", str(source), "--out", str(out)]) == 2
        assert "is the file of the questions itself" in capsys.readouterr().err
    assert source.read_text(encoding="utf-8") == '{"prompt": "가"}\n'


def test_generate_reads_standard_input(model, capsys, monkeypatch):
    raw = io.TextIOWrapper(io.BytesIO('{"prompt": "안녕"}\n'.encode("cp949")))
    monkeypatch.setattr("sys.stdin", raw)
    assert main(["generate", model, "-", "--bits", "32", "--max-new-tokens", "3"]) == 0
    assert json.loads(capsys.readouterr().out)["prompt"] == "안녕"


@pytest.fixture(scope="module")
def gguf(tmp_path_factory):
    return str(tiny_gguf(tmp_path_factory.mktemp("gguf") / "작은.gguf"))


def test_chat_and_generate_take_a_gguf_file(gguf, tmp_path, capsys):
    words = ["--max-new-tokens", "6", "--context", "512"]
    assert main(["chat", gguf, "--prompt", "안녕", "--temperature", "0", *words]) == 0
    assert capsys.readouterr().out.endswith("\n")
    source = tmp_path / "q.jsonl"
    source.write_text('{"prompt": "가"}\n{"prompt": "나"}\n', encoding="utf-8")
    assert main(["generate", gguf, str(source), *words]) == 0
    here = capsys.readouterr().out
    assert [json.loads(line)["prompt"] for line in here.splitlines()] == ["가", "나"]
    assert main(["chat", gguf, "--prompt", "가", "--engine", "transformers"]) == 2
    assert "is a GGUF file, which the engine transformers does not take" in capsys.readouterr().err


def test_chat_and_generate_take_an_address(gguf, tmp_path, capsys, monkeypatch):
    source = tmp_path / "q.jsonl"
    source.write_text('{"prompt": "가"}\n{"prompt": "나"}\n', encoding="utf-8")
    words = ["--max-new-tokens", "6"]
    assert main(["generate", gguf, str(source), *words]) == 0
    here = capsys.readouterr().out
    with start(Path(gguf), context=512, threads=1) as server:
        address = f"{server.address}/v1"
        assert main(["generate", address, str(source), "--api-key", server.key, *words]) == 0
        assert capsys.readouterr().out == here
        monkeypatch.setenv("KOMT_API_KEY", server.key)
        assert main(["chat", address, "--prompt", "안녕", *words]) == 0
        assert main(["chat", f"{address}#큰", "--prompt", "안녕"]) == 2
    assert main(["chat", address, "--prompt", "안녕"]) == 1
    assert f"nothing answers at {address}" in capsys.readouterr().err


def test_a_folder_is_converted_for_llama_cpp_once(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("KOMT_HOME", str(tmp_path / "home"))
    folder = str(tiny_model_folder(tmp_path / "model", "llama"))
    words = [
        "chat",
        folder,
        "--prompt",
        "안녕",
        "--temperature",
        "0",
        "--max-new-tokens",
        "4",
        "--context",
        "256",
    ]
    assert main([*words, "--engine", "llama.cpp"]) == 0
    first = capsys.readouterr()
    assert "converting" in first.err
    [file] = (tmp_path / "home/stages").glob("gguf-*/*")
    assert file.name == "model-F16.gguf"
    assert main([*words, "--engine", "llama.cpp"]) == 0
    assert (again := capsys.readouterr()).out == first.out
    assert "converting" not in again.err
    assert main([*words, "--engine", "vllm"]) == 1
    assert "vLLM needs a GPU" in capsys.readouterr().err
