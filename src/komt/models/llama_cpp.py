"""llama.cpp inside this process: its own HTTP server on loopback, by the wheel `xllamacpp`."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import re
import secrets
import signal
import sys
import tempfile
import time
import weakref
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx2

from komt.errors import ModelError, need
from komt.models.gguf_header import GgufHeader, read_header
from komt.process import cores, spinning_threads

# Keys and values of all slots together take about this much where the caller names no context.
_CACHE_BYTES = 2 << 30
_LEAST_CONTEXT_TOKENS = 4096
# Prompts of conversations whose slot went to others are kept in memory, up to this size.
_KEPT_PROMPTS_MIB = 512
# Beside one for each slot. An open connection holds one, whether it waits, streams or idles, and each keeps
# some memory from its first request on.
_HTTP_THREADS = 32
_FAULT = re.compile(r"(?:error loading model: |failed to \w+ (?:lora )?adapter|lora[^:]*: |failed)(.*)")


class LlamaServer:
    """A running server of llama.cpp: its own routes (`/completion`, `/tokenize`, `/props`, …) and `/v1/…`.

    Attributes:
        address: `http://127.0.0.1:PORT`.
        key: what requests send as `Authorization: Bearer …`; made anew for each server.
        adapters: names of the LoRA adapters, in llama.cpp's numbering; the first one is on by default.
        context_tokens: what one slot holds, prompt and answer together.
        slots: how many requests it computes at the same time.
    """

    def __init__(
        self, server: Any, key: str, adapters: tuple[str, ...], context_tokens: int, slots: int
    ) -> None:
        self.address, self.key, self.adapters = str(server.listening_address), key, adapters
        self.context_tokens, self.slots = context_tokens, slots
        self._client = httpx2.Client(
            base_url=self.address,
            headers={"Authorization": f"Bearer {key}"},
            timeout=httpx2.Timeout(None, connect=10),
            # It closes a connection after a stream: none is used twice.
            limits=httpx2.Limits(max_connections=None, max_keepalive_connections=0),
            trust_env=False,  # no proxy between a process and itself
        )
        held = [server]
        del server
        self._free = weakref.finalize(self, _free, self._client, held)

    def get(self, route: str) -> Any:
        """JSON that a route gives.

        Raises:
            ModelError: the server refuses, or is closed.
        """
        return self._ask("GET", route, None)

    def post(self, route: str, body: Mapping[str, Any]) -> Any:
        """JSON that a route answers to JSON; errors as `get`."""
        return self._ask("POST", route, body)

    def stream(self, route: str, body: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """Events of a streamed answer (`stream: true` is added); closing the iterator frees the slot.

        Raises:
            ModelError: the server refuses, breaks off with an error, or is closed.
        """
        try:
            with self._client.stream("POST", route, json={**body, "stream": True}) as response:
                if response.status_code != 200:
                    response.read()
                    raise _refusal(response)
                for line in response.iter_lines():
                    if line.startswith("data: {"):
                        event = json.loads(line[6:])
                        if "error" in event:
                            raise _fault(event["error"])
                        yield event
        except (httpx2.TransportError, httpx2.StreamError, RuntimeError) as error:
            raise _gone(error) from error

    def lora(self, name: str | None) -> list[dict[str, Any]]:
        """The `lora` field of a request for one adapter: None is the first, "" the bare base.

        Raises:
            ModelError: no adapter of that name.
        """
        if name is None:
            name = self.adapters[0] if self.adapters else ""
        if name and name not in self.adapters:
            known = ", ".join(self.adapters) or "none"
            raise ModelError(f"no adapter '{name}'", cure=f"adapters here: {known}")
        return [{"id": i, "scale": float(own == name)} for i, own in enumerate(self.adapters)]

    def close(self) -> None:
        """Stop the server; its port, threads and memory are free afterwards."""
        self._free()

    def __enter__(self) -> LlamaServer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _ask(self, method: str, route: str, body: Mapping[str, Any] | None) -> Any:
        try:
            response = self._client.request(method, route, json=body)
        except (httpx2.TransportError, RuntimeError) as error:
            raise _gone(error) from error
        if response.status_code != 200:
            raise _refusal(response)
        return response.json()


def start(
    path: Path,
    *,
    adapters: Mapping[str, Path] | None = None,
    context: int = 0,
    slots: int = 1,
    threads: int = 0,
    kept_mib: int = 0,
    embeddings: bool = False,
    page: bool = False,
) -> LlamaServer:
    """Load a GGUF model and serve it on a free port of loopback: with a random key, without CORS, silently.

    Args:
        path: the GGUF file.
        adapters: LoRA adapters (GGUF files) by name; the first one is on unless a request says otherwise.
        context: tokens of one slot, prompt and answer together; 0: as many as the model was trained with, or
            as the caches of all slots hold in 2 GiB, at least 4,096 each.
        slots: how many requests are computed at the same time; others wait.
        threads: to compute with; 0: one for each core.
        kept_mib: memory for prompts whose slot went to others; 0: 512 MiB. With adapters none are kept.
        embeddings: serve embeddings instead of texts.
        page: llama.cpp's own page at `/`.

    Raises:
        MissingExtra: the package xllamacpp is not installed.
        ModelError: a file is missing, no GGUF, cut off, or of an architecture that llama.cpp does not know.
    """
    adapters = dict(adapters or {})
    header = read_header(path)
    _check_kind(path, header, "model")
    for file in adapters.values():
        _check_kind(file, read_header(file), "adapter")
    slots = max(slots, 1)
    each = context or _context_of(header, slots)
    key = secrets.token_urlsafe(32)

    def parameters(verbosity: int) -> Any:
        params = _parameters(path, adapters, each * slots, slots, threads or cores())
        params.api_keys, params.verbosity = [key], verbosity
        params.embedding, params.ui = embeddings, page
        # llama.cpp finds kept prompts by their tokens alone: those of another adapter would be taken.
        params.cache_ram_mib = 0 if adapters else kept_mib or _KEPT_PROMPTS_MIB
        return params

    with spinning_threads():
        library = need("xllamacpp", "serve")
    try:
        with _signals_kept():
            server = library.Server(parameters(-1))
    except RuntimeError:
        # llama.cpp says why only on the error stream: the load is tried again, and heard.
        said = _listen(lambda: library.Server(parameters(1)))
        raise _explain(path, adapters, said) from None
    return LlamaServer(server, key, tuple(adapters), min(each, header.context_tokens or each), slots)


def _parameters(path: Path, adapters: Mapping[str, Path], context: int, slots: int, threads: int) -> Any:
    library = need("xllamacpp", "serve")
    params = library.CommonParams()
    params.model.path = str(path)
    params.model_alias = {path.stem}  # answers would name the path otherwise
    params.hostnames, params.port = ["127.0.0.1"], 0
    params.cors_origins, params.cors_credentials, params.cors_origins_explicit = "", False, True
    params.n_ctx, params.n_parallel = context, slots
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
    params.n_threads_http = slots + _HTTP_THREADS
    params.endpoint_slots, params.endpoint_props, params.endpoint_metrics = False, False, True
    params.fit_params, params.offline = False, True
    params.prefill_assistant = False  # what it would go on with is a closed turn everywhere else
    params.lora_adapters = [
        library.CommonAdapterLoraInfo(str(file), float(place == 0))
        for place, file in enumerate(adapters.values())
    ]
    return params


def _check_kind(path: Path, header: GgufHeader, kind: str) -> None:
    if header.kind != kind and "adapter" in {kind, header.kind}:
        article = {"adapter": "a LoRA adapter", "model": "a whole model"}.get(header.kind, header.kind)
        raise ModelError(
            f"the GGUF file is {article}, and {'an adapter' if kind == 'adapter' else 'a model'} is wanted",
            where=str(path),
            cure="give the base model's file as the model, and the adapter's file as its adapter",
        )


def _context_of(header: GgufHeader, slots: int) -> int:
    affordable = _CACHE_BYTES // slots // max(header.cache_bytes, 1)
    return min(header.context_tokens or _LEAST_CONTEXT_TOKENS, max(affordable, _LEAST_CONTEXT_TOKENS))


@contextlib.contextmanager
def _signals_kept() -> Iterator[None]:
    """llama.cpp takes SIGINT and SIGTERM for itself; in the end they belong to whom they belonged before."""
    if os.name != "posix":
        yield
        return
    libc = ctypes.CDLL(None)
    kept = {number: ctypes.create_string_buffer(512) for number in (signal.SIGINT, signal.SIGTERM)}
    for number, action in kept.items():
        libc.sigaction(int(number), None, action)
    try:
        yield
    finally:
        for number, action in kept.items():
            libc.sigaction(int(number), action, None)


def _listen(work: Any) -> str:
    """What a failing load writes to the process's error stream, which is led into a file meanwhile."""
    sys.stderr.flush()
    with tempfile.TemporaryFile() as file:
        before = os.dup(2)
        os.dup2(file.fileno(), 2)
        try:
            with _signals_kept(), contextlib.suppress(RuntimeError):
                work()
            # Its log is written by a thread of its own.
            until = time.monotonic() + 1
            while time.monotonic() < until and not _FAULT.search(_read(file)):
                time.sleep(0.01)
        finally:
            sys.stderr.flush()
            os.dup2(before, 2)
            os.close(before)
        return _read(file)


