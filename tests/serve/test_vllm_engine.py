"""vLLM's command line, and what is said where it cannot run."""

import json
import subprocess
import sys

import pytest
import torch

from komt.errors import MissingExtra, ModelError
from komt.example import Message
from komt.files import write_json
from komt.models.place import Place
from komt.serve import vllm_engine
from komt.serve.loading import load_engine
from komt.serve.vllm_engine import check_machine, command, wait_until_ready
from komt.testing import tiny_model_folder


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


STAND_IN = """
import json, os, sys
from http.server import BaseHTTPRequestHandler, HTTPServer
words = sys.argv
name = words[words.index("--served-model-name") + 1]
port = int(words[words.index("--port") + 1])
class Answering(BaseHTTPRequestHandler):
    def do_GET(self):
        self.give({"data": [{"id": name}]})
    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        told = self.headers["authorization"] == "Bearer " + os.environ["VLLM_API_KEY"]
        text = f"{told} {asked['model']} {asked.get('prompt') or asked['messages'][0]['content']}"
        self.give({"choices": [{"text": text, "message": {"content": text}, "finish_reason": "length"}]})
    def give(self, value):
        data = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
    def log_message(self, *args): pass
HTTPServer(("127.0.0.1", port), Answering).serve_forever()
"""


def test_the_child_is_started_asked_with_its_key_and_ended(tmp_path, monkeypatch):
    """With a stand-in for vLLM, which runs on GPUs only: what is tested is how the child is kept."""
    folder = tiny_model_folder(tmp_path / "작은")
    program = tmp_path / "vllm"
    program.write_text(f"#!{sys.executable}\n{STAND_IN}", encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setattr(vllm_engine, "check_machine", lambda: str(program))
    engine = load_engine(str(folder), engine="vllm")
    asked = (Message("user", "안녕"),)
    assert [answer.text for answer in engine.answer([asked], max_new_tokens=3)] == ["True 작은 안녕"]
    ids = engine.prompt_ids(asked)
    assert engine.generate([ids], max_new_tokens=3)[0].text == f"True 작은 {ids}"
    assert engine.loglikelihood is None
    child = engine._child
    engine.close()
    engine.close()
    assert child.poll() is not None
    with pytest.raises(ModelError, match=r"broke off|nothing answers"):
        engine.answer([asked], max_new_tokens=3)
