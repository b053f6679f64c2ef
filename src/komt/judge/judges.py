"""From a MODEL as a person names it to a way to ask it, and to a name that changes when the model does."""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

from komt.encodings import missing_file
from komt.errors import ModelError
from komt.judge.ask import Transport
from komt.judge.call import Call, Reply
from komt.judge.in_process import EngineTransport
from komt.judge.over_http import HttpTransport
from komt.models.resolve import resolve
from komt.serve.engine import LoadedEngine, SubmittingEngine
from komt.serve.loading import EngineName, load_engine

_SAMPLES, _SAMPLE_BYTES = 64, 1 << 18
_HTTP_AT_ONCE = 32


@dataclass(frozen=True)
class Opening:
    """How a model is opened to be asked.

    Attributes:
        model: catalogue name, hub id, folder, `.gguf` file, or `http(s)://…/v1` (`#NAME`: one of several).
        engine: what computes.
        bits: how transformers holds the base's weights.
        context: tokens of prompt and reply, for llama.cpp and vLLM; 0: what fits.
        at_once: replies that are computed at a time; 0: as the engine likes.
        api_key: for an address.
        timeout_s: the longest that a reply of an address may take.
        remote_code: whether the model's own Python code may run.
    """

    model: str
    engine: EngineName = "auto"
    bits: Literal[4, 8, 16, 32] = 16
    context: int = 0
    at_once: int = 0
    api_key: str = ""
    timeout_s: float = 600.0
    remote_code: bool = False

    @property
    def is_address(self) -> bool:
        """Whether the model is elsewhere."""
        return re.match(r"https?://", self.model) is not None


def identity(opening: Opening) -> str:
    """What a model is called in the ledger: never the same for two models that answer differently.

    An address counts with the model's name there, a folder or a file with a hash of what is in it; engine and
    precision count, too.

    Raises:
        UsageError, ModelError: no such model.
    """
    if opening.is_address:
        address, _, name = opening.model.partition("#")
        if name:
            return f"{address.rstrip('/')}#{name}"
        engine = load_engine(opening.model, api_key=opening.api_key)
        engine.close()
        return f"{address.rstrip('/')}#{getattr(engine, 'model', '')}"
    if opening.model.endswith(".gguf"):
        path = Path(opening.model).expanduser()
        return f"{path.name}@{_file_revision(path)[:16]} by llama.cpp"
    place = resolve(opening.model, remote_code=opening.remote_code)
    name = Path(opening.model).name if Path(opening.model).expanduser().exists() else opening.model
    by = "transformers" if opening.engine == "auto" else opening.engine
    precision = f", {opening.bits} bit" if by == "transformers" else ""
    return f"{name}@{place.revision[:16]} by {by}{precision}"


def _file_revision(path: Path) -> str:
    """Hash of a file's size and of parts from all over it: a judge may have hundreds of gigabytes."""
    missing_file(path)
    size = path.stat().st_size
    digest = hashlib.sha256(str(size).encode())
    with path.open("rb") as file:
        for number in range(_SAMPLES):
            file.seek(max(0, size - _SAMPLE_BYTES) * number // (_SAMPLES - 1))
            digest.update(file.read(_SAMPLE_BYTES))
    return digest.hexdigest()


def open_transport(opening: Opening, judge: str) -> Transport:
    """Load a model, or connect to one.

    Args:
        opening: which and how.
        judge: its `identity`.

    Raises:
        UsageError, ModelError: no such model, or it cannot be loaded. MissingExtra: a package is missing.
    """
    if opening.is_address:
        address, _, name = judge.partition("#")
        return _http(address, name, judge, opening)
    engine = load_engine(
        opening.model,
        opening.bits,
        remote_code=opening.remote_code,
        engine=opening.engine,
        slots=opening.at_once,
        context=opening.context,
    )
    try:
        return _over(engine, judge, opening)
    except BaseException:
        engine.close()
        raise


def _http(address: str, name: str, judge: str, opening: Opening) -> HttpTransport:
    key = opening.api_key or os.environ.get("KOMT_API_KEY", "")
    most = opening.at_once or _HTTP_AT_ONCE
    return HttpTransport(address, name, judge=judge, api_key=key, at_once=most, timeout_s=opening.timeout_s)


def _over(engine: LoadedEngine, judge: str, opening: Opening) -> Transport:
    from komt.serve.llama_cpp_engine import LlamaCppEngine
    from komt.serve.vllm_engine import VllmEngine

    if isinstance(engine, LlamaCppEngine):
        server, slots = engine.server, int(engine.server.get("/props")["total_slots"])
        # Its server closes connections that are used again; min_p would draw otherwise than other engines do.
        inner = HttpTransport(
            f"{server.address}/v1",
            "",
            judge=judge,
            api_key=server.key,
            at_once=slots,
            timeout_s=opening.timeout_s,
            keep=False,
            more={"min_p": 0.0},
        )
        return _Owning(inner, engine)
    if isinstance(engine, VllmEngine):
        key, name = engine.key, Path(opening.model).name
        timeout_s = opening.timeout_s
        inner = HttpTransport(
            engine.address, name, judge=judge, api_key=key, at_once=256, timeout_s=timeout_s
        )
        return _Owning(inner, engine)
    if not hasattr(engine, "submit"):
        raise ModelError(f"the engine of '{opening.model}' cannot be asked by a judge's run")
    from komt.serve.transformers_engine import DEFAULT_STREAMS

    return EngineTransport(cast(SubmittingEngine, engine), judge, opening.at_once or DEFAULT_STREAMS)


class _Owning:
    """Requests to a server that lives in this process, or below it, and ends with the requests."""

    def __init__(self, inner: HttpTransport, engine: LoadedEngine) -> None:
        self.judge, self.at_once = inner.judge, inner.at_once
        self._inner, self._engine = inner, engine

    async def ask(self, call: Call) -> Reply:
        return await self._inner.ask(call)

    async def close(self) -> None:
        await self._inner.close()
        self._engine.close()


def shown_name(opening: Opening, judge: str) -> str:
    """What people call a model: its name at an address, the last part of a path, else as it is."""
    if opening.is_address:
        return judge.partition("#")[2] or opening.model
    path = Path(opening.model).expanduser()
    return path.resolve().name if path.exists() else opening.model