def _read(file: Any) -> str:
    size = os.fstat(file.fileno()).st_size
    return os.pread(file.fileno(), size, 0).decode("utf-8", "replace")


def _explain(path: Path, adapters: Mapping[str, Path], said: str) -> ModelError:
    lines = [re.sub(r"\x1b\[[0-9;]*m", "", line).strip() for line in said.splitlines()]
    if unknown := re.search(r"unknown (?:model )?architecture: '([^']*)'", said):
        return ModelError(
            f"llama.cpp does not know the architecture '{unknown[1]}'",
            where=str(path),
            cure="pip install --upgrade xllamacpp, or give the model's folder, which transformers runs",
        )
    faults = [line for line in lines if _FAULT.search(line)] or lines
    what = re.sub(r"^(?:[\d.]+ )?[EW] ", "", faults[0]) if faults and faults[0] else "it does not say why"
    files = [path, *adapters.values()]
    return ModelError(
        f"llama.cpp cannot load the model: {what}",
        where=", ".join(map(str, files)),
        cure="copy or fetch the files again; an adapter must have been made for this very model",
    )


def _free(client: httpx2.Client, held: list[Any]) -> None:
    client.close()
    held.clear()  # the last reference: llama.cpp stops its loop and frees the model


def _gone(error: Exception) -> ModelError:
    return ModelError(f"llama.cpp's server no longer answers: {error}", cure="start it again")


def _refusal(response: httpx2.Response) -> ModelError:
    try:
        return _fault(response.json()["error"])
    except (ValueError, KeyError, TypeError):
        return ModelError(f"llama.cpp's server answers with HTTP status {response.status_code}")


def _fault(error: Any) -> ModelError:
    said = error.get("message", error) if isinstance(error, dict) else error
    return ModelError(f"llama.cpp refuses: {said}")
