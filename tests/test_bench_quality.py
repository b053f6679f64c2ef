from __future__ import annotations

import json
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest

BENCH = Path(__file__).parents[1] / "bench"


@pytest.fixture(autouse=True)
def _bench_on_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCH))


def options(**changes: Any) -> Namespace:
    values = {
        "cap": 40,
        "held_out": 4,
        "step_tokens": 1024,
        "model": "gemma-3-270m",
        "md": None,
        "json": None,
    }
    return Namespace(**{**values, **changes})


def test_ways_differ_in_packing_alone() -> None:
    from quality import WAYS, recipe_for

    recipes = {way: recipe_for(way, 3, options()) for way in WAYS}
    assert [recipe.pack.share for recipe in recipes.values()] == [False, True, True, True]
    assert [recipe.pack.max_share for recipe in recipes.values()] == [1, 1, 4, 12]
    others = {recipe.model_copy(update={"pack": None}).model_dump_json() for recipe in recipes.values()}
    assert len(others) == 1
    first = next(iter(recipes.values()))
    assert (first.seed, first.data.tasks["korquad.qa"].cap, first.train.step_tokens) == (3, 40, 1024)


def test_table_compares_the_seeds_that_every_way_has(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    from quality import show

    def result(way: str, seed: int, losses: list[float], seconds: float) -> dict[str, Any]:
        held = [
            {"id": str(n), "group": str(n), "loss": loss, "targets": 2.0} for n, loss in enumerate(losses)
        ]
        numbers = {"trained": 40, "steps": 4, "packed_tokens": 900, "seconds": seconds}
        return {"way": way, "seed": seed, "held_out": held, **(numbers if seconds else {})}

    results = [result("base", 0, [4, 4, 4, 4], 0)]
    results += [result("unshared", seed, [1, 2, 1, 2], 60) for seed in (0, 1)]
    results += [result("shared 4", 0, [2, 2, 1, 2], 20)]
    show(results, options(json=tmp_path / "q.json"))
    text = capsys.readouterr().out
    assert "ratio shared_4_speed 3.000" in text
    assert "ratio shared_4_loss 1.167" in text
    assert "| base | 2.0000 [2.0000, 2.0000] | –" in text
    saved = json.loads((tmp_path / "q.json").read_text())
    assert saved["ways"]["shared 4"]["minus"]["value"] == pytest.approx(0.125)
    assert saved["ways"]["unshared"]["seeds"] == [0.75]
