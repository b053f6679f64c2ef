"""What a person calls a model, to folders; every wrong one gets a sentence that helps."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from komt.errors import ModelError, UsageError
from komt.example import Message
from komt.files import write_json
from komt.models.adapt import attach_lora, save_adapter
from komt.models.load import load_model, load_tokenizer
from komt.models.resolve import Place, resolve
from komt.models.template import KOMT_TEMPLATE, render
from komt.recipe import LoraPart
from komt.testing import tiny_model_folder


def refusal(name: str | Path) -> str:
    with pytest.raises((ModelError, UsageError)) as caught:
        resolve(str(name))
    return str(caught.value)


def save_tiny_adapter(base: Path, adapter: Path) -> Path:
    place = resolve(str(base))
    model = attach_lora(load_model(place, 32), LoraPart(r=2), seed=0)
    save_adapter(model, load_tokenizer(place), place, adapter)
    return adapter


def test_a_model_folder(folder: Path) -> None:
    place = resolve(str(folder))
    assert place == Place(str(folder), "base", folder, None, "", base=str(folder))


def test_a_relative_folder_becomes_absolute(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder.parent)
    assert resolve("tiny").folder == folder


def test_revision_follows_the_weights_and_nothing_else(folder: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(folder, tmp_path / "copy")
    write_json(copy / "komt.json", {"licence": "MIT"})
    assert resolve(str(copy)).revision == resolve(str(folder)).revision
    other = tiny_model_folder(tmp_path / "other", "llama", seed=1)
    assert resolve(str(other)).revision != resolve(str(folder)).revision


def test_an_adapter_and_the_runs_that_hold_it(folder: Path, tmp_path: Path) -> None:
    run = tmp_path / "runs" / "one"
    adapter = save_tiny_adapter(folder, run / "train" / "adapter")
    for name in (adapter, run):
        place = resolve(str(name))
        assert (place.kind, place.folder, place.adapter) == ("adapter", folder, adapter)
        assert place.base == str(folder)
        assert place.revision != resolve(str(folder)).revision == place.base_revision


def test_a_run_that_trained_a_whole_model(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "run" / "train" / "model")
    assert resolve(str(tmp_path / "run")).folder == tmp_path / "run" / "train" / "model"


def test_an_adapter_made_elsewhere_names_its_base_itself(folder: Path, tmp_path: Path) -> None:
    adapter = save_tiny_adapter(folder, tmp_path / "adapter")
    (adapter / "komt.json").unlink()
    assert resolve(str(adapter)).folder == folder


def test_komt_json_goes_before_the_path_that_peft_knows(folder: Path, tmp_path: Path) -> None:
    adapter = save_tiny_adapter(folder, tmp_path / "adapter")
    moved = folder.rename(tmp_path / "moved")
    message = refusal(adapter)
    assert f"the adapter's base model '{folder}' is not to be had" in message
    assert f"{adapter}/komt.json, base" in message
    write_json(adapter / "komt.json", {"base": str(moved)})
    assert resolve(str(adapter)).folder == moved


def test_a_published_model_is_asked_in_its_own_form_by_its_hub_id_too(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("komt.models.resolve.fetch", lambda *_: folder)
    by_name, by_id = resolve("komt-llama2-7b-v1"), resolve("davidkim205/komt-llama2-7b-v1")
    prompt = render(load_tokenizer(by_id), (Message("user", "무엇?"),), answering=True)
    assert prompt == "<bos>### instruction: 무엇?\n\n### Response:"
    assert by_id.template == by_name.template
    assert resolve("someone/else").template == ""


def test_an_adapter_without_a_template_is_asked_in_the_form_of_its_base(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    adapter = save_tiny_adapter(folder, tmp_path / "adapter")
    (adapter / "chat_template.jinja").unlink()
    (folder / "chat_template.jinja").write_text("{{ messages[0].content }}?<eos>")
    assert load_tokenizer(resolve(str(adapter))).chat_template == "{{ messages[0].content }}?<eos>"
    monkeypatch.setattr("komt.models.resolve.fetch", lambda *_: folder)
    write_json(adapter / "komt.json", {"base": "davidkim205/komt-llama2-7b-v1"})
    tokenizer = load_tokenizer(resolve(str(adapter)))
    assert tokenizer.chat_template == resolve("komt-llama2-7b-v1").template


def test_of_several_templates_the_one_for_talks_is_taken(folder: Path) -> None:
    more = folder / "additional_chat_templates"
    more.mkdir()
    (more / "tool_use.jinja").write_text("tools")
    assert load_tokenizer(resolve(str(folder))).chat_template == KOMT_TEMPLATE


def test_a_licence_comes_from_komt_json_or_the_model_card(folder: Path) -> None:
    (folder / "README.md").write_text("---\nlicense: other\nlicense_name: gemma\n---\n# A model\n")
    assert resolve(str(folder)).licence == "gemma"
    write_json(folder / "komt.json", {"licence": "CC0"})
    assert resolve(str(folder)).licence == "CC0"


def test_an_unknown_name_suggests_a_known_one() -> None:
    message = refusal("gemma3-270m")
    assert "no model 'gemma3-270m'; did you mean 'gemma-3-270m'?" in message
    assert "hub id" in message


def test_a_missing_folder_is_no_hub_id(tmp_path: Path) -> None:
    assert f"no model '{tmp_path}/none'" in refusal(tmp_path / "none")
    assert "no model './none/here'" in refusal("./none/here")


@pytest.mark.parametrize("name", ["some.gguf", "http://localhost:8000/v1"])
def test_forms_that_are_not_taken(name: str) -> None:
    assert "a model is a catalogue name (gemma-3-270m" in refusal(name)


def test_a_file_is_answered_with_its_folder(folder: Path) -> None:
    assert f"give its folder: {folder}" in refusal(folder / "model.safetensors")


def test_an_empty_folder(tmp_path: Path) -> None:
    assert "the folder is empty" in refusal(tmp_path)


def test_a_folder_of_other_things(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    message = refusal(tmp_path)
    assert "no config.json" in message
    assert "to mend it: give the folder with config.json" in message


def test_a_run_without_training(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text("name: x\n")
    message = refusal(tmp_path)
    assert "no trained model yet" in message
    assert f"komt train {tmp_path}/recipe.yaml" in message


def test_no_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    assert "no weights: there is no model.safetensors" in refusal(folder)


def test_no_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()
    assert "no tokenizer" in refusal(folder)


def test_pickles_are_refused_with_the_command_that_converts_them(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    torch.save({}, folder / "pytorch_model.bin")
    message = refusal(folder)
    assert "Python pickles (pytorch_model.bin), which can run any code" in message
    assert f"f, g = '{folder}', '{folder}-safetensors'" in message


def test_a_pickled_adapter_is_refused(folder: Path, tmp_path: Path) -> None:
    adapter = save_tiny_adapter(folder, tmp_path / "adapter")
    (adapter / "adapter_model.safetensors").rename(adapter / "adapter_model.bin")
    assert "save_file(torch.load(" in refusal(adapter)


def test_a_broken_config_names_file_and_line(folder: Path) -> None:
    (folder / "config.json").write_text('{\n "a": 1,\n "b"\n}')
    assert f"{folder / 'config.json'}, line 4" in refusal(folder)


def test_truncated_weights_name_the_file_and_the_bytes(folder: Path) -> None:
    file = folder / "model.safetensors"
    data = file.read_bytes()
    file.write_bytes(data[:-100])
    message = refusal(folder)
    assert f"the weights are cut off: {len(data) - 100:,} bytes of {len(data):,}" in message
    assert str(file) in message
    for length in (0, 5, 100):
        file.write_bytes(data[:length])
        assert "not a whole safetensors file" in refusal(folder)


@pytest.mark.parametrize("header", ["[]", "3", '{"a": 1}', '{"a": {"data_offsets": [0, "x"]}}', "[" * 9999])
def test_weights_with_a_broken_head_are_told(folder: Path, header: str) -> None:
    (folder / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header.encode())
    assert "not a whole safetensors file" in refusal(folder)


def test_a_missing_shard_is_named(folder: Path) -> None:
    index = {"weight_map": {"a": "model.safetensors", "b": "model-2.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    assert "a file of the weights is missing: model-2.safetensors" in refusal(folder)


def test_an_adapter_on_an_adapter_is_refused(folder: Path, tmp_path: Path) -> None:
    first = save_tiny_adapter(folder, tmp_path / "first")
    second = shutil.copytree(first, tmp_path / "second")
    write_json(second / "komt.json", {"base": str(first)})
    assert "is itself an adapter" in refusal(second)
