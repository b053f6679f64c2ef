"""bench/quality_per_minute.py on a tiny model: both ways learn from the same examples; time to a loss."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType

import pytest

from komt.testing import tiny_model_folder


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "bench"))
    import quality_per_minute

    return quality_per_minute


def test_komt_learns_and_is_measured_on_the_way(bench: ModuleType, tmp_path: Path) -> None:
    found = run(bench, tmp_path, "komt")["curves"]["komt"]
    assert [point["step"] for point in found] == [0, 1, 2, 3]
    assert [point["seconds"] for point in found] == sorted(point["seconds"] for point in found)
    assert found[0]["seconds"] == 0.0
    assert found[-1]["loss"] < found[0]["loss"]


@pytest.mark.slow
def test_trl_learns_from_the_same_examples(bench: ModuleType, tmp_path: Path) -> None:
    found = run(bench, tmp_path, "trl,komt")
    trl, own = found["curves"]["trl"], found["curves"]["komt"]
    assert trl[0]["loss"] == pytest.approx(own[0]["loss"], rel=1e-5)
    assert trl[-1]["loss"] < trl[0]["loss"]
    assert found["ratios"]["seconds"] > 0


def run(bench: ModuleType, tmp_path: Path, ways: str) -> dict:
    model = tiny_model_folder(tmp_path / "tiny", "llama")
    words = ["--recipe", "sample", "--quick", "--ways", ways, "--json", str(tmp_path / "out.json")]
    settings = (f"model.name={model}", "model.bits=32", "train.lr=0.005", "data.tasks={sample.sentiment: {}}")
    assert bench.main([*words, *(part for one in settings for part in ("--set", one))]) == 0
    return json.loads((tmp_path / "out.json").read_text())


def test_time_to_a_loss_is_read_off_between_two_measurements(bench: ModuleType) -> None:
    def curve(*points: tuple[float, float]) -> list[dict[str, float]]:
        return [{"step": n, "seconds": s, "loss": loss} for n, (s, loss) in enumerate(points)]

    trl, own = curve((0, 4.0), (100, 2.0), (200, 1.0)), curve((0, 4.0), (10, 2.0), (30, 0.5))
    assert bench.seconds_to(own, 3.0) == 5.0
    assert bench.seconds_to(own, 0.4) is None
    ratios = bench.ratios_of({"trl": trl, "komt": own})
    assert ratios["time"] == pytest.approx(200 / (10 + 20 * (1.0 / 1.5)))
    assert ratios["seconds"] == pytest.approx(200 / 30)
    # Where komt ends above TRL's lowest loss, TRL is timed to komt's.
    assert bench.ratios_of({"trl": trl, "komt": curve((0, 4.0), (10, 2.0))})["time"] == pytest.approx(10)
