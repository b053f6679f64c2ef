"""The engine over vLLM: its own server, started as a child process where there is a GPU."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import httpx2

from komt.errors import MissingExtra, ModelError
from komt.example import Message
from komt.models.check import read_json
from komt.models.load import load_tokenizer
from komt.models.place import Place
from komt.serve.remote_engine import RemoteEngine

# vLLM makes room for adapters of one of these ranks.
_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
_START_S = 1800.0
_TAIL_LINES = 15


def command(
    place: Place,
    *,
    port: int,
    name: str,
    adapters: Mapping[str, Path] | None = None,
    template: Path | None = None,
    context: int = 0,
    program: str = "vllm",
) -> list[str]:
    """The command line of `vllm serve` for a model; the key goes by the environment (VLLM_API_KEY).

    Flags: https://docs.vllm.ai/en/stable/configuration/serve_args.html. Sampling defaults are vLLM's own, not
    the model's generation_config.json, so that a request means the same everywhere.

    Args:
        place: of the model; an adapter of its own is served under `name`.
        port: on loopback.
        name: of the model for requests.
        adapters: folders of further adapters, by name.
        template: file with the chat template.
        context: the longest sequence, 0: the model's own.
        program: vLLM's command.
    """
    own = {name: place.adapter} if place.adapter else {}
    modules = {**own, **(adapters or {})}
    words = [program, "serve", str(place.folder), "--host", "127.0.0.1", "--port", str(port)]
    words += ["--served-model-name", f"{name}-base" if place.adapter else name]
    words += ["--allowed-origins", "[]", "--generation-config", "vllm"]
    words += ["--disable-fastapi-docs", "--disable-uvicorn-access-log", "--enable-prefix-caching"]
    if template:
        words += ["--chat-template", str(template)]
    if context:
        words += ["--max-model-len", str(context)]
    if place.remote_code:
        words.append("--trust-remote-code")
    if modules:
        ranks = [_rank(folder) for folder in modules.values()]
        words += ["--enable-lora", "--max-loras", str(len(modules)), "--max-lora-rank", str(_room(ranks))]
        # As JSON, for a path may hold an equals sign or a comma.
        words.append("--lora-modules")
        words += [json.dumps({"name": one, "path": str(folder)}) for one, folder in modules.items()]
    return words


def _rank(adapter: Path) -> int:
    config = read_json(adapter / "adapter_config.json")
    return max([int(config.get("r", 8)), *map(int, (config.get("rank_pattern") or {}).values())])


def _room(ranks: Sequence[int]) -> int:
    wanted = max(ranks)
    fitting = [rank for rank in _RANKS if rank >= wanted]
    if not fitting:
        raise ModelError(
            f"vLLM serves adapters of rank {_RANKS[-1]} at most, and this one has {wanted}",
            cure="merge it: komt export MODEL --format merged --out FOLDER, and serve the folder",
        )
    return fitting[0]


def check_machine() -> str:
    """Path of vLLM's command, where it is installed and a GPU is there.

    Raises:
        ModelError: no GPU. MissingExtra: vLLM is not installed.
    """
    import torch

    if not torch.cuda.is_available():
        raise ModelError(
            "vLLM needs a GPU, and torch sees none here",
            cure="leave --engine out, or on a CPU: --engine llama.cpp",
        )
    found = shutil.which("vllm")
    if not found:
        raise MissingExtra("vLLM is not installed: there is no command 'vllm'", cure="pip install vllm")
    return found


class VllmEngine(RemoteEngine):
    """A model folder served by vLLM in a child process; closing the engine ends it.

    Attributes:
        address: of its API, `http://127.0.0.1:PORT/v1`.
        key: what requests send as `Authorization: Bearer …`.
    """

    takes_ids = True

    def __init__(
        self, place: Place, *, name: str, adapters: Mapping[str, Path] | None = None, context: int = 0
    ) -> None:
        """Start vLLM and wait until it answers, minutes for a large model.

        Raises:
            ModelError: no GPU, or vLLM ends before it answers (with its last lines).
            MissingExtra: vLLM is not installed.
        """
        program = check_machine()
        self._tokenizer = load_tokenizer(place)
        self._folder = tempfile.TemporaryDirectory(prefix="komt-vllm-")
        template = Path(self._folder.name) / "template.jinja"
        template.write_text(self._tokenizer.chat_template, encoding="utf-8")
        port = _free_port()
        words = command(
            place,
            port=port,
            name=name,
            adapters=adapters,
            template=template,
            context=context,
            program=program,
        )
        self.key = secrets.token_urlsafe(32)
        self.address = f"http://127.0.0.1:{port}/v1"
        log = (Path(self._folder.name) / "log").open("w+b")
        environment = {**os.environ, "VLLM_API_KEY": self.key, "VLLM_NO_USAGE_STATS": "1"}
        self._child = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, start_new_session=True
        )
        self._end = weakref.finalize(self, _end, self._child, log, self._folder)
        try:
            wait_until_ready(self._child, f"http://127.0.0.1:{port}/health", log)
            super().__init__(f"{self.address}#{name}", api_key=self.key)
        except BaseException:
            self._end()
            raise

    def prompt_ids(self, messages: Sequence[Message]) -> list[int]:
        """Token ids of a conversation, by the function that training encodes prompts with."""
        from komt.pack.encode import prompt_ids

        return prompt_ids(self._tokenizer, messages)

    def close(self) -> None:
        """End vLLM."""
        super().close()
        self._end()


def wait_until_ready(child: subprocess.Popen[bytes], health: str, log: IO[bytes]) -> None:
    """Wait until a server's child answers at its health address.

    Raises:
        ModelError: it ends before, or does not answer for half an hour.
    """
    until = time.monotonic() + _START_S
    with httpx2.Client(trust_env=False, timeout=5) as client:
        while time.monotonic() < until:
            if (status := child.poll()) is not None:
                raise ModelError(f"vLLM ended with status {status} before it answered:\n{_tail(log)}")
            try:
                if client.get(health).status_code == 200:
                    return
            except httpx2.TransportError:
                pass
            time.sleep(0.2)
    raise ModelError(f"vLLM has not answered for {_START_S / 60:.0f} minutes:\n{_tail(log)}")


def _tail(log: IO[bytes]) -> str:
    log.seek(0)
    lines = log.read().decode("utf-8", "replace").splitlines()
    return "\n".join(f"  {line}" for line in lines[-_TAIL_LINES:])


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _end(child: subprocess.Popen[bytes], log: IO[bytes], folder: Any) -> None:
    if child.poll() is None:
        child.terminate()
        try:
            child.wait(30)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
    log.close()
    folder.cleanup()
