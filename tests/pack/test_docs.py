"""The examples in docs/packing.md run as they stand, and train on the loss of the separate examples."""

import re
from pathlib import Path

import pytest

import komt.pack
from komt.example import Example, Message
from komt.models.template import ensure_template
from komt.pack import encode
from komt.testing import tiny_model, tiny_tokenizer

GUIDE = Path(__file__).parents[2] / "docs" / "packing.md"


def block(name):
    """The guide's code block of that name."""
    (found,) = re.findall(rf"```python {name}\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
    return found


@pytest.fixture
def tokenizer():
    made = tiny_tokenizer()
    ensure_template(made)
    return made


@pytest.fixture
def examples():
    """Eight examples on two passages."""
    made = []
    for city in ("서울", "부산"):
        for number in range(4):
            asked = f"{city}은 큰 도시이며 바다와 강이 있다.\n질문 {number}: 어디인가요?"
            messages = (Message("user", asked), Message("assistant", f"{city} {number}", True))
            made.append(Example(f"{city}{number}", *["x"] * 8, group=city, messages=messages))
    return made


@pytest.fixture
def losses(monkeypatch):
    """The losses that a trainer asks for, in order."""
    seen, plain = [], komt.pack.loss

    def noted(model, batch):
        found = plain(model, batch)
        seen.append(found.item())
        return found

    monkeypatch.setattr(komt.pack, "loss", noted)
    return seen


@pytest.fixture
def run(monkeypatch, tmp_path, tokenizer, examples, losses, separate_loss):
    """Run a block in an empty folder; return its losses and that of the separate examples beforehand."""
    monkeypatch.chdir(tmp_path)

    def execute(name):
        model = tiny_model("gemma3")
        alone = separate_loss(model, encode(tokenizer, examples)).item()
        exec(block(name), {"model": model, "tokenizer": tokenizer, "examples": examples})
        return losses, alone

    return execute


def assert_trained(losses, alone):
    assert len(losses) == 3  # one step of eight examples in each of three epochs
    assert losses[0] == pytest.approx(alone, rel=1e-5)
    assert losses[2] < losses[1] < losses[0]


def test_the_two_line_example_gives_gradients(tokenizer, examples, separate_loss):
    model = tiny_model("gemma3")
    (code,) = re.findall(r"```python\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
    exec(code, {"model": model, "tokenizer": tokenizer, "examples": examples})
    packed = model.model.embed_tokens.weight.grad.clone()
    model.zero_grad()
    separate_loss(model, encode(tokenizer, examples)).backward()
    expected = model.model.embed_tokens.weight.grad
    assert ((packed - expected).norm() / expected.norm()).item() <= 1e-4


def test_the_plain_trainer_trains_on_the_loss_of_separate_examples(run):
    assert_trained(*run("trainer"))


def test_trls_trainer_trains_on_the_loss_of_separate_examples(run):
    pytest.importorskip("trl", reason="TRL is in the extra 'bench' only")
    assert_trained(*run("trl"))


@pytest.mark.parametrize("name", ["trainer", "trl"])
def test_the_core_of_an_example_has_at_most_ten_lines(name):
    lines = [line for line in block(name).splitlines() if line and not line.startswith(("import", "from"))]
    assert len(lines) <= 10
