from __future__ import annotations

from pathlib import Path
from typing import Annotated

import pytest
from pydantic import Field

from komt.errors import UsageError
from komt.recipe import SHIPPED, Part, TaskPart, load_recipe, parse_part, parse_recipe, shipped_recipes
from komt.tasks import load_task, recipe_tasks


def write(path: Path, text: str) -> str:
    path.write_text(text, encoding="utf-8")
    return str(path)


@pytest.mark.parametrize("name", shipped_recipes())
def test_every_shipped_recipe_loads_and_opens_with_its_command(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.name == name
    assert (SHIPPED / f"{name}.yaml").read_text(encoding="utf-8").startswith(f"# komt run {name}")
    assert all(load_task(task, recipe).name == task for task in recipe.evaluate.tasks)


def test_the_published_lora_settings_are_the_defaults() -> None:
    lora = load_recipe("korquad").train.lora
    assert (lora.r, lora.alpha, lora.dropout) == (8, 32, 0.05)


def test_all_mistakes_are_reported_at_once(tmp_path: Path) -> None:
    path = write(tmp_path / "r.yaml", "name: r\ndata: {taks: {}, over_long: cut}\ntrain: {lora: {rank: 4}}\n")
    with pytest.raises(UsageError) as error:
        load_recipe(path)
    text = str(error.value)
    assert "3 mistakes in the recipe" in text
    assert "data.taks: unknown key; did you mean 'tasks'?" in text
    assert "data.over_long:" in text
    assert "train.lora.rank: unknown key" in text


def test_overrides_are_yaml_and_reach_into_task_names() -> None:
    recipe = load_recipe("korquad", ["data.tasks.korquad.qa.cap=7", "train.lr=1e-4", "evaluate.limit=null"])
    assert recipe.data.tasks["korquad.qa"].cap == 7
    assert recipe.train.lr == 1e-4
    assert recipe.evaluate.limit is None


@pytest.mark.parametrize("override", ["novalue", "=3", "name.x=1", "seed=[1", "seed=2020-13-45"])
def test_a_wrong_override_is_a_usage_error(override: str) -> None:
    with pytest.raises(UsageError):
        load_recipe("sample", [override])


def test_an_unknown_recipe_is_answered_with_the_nearest() -> None:
    with pytest.raises(UsageError, match="did you mean 'korquad'"):
        load_recipe("korqaud")


def test_broken_yaml_is_named_with_its_line(tmp_path: Path) -> None:
    path = write(tmp_path / "r.yaml", "name: r\ndata: {tasks: {}\n")
    with pytest.raises(UsageError, match="not valid YAML") as error:
        load_recipe(path)
    assert "r.yaml, line" in error.value.where


def test_paths_of_own_files_start_at_the_recipe(tmp_path: Path) -> None:
    path = write(
        tmp_path / "r.yaml", "name: r\ndata: {files: [{path: a.csv, prompt: '{{x}}', answer: '{{y}}'}]}\n"
    )
    recipe = load_recipe(path)
    assert recipe.data.files[0].path == str((tmp_path / "a.csv").resolve())
    assert load_task("a", recipe).name == "a"


def test_two_files_of_one_name_are_refused(tmp_path: Path) -> None:
    file = "{path: a.csv, prompt: '{{x}}', answer: '{{y}}'}"
    path = write(tmp_path / "r.yaml", f"name: r\ndata: {{files: [{file}, {file}]}}\n")
    with pytest.raises(UsageError, match="two tasks are called 'a'"):
        recipe_tasks(load_recipe(path))


@pytest.mark.parametrize("what", ["hangul", "characters"])
def test_bounds_that_no_row_could_pass_are_refused(what: str) -> None:
    bounds = {f"min_{what}": 0.9 if what == "hangul" else 90, f"max_{what}": 0.5 if what == "hangul" else 50}
    with pytest.raises(UsageError, match=f"data.quality: min_{what} is .*, but max_{what} is") as error:
        parse_recipe({"name": "r", "data": {"quality": bounds}}, "r.yaml")
    assert "a mistake in" in error.value.what
    parse_recipe({"name": "r", "data": {"quality": {f"min_{what}": 1, f"max_{what}": 1}}}, "r.yaml")


def test_both_crossed_bounds_are_told() -> None:
    with pytest.raises(UsageError, match=r"min_hangul is 0\.9.*; min_characters is 60000, but max_char"):
        parse_recipe(
            {
                "name": "r",
                "data": {"quality": {"min_hangul": 0.9, "max_hangul": 0.1, "min_characters": 60_000}},
            },
            "r.yaml",
        )


def test_a_mistake_in_an_item_is_not_told_as_a_short_list_too() -> None:
    class Listed(Part):
        items: Annotated[tuple[TaskPart, ...], Field(min_length=1)]

    with pytest.raises(UsageError) as error:
        parse_part(Listed, {"items": [{"capp": 3}]}, "f.yaml", "the list")
    assert error.value.what == "a mistake in the list:\n  - items.0.capp: unknown key; did you mean 'cap'?"
    with pytest.raises(UsageError, match=r"items: input should be a list, as \[a, b\] \(given: 'x'\)"):
        parse_part(Listed, {"items": "x"}, "f.yaml", "the list")
    with pytest.raises(UsageError, match="items: tuple should have at least 1 item"):
        parse_part(Listed, {"items": []}, "f.yaml", "the list")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name: r\nname: s\n", r"line 2"),
        ("seed: 2020-13-45\n", "month must be"),
        ("? [a]\n: b\n", "a key is a list or a mapping"),
        ("data: " + "[" * 3000, "nested too deeply"),
        ("seed: !!timestamp abc\n", "not valid YAML"),
        ("seed: !!python/object:os.system x\n", "could not determine a constructor"),
        ("- a\n", "not a mapping"),
    ],
)
def test_yaml_that_cannot_be_read_is_a_usage_error(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said) as error:
        load_recipe(write(tmp_path / "r.yaml", text))
    assert error.value.what.startswith("the recipe ")


def test_an_override_of_a_tasks_setting_is_told_when_it_is_misspelt(tmp_path: Path) -> None:
    for override in ("data.tasks.sample.qa.cpa=3", "data.tasks.sample.qa.maximum_of_all=3"):
        with pytest.raises(UsageError, match=r"data\.tasks\.sample\.qa\.(cpa|maximum_of_all): unknown key"):
            load_recipe("sample", [override])
    recipe = load_recipe("sample", ["data.tasks.own=", "data.tasks.korquad.qa="])
    assert {"own", "korquad.qa"} < set(recipe.data.tasks)


def test_names_without_settings_get_them_by_an_override(tmp_path: Path) -> None:
    path = write(tmp_path / "r.yaml", "name: r\ndata: {tasks: [sample.qa, sample.title], mixtures: [klue]}\n")
    recipe = load_recipe(path, ["data.tasks.sample.qa.cap=7", "data.mixtures.klue.cap=9"])
    assert {name: part.cap for name, part in recipe.data.tasks.items()} == {
        "sample.qa": 7,
        "sample.title": None,
    }
    assert recipe.data.mixtures["klue"].cap == 9
    path = write(tmp_path / "r.yaml", "name: r\ndata:\n  tasks: [sample.qa]\ntrain:\n")
    assert load_recipe(path, ["train.lr=1e-4"]).train.lr == 1e-4
