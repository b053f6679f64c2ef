"""komt export through the command line, on tiny runs of each family."""

from __future__ import annotations

import contextlib
import errno
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from komt.cli import main
from komt.export.measure import load_exported, load_exported_tokenizer
from komt.models.place import Place
from komt.models.resolve import resolve
from komt.testing import FAMILIES

Make = Callable[..., Place]
MakeRun = Callable[..., Path]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_run_of_each_family_is_exported_with_every_gate_passed(
    base: Make, run_folder: MakeRun, family: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = run_folder(base(family))
    words = ["export", str(run), "--format", "merged,adapter", "--dtype", "fp32", "--json"]
    assert main([*words, "--out", str(tmp_path / "out")]) == 0
    told = json.loads(capsys.readouterr().out)
    assert set(told["gates"]) == {"merged", "adapter"}
    assert all(gate["passed"] for gates in told["gates"].values() for gate in gates)
    names = {file["name"] for file in told["files"]}
    assert {
        f"merged/{name}" for name in ("model.safetensors", "README.md", "gates.json", "komt.json")
    } <= names
    assert {f"adapter/{name}" for name in ("adapter_model.safetensors", "README.md", "gates.json")} <= names
    assert load_exported(tmp_path / "out" / "merged").config.model_type.startswith(family)
    assert load_exported_tokenizer(tmp_path / "out" / "adapter").chat_template
    written = json.loads((tmp_path / "out" / "merged" / "gates.json").read_text())
    assert written == told["gates"]["merged"]


def test_a_fully_tuned_run_is_exported_whole(
    base: Make, run_folder: MakeRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, out = run_folder(base("gemma3"), full=True), tmp_path / "out"
    assert main(["export", str(run), "--format", "adapter"]) == 2
    assert "has no adapter: all its weights were trained" in capsys.readouterr().err
    assert main(["export", str(run), "--format", "merged", "--dtype", "fp32", "--out", str(out)]) == 0
    trained = run / "train" / "model" / "model.safetensors"
    assert (out / "model.safetensors").read_bytes() == trained.read_bytes()
    text = (out / "README.md").read_text(encoding="utf-8")
    assert "| 방법 | 전체 미세 조정 |" in text
    assert "lora" not in text.partition("---\n\n#")[0]


def test_what_training_in_4_bits_changed_stands_in_the_table(
    base: Make, run_folder: MakeRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = run_folder(base(), overrides=("model.bits=4",))
    words = ["export", str(run), "--format", "merged", "--dtype", "fp32", "--json"]
    assert main([*words, "--out", str(tmp_path / "out")]) == 0
    gates = {gate["name"]: gate for gate in json.loads(capsys.readouterr().out)["gates"]["merged"]}
    found = gates["perplexity on the base in 4 bits it was trained on, against the full one"]
    assert " against " in found["measured"]
    assert found["allowed"] == "reported"
    text = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert "| bits of the base's weights | 4 |" in text


def test_gguf_files_come_with_modelfile_adapter_and_card_and_are_merged_once(
    ending: Place, run_folder: MakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("xllamacpp")
    notes: list[str] = []
    monkeypatch.setattr("komt.commands._export.status", lambda _: contextlib.nullcontext(notes.append))
    run, out = run_folder(ending), tmp_path / "out"
    words = ["export", str(run), "--format", "merged,gguf", "--quant", "f16,q8_0", "--dtype", "fp32"]
    assert main([*words, "--out", str(out)]) == 0
    assert {path.name for path in (out / "gguf").iterdir()} == {
        *("tiny-F16.gguf", "tiny-Q8_0.gguf", "tiny-lora-F16.gguf", "Modelfile", "Modelfile.Q8_0"),
        *("README.md", "gates.json", "komt.json"),
    }
    names = [gate["name"] for gate in json.loads((out / "gguf" / "gates.json").read_text())]
    assert "adapter on the base in F16: same likeliest token through llama.cpp" in " ".join(names)
    assert "weights in fp32: same likeliest token" in names
    assert "library_name: gguf" in (out / "gguf" / "README.md").read_text(encoding="utf-8")
    assert [notes.count(note) for note in ("merging", "asking llama.cpp")] == [1, 1]
    assert (out / "merged" / "model.safetensors").is_file()


def test_komt_knows_an_exported_model_again(base: Make, run_folder: MakeRun, tmp_path: Path) -> None:
    run, out = run_folder(base()), tmp_path / "out"
    assert main(["export", str(run), "--format", "merged", "--dtype", "fp32", "--out", str(out)]) == 0
    again = tmp_path / "again"
    assert main(["export", str(out), "--format", "merged", "--dtype", "fp32", "--out", str(again)]) == 0
    assert (again / "model.safetensors").read_bytes() == (out / "model.safetensors").read_bytes()
    assert resolve(str(out)).kind == "base"
    text = (again / "README.md").read_text(encoding="utf-8")
    assert "`base`에 한국어 지시문 데이터를 학습시킨 모델입니다." in text
    assert "There is no record of the training data beside this model" in text


def test_without_out_a_run_keeps_its_exports(
    base: Make, run_folder: MakeRun, capsys: pytest.CaptureFixture[str]
) -> None:
    run = run_folder(base())
    assert main(["export", str(run), "--format", "adapter"]) == 0
    shown = capsys.readouterr().out
    assert "adapter: files of weights equal" in shown
    assert "adapter_model.safetensors" in shown
    assert (run / "export" / "adapter" / "adapter_model.safetensors").is_file()
    assert main(["export", str(run), "--format", "adapter"]) == 2
    assert "is not empty; an export never overwrites files" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "status", "expected"),
    [
        (["no-such-run", "--format", "merged"], 2, "no model 'no-such-run'"),
        (["{base}", "--format", "merged"], 2, "--out DIR is missing"),
        (["{base}", "--format", "adapter", "--out", "x"], 2, "has no adapter"),
        (["{base}", "--format", "gguff", "--out", "x"], 2, "did you mean 'gguf'"),
        (["{base}", "--format", "gguf", "--quant", "q4_k_s", "--out", "x"], 2, "did you mean 'q4_k_m'"),
        (["{base}", "--format", "merged", "--quant", "q8_0", "--out", "x"], 2, "--quant is for GGUF"),
        (["{base}", "--format", "merged", "--dry-run", "--out", "x"], 2, "--dry-run belongs to --push"),
        (["{base}", "--format", "merged", "--push", "nobody", "--out", "x"], 2, "not of the form ORG/NAME"),
        (["{base}", "--format", "merged,gguf", "--push", "a/b", "--out", "x"], 2, "--push takes one format"),
        (["{base}", "--format", "merged", "--shard-size", "big", "--out", "x"], 2, "--shard-size big"),
        (["{base}", "--format", "merged", "--out", "{base}/config.json/x"], 2, "config.json is a file"),
        (["{empty}", "--format", "merged", "--out", "x"], 1, "the run has no trained model yet"),
        (["{base}", "--format", "merged", "--out", "{here}"], 2, "it is the folder you are in"),
        (["{base}", "--format", "merged", "--out", "n" * 250], 1, "File name too long"),
    ],
)
def test_mistakes_are_told_before_any_work(
    base: Make,
    words: list[str],
    status: int,
    expected: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setattr("komt.export.forms.begin", lambda *_: pytest.fail("it has begun"))
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "recipe.yaml").write_text("name: x\n")
    places = {name: str(tmp_path / name) for name in ("empty", "here")} | {"base": str(base().folder)}
    assert main(["export", *(word.format(**places) for word in words)]) == status
    assert expected in capsys.readouterr().err
    assert not (tmp_path / "here" / "x").exists()


def test_files_go_where_a_link_leads(base: Make, tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "disk")
    words = ["export", str(base().folder), "--format", "merged", "--dtype", "fp32"]
    assert main([*words, "--out", str(tmp_path / "out")]) == 0
    assert (tmp_path / "out").is_symlink()
    assert (tmp_path / "disk" / "model.safetensors").is_file()


def test_weights_that_bf16_cannot_hold_fail_the_export_and_leave_nothing(
    base: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    place = base()
    model = AutoModelForCausalLM.from_pretrained(place.folder)
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(6)
    model.save_pretrained(place.folder)
    words = ["export", str(place.folder), "--format", "merged", "--out", str(tmp_path / "out")]
    assert main([*words, "--dtype", "bf16"]) == 1
    shown = capsys.readouterr()
    assert "FAILED" in shown.out
    assert "weights in bf16: same likeliest token" in shown.err
    assert "--dtype fp32" in shown.err
    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.glob(".out*"))
    assert main(words) == 0
    gates = json.loads((tmp_path / "out" / "gates.json").read_text())
    assert gates[-2]["name"] == "weights in bf16, therefore not taken"
    assert json.loads((tmp_path / "out" / "config.json").read_text())["dtype"] == "float32"


def test_a_full_disk_leaves_nothing_half_written(
    base: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("komt.export.merge.write_tokenizer", full)
    (tmp_path / "out").mkdir()
    words = ["export", str(base().folder), "--format", "merged", "--out", str(tmp_path / "out")]
    assert main(words) == 1
    assert "no space left on the disk; nothing half-written was kept" in capsys.readouterr().err
    assert list((tmp_path / "out").iterdir()) == []
    assert not list(tmp_path.glob(".out*"))


def test_a_push_stops_at_the_terms_of_the_data_before_any_work(
    base: Make, run_folder: MakeRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    counts = {"source": "aihub-117", "licence": "AI Hub terms of use", "origin": "native", "examples": 9}
    run = run_folder(base(), tasks={"aihub-117.summary": counts}, terms={"aihub-117": "may not be handed on"})
    out = tmp_path / "out"
    words = ["export", str(run), "--format", "adapter", "--out", str(out), "--push", "team/model"]
    assert main(words) == 2
    err = capsys.readouterr().err
    assert "aihub-117: may not be handed on" in err
    assert "--acknowledge-terms" in err
    assert not out.exists()
    assert main([*words, "--dry-run"]) == 0
    shown = capsys.readouterr().out
    assert "adapter_model.safetensors" in shown
    assert "dry run: these files would go to team/model; nothing was sent" in shown
    assert "--acknowledge-terms must answer for aihub-117" in shown
    assert 'name = "team/model"' in (out / "README.md").read_text(encoding="utf-8")


def test_an_offline_push_says_so_before_any_work(
    base: Make,
    run_folder: MakeRun,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    out = tmp_path / "out"
    words = ["export", str(run_folder(base())), "--format", "adapter", "--push", "team/model"]
    assert main([*words, "--out", str(out)]) == 1
    assert "HF_HUB_OFFLINE is set: nothing was sent" in capsys.readouterr().err
    assert not out.exists()
