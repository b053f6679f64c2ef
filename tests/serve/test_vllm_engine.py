"""vLLM's command line, and what is said where it cannot run."""

import json
import subprocess
import sys

import pytest
import torch

from komt.errors import MissingExtra, ModelError
from komt.files import write_json
from komt.models.place import Place
from komt.serve import vllm_engine
from komt.serve.vllm_engine import check_machine, command, wait_until_ready


def place_of(tmp_path, adapter=None, **options) -> Place:
    return Place("m", "adapter" if adapter else "base", tmp_path / "base", adapter, "", **options)


def new_adapter(folder, **config):
    folder.mkdir()
    write_json(folder / "adapter_config.json", {"peft_type": "LORA", **config})
    return folder


def test_a_model_is_served_on_loopback_without_cors(tmp_path):
    words = command(place_of(tmp_path), port=4321, name="m", template=tmp_path / "t.jinja", context=2048)
    assert words == [
        *("vllm", "serve", str(tmp_path / "base"), "--host", "127.0.0.1", "--port", "4321"),
        *("--served-model-name", "m", "--allowed-origins", "[]", "--generation-config", "vllm"),
        *("--disable-fastapi-docs", "--disable-uvicorn-access-log", "--enable-prefix-caching"),
        *("--chat-template", str(tmp_path / "t.jinja"), "--max-model-len", "2048"),
    ]
    assert "--trust-remote-code" in command(place_of(tmp_path, remote_code=True), port=1, name="m")


def test_adapters_are_served_by_name_with_room_for_their_rank(tmp_path):
    own = new_adapter(tmp_path / "a", r=8)
    other = new_adapter(tmp_path / "b=c,d", r=16, rank_pattern={"q_proj": 40})
    words = command(place_of(tmp_path, own), port=1, name="m", adapters={"둘": other})
    at = words.index("--enable-lora")
    assert words[at : at + 6] == [
        "--enable-lora",
        "--max-loras",
        "2",
        "--max-lora-rank",
        "64",
        "--lora-modules",
    ]
    assert [json.loads(word) for word in words[at + 6 :]] == [
        {"name": "m", "path": str(own)},
        {"name": "둘", "path": str(other)},
    ]
    assert words[words.index("--served-model-name") + 1] == "m-base"
    with pytest.raises(ModelError, match="rank 512 at most, and this one has 513"):
        command(place_of(tmp_path, new_adapter(tmp_path / "big", r=513)), port=1, name="m")


def test_a_machine_without_a_gpu_or_without_vllm_is_told(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ModelError, match="needs a GPU"):
        check_machine()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(vllm_engine.shutil, "which", lambda name: None)
    with pytest.raises(MissingExtra, match="not installed") as caught:
        check_machine()
    assert caught.value.cure == "pip install vllm"


def test_a_server_that_ends_before_it_answers_shows_its_last_lines(tmp_path):
    log = (tmp_path / "log").open("w+b")
    script = "print('loading'); print('no kernel image'); raise SystemExit(3)"
    child = subprocess.Popen([sys.executable, "-c", script], stdout=log, stderr=log)
    with pytest.raises(ModelError, match=r"(?s)ended with status 3 .*no kernel image"):
        wait_until_ready(child, "http://127.0.0.1:9/health", log)
    log.close()
