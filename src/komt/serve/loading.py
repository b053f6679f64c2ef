"""From a MODEL as a person names it to an engine."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from komt.errors import ModelError, UsageError
from komt.example import Message
from komt.models.place import Place
from komt.models.resolve import resolve
from komt.serve.engine import LoadedEngine

EngineName = Literal["auto", "transformers", "llama.cpp", "vllm"]
_QUESTION = Message("user", "고양이는 왜\n\n물을 싫어하나요? What is 1 + 1?")
_TALKS = (
    (_QUESTION,),
    (Message("system", " 짧게 답하세요. "), _QUESTION, Message("assistant", " 털이 젖어서요. "), _QUESTION),
)
ENGINES: tuple[EngineName, ...] = ("auto", "transformers", "llama.cpp", "vllm")


def load_engine(
    name: str,
    bits: Literal[4, 8, 16, 32] = 16,
    *,
    remote_code: bool = False,
    engine: EngineName = "auto",
    adapters: Mapping[str, str] | None = None,
    slots: int = 0,
    context: int = 0,
    cache_mib: int = 0,
    api_key: str = "",
) -> LoadedEngine:
    """Load a model, or connect to one.

    Args:
        name: catalogue name, hub id, folder (model, adapter or run), GGUF file (`X.gguf`), or the address of
            a program that serves one (`http(s)://…/v1`, with `#NAME` where it serves several).
        bits: how the base's weights are held by transformers.
        remote_code: whether the model's own Python code may run.
        engine: what computes; auto: llama.cpp for a GGUF file, transformers for the rest. With `llama.cpp` a
            folder is converted to a GGUF file (f16) once, under KOMT_HOME/stages.
        adapters: LoRA adapters by name: folders (adapter or run); GGUF files for a GGUF model.
        slots: answers that are computed at a time, 0: the engine's own choice.
        context: the longest prompt and answer together, for llama.cpp and vLLM; 0: their own choice.
        cache_mib: memory for remembered prompts, for transformers and llama.cpp; 0: their own choice.
        api_key: for an address; default KOMT_API_KEY of the environment.

    Raises:
        UsageError: no such model, or an engine that does not take it. ModelError: it cannot be loaded.
        MissingExtra: a package is not installed.
    """
    adapters = dict(adapters or {})
    if engine not in ENGINES:
        raise UsageError(f"no engine '{engine}'", cure=f"one of: {', '.join(ENGINES)}")
    if re.match(r"https?://", name):
        _only(name, engine, "auto")
        if adapters:
            raise UsageError("an address takes no adapters", cure="name one of its models: http://…/v1#NAME")
        from komt.serve.remote_engine import RemoteEngine

        return RemoteEngine(name, api_key=api_key)
    if name.endswith(".gguf"):
        _only(name, engine, "llama.cpp")
        files = {one: _gguf_adapter(one, Path(path)) for one, path in adapters.items()}
        return _llama_cpp(Path(name).expanduser(), files, slots, context, cache_mib)
    place = resolve(name, remote_code=remote_code)
    if engine == "llama.cpp":
        own = {one: _adapter(path) for one, path in adapters.items()}
        return _llama_cpp_of(place, own, slots, context, cache_mib)
    folders = {one: _adapter(path) for one, path in adapters.items()}
    _check_templates(place, folders)
    if engine == "vllm":
        from komt.serve.vllm_engine import VllmEngine

        return VllmEngine(place, name=Path(name).name, adapters=folders, context=context)
    from komt.models.load import load_model, load_tokenizer
    from komt.serve.transformers_engine import DEFAULT_STREAMS, TransformersEngine

    model, tokenizer = load_model(place, bits), load_tokenizer(place)
    return TransformersEngine(
        model, tokenizer, adapters=folders, streams=slots or DEFAULT_STREAMS, cache_bytes=cache_mib << 20
    )


def _only(name: str, engine: str, right: EngineName) -> None:
    if engine not in {"auto", right}:
        what = "an address" if "://" in name else "a GGUF file"
        cure = "leave --engine out" if right == "auto" else f"leave --engine out, or --engine {right}"
        raise UsageError(f"'{name}' is {what}, which the engine {engine} does not take", cure=cure)


def _check_templates(place: Place, adapters: Mapping[str, Path]) -> None:
    """Adapters over one model are asked through its template and tokenizer: theirs must do the same.

    Raises:
        UsageError: one was trained with others.
    """
    from komt.models.load import load_tokenizer

    told = {name: path for name, path in adapters.items() if (path / "tokenizer_config.json").is_file()}
    given = _asked(load_tokenizer(place)) if told else []
    for name, path in told.items():
        if _asked(load_tokenizer(replace(place, adapter=path))) != given:
            raise UsageError(
                f"the adapter '{name}' was trained with another chat template or tokenizer than it would be "
                "asked with here",
                where=str(path),
                cure=f"serve it by itself: komt serve {path}",
            )


def _asked(tokenizer: Any) -> list[Any]:
    """The end token, and what a model is given of some conversations: None where the template refuses one."""
    from komt.models.template import end_token_id
    from komt.pack.encode import prompt_ids

    found: list[Any] = [end_token_id(tokenizer)]
    for talk in _TALKS:
        try:
            found.append(prompt_ids(tokenizer, talk))
        except ModelError:
            found.append(None)
    return found


def _adapter(path: str) -> Path:
    """An adapter's folder; its own base is not looked for, since the model that is given is the base."""
    folder = Path(path).expanduser()
    inside = folder / "train" / "adapter"
    folder = inside if inside.is_dir() else folder
    if not (folder / "adapter_config.json").is_file():
        raise UsageError(
            f"'{path}' is no adapter: it has no adapter_config.json",
            cure="give an adapter's folder, or the folder of a run that trained one",
        )
    return folder.resolve()


def _gguf_adapter(name: str, path: Path) -> Path:
    if path.suffix != ".gguf":
        raise UsageError(
            f"the adapter '{name}' is no GGUF file, as the model is: {path}",
            cure="komt export ADAPTER --format gguf writes one, or give the model as a folder, too",
        )
    return path.expanduser()


def _llama_cpp(
    file: Path, adapters: Mapping[str, Path], slots: int, context: int, cache_mib: int
) -> LoadedEngine:
    from komt.models.llama_cpp import start
    from komt.serve.llama_cpp_engine import LlamaCppEngine

    return LlamaCppEngine(
        start(file, adapters=adapters, slots=slots or 4, context=context, kept_mib=cache_mib)
    )


def _llama_cpp_of(
    place: Place, adapters: Mapping[str, Path], slots: int, context: int, cache_mib: int
) -> LoadedEngine:
    """A folder by llama.cpp: its adapter merged, or, beside other adapters, an adapter as they are."""
    from komt.serve.llama_cpp_engine import OWN_ADAPTER
    from komt.serve.stages import gguf_of, lora_gguf_of

    if not adapters:
        return _llama_cpp(gguf_of(place), {}, slots, context, cache_mib)
    own = {OWN_ADAPTER: place.adapter} if place.adapter else {}
    base = replace(place, adapter=None, kind="base")
    _check_templates(base, {**own, **adapters})
    files = {one: lora_gguf_of(base, folder) for one, folder in {**own, **adapters}.items()}
    return _llama_cpp(gguf_of(base), files, slots, context, cache_mib)
