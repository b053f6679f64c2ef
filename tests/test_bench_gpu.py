"""bench/gpu.py on a CPU and tiny shapes: the same code that measures on a GPU."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType

import pytest
import torch


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "bench"))
    import gpu

    return gpu


def test_without_a_gpu_nothing_is_measured(
    gpu: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert gpu.main([]) == 1
    assert "no GPU is here" in capsys.readouterr().err


@pytest.mark.parametrize(("bits", "sharings"), [("16", (1, 4)), ("4", (4,))])
def test_all_ways_have_one_loss_and_komt_computes_a_passage_once(
    bits: str, sharings: tuple[int, ...], gpu: ModuleType, tmp_path: Path
) -> None:
    words = ["--device", "cpu", "--tiny", "--bits", bits, "--ways", "padded,head,unshared,komt"]
    words += ["--sharing", ",".join(map(str, sharings))]
    assert gpu.main([*words, "--json", str(tmp_path / "out.json"), "--md", str(tmp_path / "out.md")]) == 0
    found = json.loads((tmp_path / "out.json").read_text())
    ratios, rows = found["ratios"], {(row["way"], row["sharing"]): row for row in found["rows"]}
    for sharing in sharings:
        computed = 2 * (48 + sharing * 12)
        assert rows["komt", sharing]["packing"] == "shared"
        assert rows["komt", sharing]["tokens"] == computed
        assert rows["unshared", sharing]["tokens"] == sharing * 2 * 60
        at = f"gemma3-270m_prefix48_sharing{sharing}"
        assert ratios[f"{at}_bound"] == pytest.approx(sharing * 2 * 60 / computed)
        assert ratios[f"{at}_loss_difference"] < 0.01
    assert "| gemma3-270m | 48 | 4 | komt |" in (tmp_path / "out.md").read_text()


@pytest.mark.slow
def test_trl_packs_the_same_examples(gpu: ModuleType, tmp_path: Path) -> None:
    words = ["--device", "cpu", "--tiny", "--ways", "head,trl-packing,komt", "--sharing", "4"]
    assert gpu.main([*words, "--json", str(tmp_path / "out.json")]) == 0
    found = json.loads((tmp_path / "out.json").read_text())
    assert {row["way"] for row in found["rows"]} == {"head", "trl-packing", "komt"}
    assert found["ratios"]["gemma3-270m_prefix48_sharing4_loss_difference"] < 0.01
    assert found["ratios"]["gemma3-270m_prefix48_sharing4_trl-packing"] > 0
