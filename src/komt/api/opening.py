"""From MODEL and NAME=ADAPTER, as a person writes them, to a backend."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import httpx2

from komt.api.backend import Backend
from komt.api.local import Local
from komt.api.passthrough import PassThrough
from komt.errors import ModelError, UsageError, did_you_mean
from komt.korean import nfc
from komt.models.catalog import CATALOG
from komt.models.resolve import resolve
from komt.serve.engine import Settings

if TYPE_CHECKING:
    from komt.serve.llama_cpp_engine import LlamaCppEngine
    from komt.serve.vllm_engine import VllmEngine

EngineName = Literal["auto", "transformers", "llama.cpp", "vllm"]
# What an answer may hold where a request names no limit.
DEFAULT_MAX_TOKENS = 2048
_SLOTS = {"llama.cpp": 4, "vllm": 256, "http": 256}
# The steps that transformers takes, in its order: the same model answers the same everywhere.
_LLAMA_CPP = {"samplers": ["penalties", "temperature", "top_k", "top_p"], "min_p": 0.0}


@dataclass(frozen=True)
class Opening:
    """How a model is opened for serving.

    Attributes:
        engine: what computes; auto: llama.cpp for a GGUF file, else transformers.
        name: what requests call the model; "": its own name.
        slots: how many answers are computed at the same time; 0: as the engine likes.
        context: tokens of a prompt and its answer; 0: as the model and the memory allow.
        max_tokens: of an answer whose request names no limit.
        bits: how transformers holds the base's weights.
        remote_code: whether the model's own Python code may run.
        cache_mib: memory for prompts that are remembered, for transformers and llama.cpp; 0: as they like.
    """

    engine: EngineName = "auto"
    name: str = ""
    slots: int = 0
    context: int = 0
    max_tokens: int = DEFAULT_MAX_TOKENS
    bits: Literal[4, 8, 16, 32] = 16
    remote_code: bool = False
    cache_mib: int = 0

    @property
    def settings(self) -> Settings:
        """How an answer is sampled where its request does not say."""
        return Settings(max_new_tokens=self.max_tokens)


def open_backend(model: str, adapters: Mapping[str, str], opening: Opening) -> Backend:
    """Load a model, or connect to one.

    Args:
        model: catalogue name, hub id, folder, `.gguf` file, or `http(s)://…/v1` (with `#NAME` for one of
            the models there).
        adapters: further adapters over the same base, by name.
        opening: with what, and how.

    Raises:
        UsageError: no such model, or an engine that cannot take it; two models of one name.
        ModelError: it cannot be loaded, or does not answer.
    """
    if model.startswith(("http://", "https://")):
        return _open_remote(model, adapters, opening)
    from komt.serve.llama_cpp_engine import LlamaCppEngine
    from komt.serve.loading import load_engine
    from komt.serve.vllm_engine import VllmEngine

    names = _names(model, adapters, opening)
    slots = opening.slots or _SLOTS.get(opening.engine, 0)
    if model.endswith(".gguf"):
        slots = slots or _SLOTS["llama.cpp"]
    engine = load_engine(
        model,
        opening.bits,
        remote_code=opening.remote_code,
        engine=opening.engine,
        adapters=adapters,
        slots=slots,
        context=opening.context,
        cache_mib=opening.cache_mib,
    )
    try:
        if isinstance(engine, LlamaCppEngine):
            return over_llama_cpp(engine, names, slots, opening)
        if isinstance(engine, VllmEngine):
            return _over_vllm(engine, Path(model).name, names, slots, opening)
    except BaseException:
        engine.close()
        raise
    from komt.serve.transformers_engine import DEFAULT_STREAMS, TransformersEngine

    assert isinstance(engine, TransformersEngine)
    return Local(engine, names, slots or DEFAULT_STREAMS, opening.settings)


def short_name(model: str) -> str:
    """What a model is called in requests: a catalogue name or hub id as it is, of a path the last part.

    In NFC, as requests are read: macOS takes the names of files apart into jamo.
    """
    if model in CATALOG:
        return model
    path = Path(model).expanduser()
    if path.exists():
        path = path.resolve()
        return str(nfc(path.stem if path.suffix == ".gguf" else path.name))
    return model


def _names(model: str, adapters: Mapping[str, str], opening: Opening) -> dict[str, str | None]:
    """The adapter behind each name: the model's own (None), none for its base (""), and those by name."""
    name = str(nfc(opening.name)) or short_name(model)
    names: dict[str, str | None] = {name: None}
    if not model.endswith(".gguf"):
        place = resolve(model, remote_code=opening.remote_code)
        if place.adapter and not (opening.engine == "llama.cpp" and not adapters):
            base = short_name(place.base or str(place.folder))
            names[base if base != name else f"{base}-base"] = ""
    for own in adapters:
        if nfc(own) in names:
            raise UsageError(
                f"two models are called '{own}'", cure="choose another NAME, or name the model with --name"
            )
        names[nfc(own)] = own
    return names


