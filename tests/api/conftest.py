"""Two servers over the same tiny weights: llama.cpp's behind the guard, and komt's own engine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from api_client import Client

from komt.api.app import running
from komt.api.opening import Opening
from komt.testing import lively, tiny_gguf, tiny_model, tiny_model_folder, tiny_tokenizer


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
    with running(str(gguf), opening=Opening(slots=2, context=1024)) as address:
        yield Client(address, "tiny")


@pytest.fixture(scope="session")
def over_transformers(folder: Path) -> Iterator[Client]:
    with running(str(folder), opening=Opening(bits=32, slots=4)) as address:
        yield Client(address, "tiny")


@pytest.fixture(params=["llama.cpp", "transformers"])
def client(request: pytest.FixtureRequest) -> Client:
    name = "over_llama_cpp" if request.param == "llama.cpp" else "over_transformers"
    found = request.getfixturevalue(name)
    assert isinstance(found, Client)
    return found
