"""Two servers over the same tiny weights: llama.cpp's behind the guard, and komt's own engine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from api_client import Client
from polite import polite_model

from komt.api.app import running
from komt.api.opening import Opening
from komt.testing import lively, tiny_gguf, tiny_model, tiny_model_folder, tiny_tokenizer, write_gguf

# Little is remembered, so that it is soon as much as it may be.
CACHE_MIB = 2


@pytest.fixture(scope="session")
def gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_gguf(tmp_path_factory.mktemp("secret_place") / "tiny.gguf")


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tiny_model_folder(tmp_path_factory.mktemp("secret_place") / "tiny", "llama")
    lively(tiny_model("llama", len(tiny_tokenizer()))).save_pretrained(place)
    return place


@pytest.fixture(scope="session")
def over_llama_cpp(gguf: Path) -> Iterator[Client]:
    with running(str(gguf), opening=Opening(slots=2, context=1024, cache_mib=CACHE_MIB)) as address:
        yield Client(address, "tiny")


@pytest.fixture(scope="session")
def over_transformers(folder: Path) -> Iterator[Client]:
    with running(str(folder), opening=Opening(bits=32, slots=4, cache_mib=CACHE_MIB)) as address:
        yield Client(address, "tiny", "transformers")


@pytest.fixture(params=["llama.cpp", "transformers"])
def client(request: pytest.FixtureRequest) -> Client:
    name = "over_llama_cpp" if request.param == "llama.cpp" else "over_transformers"
    found = request.getfixturevalue(name)
    assert isinstance(found, Client)
    return found


@pytest.fixture(scope="session")
def polite_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A model that was taught one answer, and ends it, for each engine."""
    place = tmp_path_factory.mktemp("polite")
    write_gguf(place / "polite.gguf", *polite_model(place / "polite"))
    return {"llama.cpp": place / "polite.gguf", "transformers": place / "polite"}


@pytest.fixture(scope="session", params=["llama.cpp", "transformers"])
def polite(request: pytest.FixtureRequest, polite_files: dict[str, Path]) -> Iterator[Client]:
    with running(str(polite_files[request.param]), opening=Opening(bits=32)) as address:
        yield Client(address, "polite", request.param)