def over_llama_cpp(
    engine: LlamaCppEngine, names: Mapping[str, str | None], slots: int, opening: Opening
) -> PassThrough:
    """The backend over llama.cpp's server.

    Args:
        engine: the open engine; the backend closes it.
        names: the adapter behind each name; None for the model's own, "" for its base.
        slots: as many as the server was started with.
        opening: its settings hold where a request does not say.
    """
    from komt.serve.llama_cpp_engine import OWN_ADAPTER

    server = engine.server
    # Without an adapter of its own the model is the bare base, whatever llama.cpp would have by default.
    own = OWN_ADAPTER if OWN_ADAPTER in server.adapters else ""
    lora = {name: server.lora(own if adapter is None else adapter) for name, adapter in names.items()}
    return PassThrough(
        "llama.cpp",
        server.address,
        {name: {"lora": entry} if entry else {} for name, entry in lora.items()},
        # So that a slot has its next request the moment it is free.
        slots + 2,
        key=server.key,
        defaults=opening.settings,
        extras=_LLAMA_CPP,
        tools=bool(server.get("/props").get("chat_template_caps", {}).get("supports_tools")),
        on_close=engine.close,
    )


def _over_vllm(
    engine: VllmEngine, own: str, names: Mapping[str, str | None], slots: int, opening: Opening
) -> PassThrough:
    there = {None: own, "": f"{own}-base"}
    return PassThrough(
        "vllm",
        engine.address.removesuffix("/v1"),
        {name: {"model": there.get(adapter, adapter)} for name, adapter in names.items()},
        slots,
        key=engine.key,
        defaults=opening.settings,
        on_close=engine.close,
    )


def _open_remote(model: str, adapters: Mapping[str, str], opening: Opening) -> PassThrough:
    if adapters:
        raise UsageError("a model behind an address has its own adapters", cure="leave NAME=ADAPTER out")
    if opening.engine != "auto":
        raise UsageError("a model behind an address has its own engine", cure="leave --engine out")
    address, _, wanted = model.partition("#")
    address = address.rstrip("/").removesuffix("/v1")
    key = os.environ.get("KOMT_UPSTREAM_KEY", "")
    try:
        response = httpx2.get(
            f"{address}/v1/models",
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=10,
            trust_env=False,  # as requests go later: by no proxy
        )
        response.raise_for_status()
        names = [str(entry["id"]) for entry in response.json()["data"]]
    except (httpx2.HTTPError, httpx2.InvalidURL, ValueError, KeyError, TypeError) as error:
        raise ModelError(
            f"no model answers there: {str(error) or type(error).__name__}",
            where=f"{address}/v1/models",
            cure="start that server, and set KOMT_UPSTREAM_KEY when it wants a key",
        ) from error
    if wanted and wanted not in names:
        raise UsageError(f"no model '{wanted}' there{did_you_mean(wanted, names)}")
    chosen = [wanted] if wanted else names
    alone = opening.name if len(chosen) == 1 else ""
    models = {str(nfc(alone or name)): {"model": name} for name in chosen}
    return PassThrough("http", address, models, opening.slots or _SLOTS["http"], key=key)
