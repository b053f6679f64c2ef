"""What docs/families.md says of each family is what komt finds out, loss and every gradient compared."""

import re
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
sys.path.insert(0, str(DOCS))
from generate_families import _WORDS, FAMILIES, find, model_of, worst  # noqa: E402

sys.path.remove(str(DOCS))
TABLE = (DOCS / "families.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_the_page_says_what_is_found(family):
    found = find(family)
    row = re.search(rf"^\| {re.escape(family.name)} \| .* \| (.*) \| (.*) \|$", TABLE, re.MULTILINE)
    assert row, family.name
    assert row.groups() == (_WORDS[found.way], found.reason or "–")


def test_the_families_that_koreans_train_are_shared():
    rows = dict(re.findall(r"^\| ([^|]+) \| [^|]+ \| ([^|]+) \| [^|]+ \|$", TABLE, re.MULTILINE))
    shared = {name for name, way in rows.items() if way == "shared"}
    assert {"Llama", "Mistral", "Mixtral", "Qwen2", "Qwen3", "Gemma 2", "Gemma 3", "EXAONE 4"} <= shared
    assert {"HyperCLOVA X", "Phi", "Phi-3", "GPT-NeoX"} <= shared
    assert rows["Qwen3.5"] == rows["Falcon Mamba"] == "one by one"


def test_a_gradient_that_is_another_is_noticed():
    llama = next(family for family in FAMILIES if family.name == "Llama")
    model = model_of(llama)
    weight, calls = model.model.layers[1].self_attn.v_proj.weight, []

    def grown(gradient):
        calls.append(1)
        return gradient * (1.01 if len(calls) == 1 else 1.0)

    weight.register_hook(grown)
    assert "layers.1.self_attn.v_proj" in worst(model, share=True)
