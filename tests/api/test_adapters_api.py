"""Several adapters by name over one base, by both engines."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from api_client import Client

from komt.api.app import running
from komt.api.opening import Opening, open_backend
from komt.errors import UsageError

NAMES = ("하나", "org/b.둘")


def new_adapter(folder: Path, base: Path, seed: int) -> Path:
    """A random LoRA adapter on the value projections, strong enough to change answers."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(seed)
    part = LoraConfig(r=4, lora_alpha=8, target_modules=["v_proj"], task_type="CAUSAL_LM")
    tuned = get_peft_model(AutoModelForCausalLM.from_pretrained(base), part)
    with torch.no_grad():
        for name, parameter in tuned.named_parameters():
            if "lora_" in name:
                parameter.normal_(0, 1.0)
    tuned.save_pretrained(folder)
    return folder


def as_gguf(folder: Path, file: Path) -> Path:
    """The same adapter as llama.cpp's converter writes it."""
    from gguf import GGUFWriter
    from safetensors.torch import load_file

    writer = GGUFWriter(file, "llama")
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", 8.0)
    for name, tensor in load_file(folder / "adapter_model.safetensors").items():
        layer, side = name.split(".layers.")[1].split(".")[0], name.split("lora_")[1][0].lower()
        writer.add_tensor(f"blk.{layer}.attn_v.weight.lora_{side}", tensor.float().numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file


@pytest.fixture(scope="module")
def adapters(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    place = tmp_path_factory.mktemp("adapters")
    return {name: new_adapter(place / f"a{seed}", folder, seed) for seed, name in enumerate(NAMES)}


@pytest.fixture(scope="module", params=["llama.cpp", "transformers"])
def client(
    request: pytest.FixtureRequest, adapters: dict[str, Path], folder: Path, gguf: Path
) -> Iterator[Client]:
    model, given = folder, adapters
    if request.param == "llama.cpp":
        model = gguf
        given = {name: as_gguf(path, path.with_suffix(".gguf")) for name, path in adapters.items()}
    words = {name: str(path) for name, path in given.items()}
    with running(str(model), words, opening=Opening(bits=32, slots=4, context=1024)) as address:
        yield Client(address, "tiny", request.param)


def answer(client: Client, model: str, **fields: Any) -> str:
    told = client.chat(model=model, temperature=0, max_tokens=20, **fields).json()
    assert told["model"] == model
    return str(told["choices"][0]["message"]["content"])


def test_base_and_adapters_are_models_by_their_names(client: Client):
    assert [model["id"] for model in client.get("/models").json()["data"]] == ["tiny", *NAMES]
    assert client.get("/models/org/b.둘").json()["id"] == "org/b.둘"
    answers = [answer(client, name) for name in ("tiny", *NAMES)]
    assert len(set(answers)) == 3
    assert [answer(client, name) for name in ("tiny", *NAMES)] == answers


def test_requests_for_different_adapters_at_once_do_not_mix(client: Client):
    from concurrent.futures import ThreadPoolExecutor

    alone = {name: answer(client, name) for name in ("tiny", *NAMES)}
    asked = ["tiny", *NAMES] * 6
    with ThreadPoolExecutor(len(asked)) as pool:
        together = list(pool.map(lambda name: answer(client, name), asked))
    assert together == [alone[name] for name in asked]


def test_a_prompt_remembered_with_one_adapter_is_not_taken_for_another(
    adapters: dict[str, Path], folder: Path, gguf: Path
):
    texts = [f"{place}: {'고양이는 왜 물을 싫어하나요? ' * 12}" for place in ("가", "나")]
    one, other = NAMES
    files = {name: str(as_gguf(path, path.with_suffix(".3.gguf"))) for name, path in adapters.items()}
    with running(str(gguf), files, opening=Opening(slots=1, context=1024)) as address:
        client = Client(address, "tiny")
        # The second moves the first out of the only slot, and the third has its text.
        asked = [(one, 0), (other, 1), (other, 0), (one, 1), (other, 0)]
        told = [
            client.chat(
                model=name, messages=[{"role": "user", "content": texts[text]}], temperature=0, max_tokens=8
            ).json()
            for name, text in asked
        ]
    assert told[2]["choices"] == told[4]["choices"]
    cached = [answer["usage"]["prompt_tokens_details"]["cached_tokens"] for answer in told]
    assert max(cached) < 10 < told[2]["usage"]["prompt_tokens"]


def test_an_adapter_answers_alike_by_both_engines(adapters: dict[str, Path], folder: Path, gguf: Path):
    words = {name: str(path) for name, path in adapters.items()}
    files = {name: str(as_gguf(path, path.with_suffix(".2.gguf"))) for name, path in adapters.items()}
    with (
        running(str(folder), words, opening=Opening(bits=32)) as one,
        running(str(gguf), files, opening=Opening(context=512)) as other,
    ):
        for name in ("tiny", *NAMES):
            mine, theirs = (answer(Client(address, "tiny"), name) for address in (one, other))
            assert mine == theirs


def test_a_trained_model_is_served_with_its_base_beside_it(adapters: dict[str, Path], folder: Path):
    trained = adapters["하나"]
    with running(str(trained), opening=Opening(bits=32)) as address:
        client = Client(address, trained.name)
        assert [model["id"] for model in client.get("/models").json()["data"]] == [trained.name, folder.name]
        assert answer(client, trained.name) != answer(client, folder.name)


def test_names_are_one_however_their_syllables_are_written(adapters: dict[str, Path], folder: Path):
    apart = unicodedata.normalize("NFD", "하나")
    with running(str(folder), {apart: str(adapters["하나"])}, opening=Opening(bits=32)) as address:
        client = Client(address, "tiny")
        assert client.get("/models").json()["data"][1]["id"] == "하나"
        assert client.get(f"/models/{apart}").json()["id"] == "하나"
        assert client.chat(model=apart).json()["model"] == "하나"


def test_two_models_of_one_name_are_refused(adapters: dict[str, Path], folder: Path):
    with pytest.raises(UsageError, match="two models are called 'tiny'"):
        open_backend(str(folder), {"tiny": str(adapters["하나"])}, Opening())
