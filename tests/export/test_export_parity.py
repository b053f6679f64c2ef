"""Gates of a merged folder: passed by a true copy, failed by anything else."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from komt.errors import ModelError
from komt.export.answers import PROMPTS
from komt.export.gates import Gate
from komt.export.merge import fold, load_unmerged, merge
from komt.export.parity import (
    Reference,
    base_gate,
    merge_gates,
    quantised_training_gate,
    reference_of,
    stored_gates,
)
from komt.models.load import load_tokenizer
from komt.models.place import Place

Make = Callable[..., Place]


def measured(place: Place) -> Reference:
    return reference_of(load_unmerged(place), load_tokenizer(place), None)


def failed(gates: list[Gate]) -> list[str]:
    return [gate.name for gate in gates if not gate.passed]


def named(gates: list[Gate], words: str) -> Gate:
    return next(gate for gate in gates if words in gate.name)


def test_a_true_merge_passes_every_gate(ending: Place, adapted: Make, tmp_path: Path) -> None:
    place = adapted(ending, lora_alpha=1)
    reference = measured(place)
    gates = merge_gates(reference, fold(load_unmerged(place), place))
    gates += stored_gates(reference, merge(place, tmp_path / "out"), place, "bf16")
    assert failed(gates) == []
    assert named(gates, "merge in fp32: same").measured == "512 of 512"
    assert (
        named(gates, "end token").measured == f"{PROMPTS} of {PROMPTS}; before export {PROMPTS} of {PROMPTS}"
    )
    assert named(gates, "of the base alone").allowed == "reported"


def test_a_merge_that_lost_the_adapter_fails(ending: Place, adapted: Make, tmp_path: Path) -> None:
    place = adapted(ending)
    reference = measured(place)
    model = load_unmerged(place).unload()
    names = failed(merge_gates(reference, model))
    assert names == ["merge in fp32: largest difference of a logit", "merge in fp32: same likeliest token"]
    assert "weights in fp32: same likeliest token" in failed(
        stored_gates(reference, merge(ending, tmp_path / "out", "fp32"), ending, "fp32")
    )


def test_a_changed_template_fails(ending: Place, tmp_path: Path) -> None:
    out = merge(ending, tmp_path / "out")
    template = out / "chat_template.jinja"
    template.write_text(template.read_text().replace("### Response:\\n", "### Response: "))
    names = failed(stored_gates(measured(ending), out, ending, "bf16"))
    assert "chat template, reloaded: text equal" in names
    assert "chat template, reloaded: token ids as in training" in names


def test_a_lost_end_token_fails(ending: Place, tmp_path: Path) -> None:
    out = merge(ending, tmp_path / "out")
    path = out / "generation_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "eos_token_id": 599}))
    gate = named(stored_gates(measured(ending), out, ending, "bf16"), "end token")
    assert (gate.passed, gate.measured) == (False, "0 of 8; before export 8 of 8")


def test_a_model_that_never_learned_to_end_is_told_not_failed(base: Make, tmp_path: Path) -> None:
    place = base("gemma3")
    gate = named(stored_gates(measured(place), merge(place, tmp_path / "out"), place, "bf16"), "end token")
    assert (gate.passed, gate.allowed) == (True, "reported")
    assert "has not learned to end its answers" in gate.measured


def test_weights_that_were_damaged_on_the_way_fail(base: Make, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    place = base()
    out = merge(place, tmp_path / "out")
    weights = load_file(out / "model.safetensors")
    weights["model.layers.2.mlp.down_proj.weight"] *= 1.5
    save_file(weights, out / "model.safetensors", metadata={"format": "pt"})
    assert "weights in bf16: same likeliest token" in failed(
        stored_gates(measured(place), out, place, "bf16")
    )


def test_what_training_in_4_bits_changed_is_reported(ending: Place, adapted: Make) -> None:
    place = adapted(ending)
    gate = quantised_training_gate(place, 4, measured(place))
    assert gate.allowed == "reported"
    narrow, full = gate.measured.split(" (")[0].split(" against ")
    assert float(full) > 1
    assert narrow != full


def test_another_base_than_that_of_the_training_fails(base: Make, adapted: Make) -> None:
    place = adapted(base())
    assert base_gate(place).passed
    assert place.adapter is not None
    path = place.adapter / "komt.json"
    for told, passed in (("f" * 64, False), ("", True)):
        path.write_text(json.dumps({"base_revision": told}))
        gate = base_gate(place)
        assert (gate.passed, gate.allowed) == (passed, "as then" if told else "reported")
    newer = replace(place, commit="a" * 40)
    path.write_text(json.dumps({"base_revision": "b" * 40}))
    assert (
        base_gate(newer).measured
        == f"another commit of the hub: {'a' * 12}; the adapter was trained on {'b' * 12}"
    )
    assert base_gate(newer).passed


def test_a_model_that_computes_no_numbers_is_told_before_anything_is_written(ending: Place) -> None:
    model = load_unmerged(ending)
    with torch.no_grad():
        model.model.norm.weight[0] = float("nan")
    with pytest.raises(ModelError, match="no numbers, before anything is exported"):
        reference_of(model, load_tokenizer(ending), None)


def test_the_reference_is_full_precision_base_and_adapter(base: Make, adapted: Make) -> None:
    place = adapted(base())
    reference = measured(place)
    assert reference.logits.dtype == torch.float32
    assert reference.logits.shape == (512, len(load_tokenizer(place)))
    assert reference.base_perplexity is not None
