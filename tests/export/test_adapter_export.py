"""An adapter alone: the same weights, its base by a public name, nothing of this machine."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from komt.errors import UsageError
from komt.export.adapter import adapter_gates, write_adapter
from komt.export.leaks import leak_gate, leaks
from komt.export.merge import load_unmerged
from komt.export.parity import reference_of
from komt.models.load import load_tokenizer
from komt.models.place import Place

Make = Callable[..., Place]


def test_the_exported_adapter_answers_as_the_trained_one(base: Make, adapted: Make, tmp_path: Path) -> None:
    place = adapted(base())
    reference = reference_of(load_unmerged(place), load_tokenizer(place), None)
    write_adapter(place, tmp_path / "out")
    gates = adapter_gates(place, tmp_path / "out", reference)
    assert [gate.name for gate in gates if not gate.passed] == []
    assert gates[0].measured == "1 of 1"


@pytest.mark.parametrize(
    ("named", "expected"),
    [
        ("org/some-model", "org/some-model"),
        ("gemma-3-270m", "google/gemma-3-270m"),
        ("/home/kim/models/mine", "mine"),
    ],
)
def test_its_base_is_named_as_the_hub_does(
    base: Make, adapted: Make, named: str, expected: str, tmp_path: Path
) -> None:
    place = replace(adapted(base()), base=named)
    write_adapter(place, tmp_path / "out")
    config = json.loads((tmp_path / "out" / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == expected
    told = json.loads((tmp_path / "out" / "komt.json").read_text())
    assert told.get("base") == (named if "/home" not in named else None)
    assert leak_gate(place, tmp_path / "out").passed


def test_settings_that_are_peft_s_own_are_left_out_for_older_versions(
    base: Make, adapted: Make, tmp_path: Path
) -> None:
    from peft import PeftConfig

    place = adapted(base(), use_rslora=True, rank_pattern={"q_proj": 2})
    write_adapter(place, tmp_path / "out")
    told = json.loads((tmp_path / "out" / "adapter_config.json").read_text())
    assert (told["use_rslora"], told["rank_pattern"], told["r"], told["bias"]) == (
        True,
        {"q_proj": 2},
        4,
        "none",
    )
    # What PEFT 0.10 knows.
    assert told.keys() <= {
        *("base_model_name_or_path", "bias", "fan_in_fan_out", "inference_mode", "init_lora_weights"),
        *(
            "lora_alpha",
            "lora_dropout",
            "modules_to_save",
            "peft_type",
            "r",
            "rank_pattern",
            "target_modules",
        ),
        *("task_type", "use_rslora"),
    }
    assert place.adapter is not None
    again, before = (PeftConfig.from_pretrained(str(path)) for path in (tmp_path / "out", place.adapter))
    for config in (again, before):
        config.base_model_name_or_path, config.peft_version = "", ""
    assert again.to_dict() == before.to_dict()


def test_a_model_without_adapter_is_refused(base: Make, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--format merged"):
        write_adapter(base(), tmp_path / "out")


def test_a_leaked_path_is_found_plain_and_escaped(tmp_path: Path) -> None:
    private = Path("/home/김철수/자료")
    (tmp_path / "a.json").write_text(json.dumps({"path": f"{private}/x"}))
    (tmp_path / "b.md").write_text(f"see {private}\n", encoding="utf-8")
    (tmp_path / "c.txt").write_text("/home", encoding="utf-8")
    assert leaks(tmp_path, [private, Path("/home")]) == [("a.json", str(private)), ("b.md", str(private))]


def test_gemmas_notice_goes_with_every_copy(base: Make, adapted: Make, tmp_path: Path) -> None:
    write_adapter(replace(adapted(base()), base="gemma-3-270m"), tmp_path / "out")
    assert (tmp_path / "out" / "NOTICE").read_text().startswith("Gemma is provided under and subject to")


def test_licence_files_of_the_base_go_with_every_copy(base: Make, adapted: Make, tmp_path: Path) -> None:
    place = adapted(base())
    (place.folder / "LICENSE.txt").write_text("the terms")
    write_adapter(place, tmp_path / "out")
    assert (tmp_path / "out" / "LICENSE.txt").read_text() == "the terms"
    assert not (tmp_path / "out" / "NOTICE").exists()
