"""A toy set that a tiny model can learn, as sequences, as examples and as a data folder."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from forked import Launcher

from komt.example import SCHEMA, Example, Message
from komt.pack import TokenSequence
from komt.recipe import parse_recipe
from komt.testing import tiny_model, tiny_model_folder, tiny_tokenizer

CITIES = ("서울", "부산", "대구", "인천", "광주", "대전")


@pytest.fixture
def toy_sequences():
    """24 sequences on 6 passages of 20 tokens: the answer is 3 tokens, told by the passage's first one."""
    random = np.random.default_rng(0)
    sequences = []
    for group in range(6):
        passage = [10 + group, *random.integers(100, 200, 19)]
        for question in range(4):
            asked = random.integers(200, 300, 2 + question)
            ids = np.array([2, *passage, *asked, 20 + group, 30 + group, 1], np.int32)
            weights = np.zeros(len(ids), np.float32)
            weights[-3:] = 1.0
            name = f"{group}.{question}"
            sequences.append(TokenSequence(ids, weights, name, f"task{question % 2}", f"passage{group}"))
    return sequences


@pytest.fixture
def toy_recipe():
    """A recipe of the toy set in fp32 without dropout; keywords change parts of it."""

    def make(model="unused", *, pack=None, bits=32, seed=0, **train):
        lora = {"r": 4, "alpha": 8, "dropout": 0.0, **train.pop("lora", {})}
        settings = {"epochs": 2, "lr": 1e-2, "step_tokens": 200, "warmup": 0.0, "lora": lora, **train}
        values = {"name": "toy", "seed": seed, "model": {"name": str(model), "bits": bits}, "data": {}}
        return parse_recipe({**values, "pack": {"tokens": 256, **(pack or {})}, "train": settings}, "test")

    return make


@pytest.fixture
def adapted():
    """A tiny model with fresh LoRA, the same for the same seed."""
    from komt.models.load import attach_lora

    def make(recipe, family="gemma3"):
        model = tiny_model(family, seed=recipe.seed)
        with torch.no_grad():
            model.get_output_embeddings().weight.mul_(20)  # a fresh head is too small for LoRA to move logits
        return attach_lora(model, recipe.train.lora, recipe.seed)

    return make


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory):
    """A tiny model folder, made once for each family and kind."""
    made = {}

    def make(family="llama"):
        if family not in made:
            made[family] = tiny_model_folder(tmp_path_factory.mktemp("model"), family)
        return made[family]

    return make


@pytest.fixture(scope="session")
def wide_folder(tmp_path_factory):
    """A tiny model whose layers are as wide as the quantised kernels want them: multiples of 64."""
    import transformers

    from komt.models.template import ensure_template

    folder, tokenizer = tmp_path_factory.mktemp("wide"), tiny_tokenizer()
    ensure_template(tokenizer)
    config = transformers.LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=4,
        pad_token_id=0,
        eos_token_id=1,
        bos_token_id=2,
    )
    torch.manual_seed(0)
    transformers.AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def settings(toy_recipe, model_folder):
    """A recipe with dropout over a tiny model, several steps and checkpoints long."""

    def make(family="gemma3", bits=32, lora=None, **train):
        train = {
            "epochs": 3,
            "step_tokens": 500,
            "save_steps": 3,
            "lora": {"dropout": 0.1, **(lora or {})},
            **train,
        }
        return toy_recipe(model_folder(family), pack={"tokens": 512}, bits=bits, **train)

    return make


@pytest.fixture
def data_folder(tmp_path):
    """What `build` leaves for training: 24 examples on 6 passages, two tasks; 8 on 2 others to evaluate."""
    folder = tmp_path / "data"
    folder.mkdir()
    for name, cities in (("train", CITIES), ("evaluate", ("울산", "서귀포"))):
        records = [example.as_record() for example in toy_examples(cities)]
        pq.write_table(pa.Table.from_pylist(records, SCHEMA), folder / f"{name}.parquet")
    return folder


def toy_examples(cities):
    """Four examples on each city's passage, of two tasks."""
    examples = []
    for city in cities:
        passage = f"{city}은 큰 도시이다. 글: " + f"{city} " * 6
        for number in range(4):
            messages = (Message("user", f"{passage}\n질문 {number}?"), Message("assistant", city, True))
            head = (f"{city}.{number}", f"toy.{number % 2}", *["x"] * 7)
            examples.append(Example(*head, group=city, messages=messages, references=(city,)))
    return examples


@pytest.fixture(scope="session")
def launch(tmp_path_factory):
    """Runs `komt …` in real processes; see forked.py."""
    launcher = Launcher(tmp_path_factory.mktemp("said"))
    yield launcher
    launcher.close()
