"""Which tasks a recipe trains on: by name, by mixture, without what is held out or absent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from komt.errors import DataError, UsageError
from komt.mix import MIXTURES, training_tasks
from komt.mix.named import Mixture, tasks_of
from komt.recipe import Recipe, parse_recipe
from komt.tasks import load_task


def recipe(**data: Any) -> Recipe:
    return parse_recipe({"name": "t", "data": data}, "test")


def test_every_mixture_opens_with_its_use_and_names_tasks_that_may_train() -> None:
    for name in MIXTURES.names():
        path = Path(MIXTURES._origin[name])
        assert path.read_text(encoding="utf-8").startswith(f"# data: {{mixtures: [{name}]}}\n")
        tasks = [task for task, _ in tasks_of(name)]
        assert len(tasks) >= 3
        assert not any(load_task(task).rows_from.evaluation_only for task in tasks)


def test_mixtures_nest_and_the_inner_settings_stay() -> None:
    public = dict(tasks_of("public"))
    assert set(dict(tasks_of("klue"))) < set(dict(tasks_of("native"))) < set(public)
    assert public["nsmc-raw.review"].weight == 0.1
    assert {load_task(name).rows_from.origin for name in dict(tasks_of("native"))} == {"native"}
    assert {load_task(name).rows_from.origin for name in public} == {"native", "translated", "generated"}


def test_a_mixture_that_holds_itself_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = Mixture(name="loop", title="loop", mixtures=("loop",))
    monkeypatch.setitem(MIXTURES._loaders, "loop", lambda: loop)
    with pytest.raises(UsageError, match="loop > loop"):
        list(tasks_of("loop"))


def test_an_unknown_mixture_is_named_with_its_neighbour() -> None:
    with pytest.raises(UsageError, match="did you mean 'kobest'"):
        training_tasks(recipe(mixtures=["kobset"]))


def test_the_recipes_own_settings_come_over_those_of_a_mixture() -> None:
    chosen = training_tasks(
        recipe(mixtures=["public"], tasks={"nsmc-raw.review": {"weight": 2}}, missing="skip")
    )
    assert "nsmc-raw.review" in chosen.absent  # no data here
    chosen = training_tasks(recipe(tasks={"sample.qa": {"weight": 2}, "sample.title": {}}))
    assert (chosen.parts["sample.qa"].weight, chosen.parts["sample.title"].weight) == (2, 1)


def test_held_out_families_are_not_trained_on_and_misspelt_ones_are_told() -> None:
    tasks = ["sample.qa", "sample.inference", "sample.sentiment"]
    chosen = training_tasks(recipe(tasks=tasks, hold_out=["inference"]))
    assert list(chosen.tasks) == ["sample.qa", "sample.sentiment"]
    assert chosen.held_out == {"sample.inference": "family inference"}
    with pytest.raises(UsageError, match="did you mean 'inference'"):
        training_tasks(recipe(tasks=tasks, hold_out=["inferense"]))


def test_what_is_absent_is_an_error_naming_all_of_it_or_skipped_on_request() -> None:
    tasks = ["sample.qa", "3i4k.act", "curse.profanity"]
    with pytest.raises(DataError) as error:
        training_tasks(recipe(tasks=tasks))
    assert "the rows of 2 tasks are not here" in str(error.value)
    assert "data.missing=skip" in str(error.value)
    chosen = training_tasks(recipe(tasks=tasks, missing="skip"))
    assert list(chosen.tasks) == ["sample.qa"]
    assert list(chosen.absent) == ["3i4k.act", "curse.profanity"]


def test_unwanted_origins_and_licences_are_left_out() -> None:
    quality = {"not_licences": ["CC0*"]}
    chosen = training_tasks(recipe(tasks=["sample.qa"], quality=quality))
    assert chosen.held_out == {"sample.qa": "licence CC0-1.0"}
    chosen = training_tasks(recipe(tasks=["sample.qa"], origins=["translated"]))
    assert chosen.held_out == {"sample.qa": "origin native"}


def test_an_evaluation_set_never_trains() -> None:
    with pytest.raises(DataError, match="for evaluation only"):
        training_tasks(recipe(tasks=["ntrex.en_ko"], resplit=True))


def test_an_unknown_source_or_kind_is_refused() -> None:
    with pytest.raises(UsageError, match="unknown source 'korqaud'; did you mean 'korquad'"):
        training_tasks(recipe(tasks=["sample.qa"], sources={"korqaud": {"cap": 5}}))
    with pytest.raises(UsageError, match=r"data\.kinds"):
        recipe(tasks=["sample.qa"], kinds={"inverse": 0.5})
