from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from komt.example import Example, Message
from komt.sources import Rejected, read_rows
from komt.tasks import Template, load_task, render

BENCH = Path(__file__).parents[1] / "bench"


@pytest.fixture(autouse=True)
def _bench_on_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCH))


def example(number: int, answer: str, **changes: Any) -> Example:
    values: dict[str, Any] = {
        "id": f"t:{number}",
        "task": "t",
        "family": "topic",
        "kind": "plain",
        "source": "s",
        "licence": "MIT",
        "origin": "native",
        "split": "train",
        "template": "a",
        "group": "",
        "messages": (Message("user", f"물음 {number}"), Message("assistant", answer, supervised=True)),
        "references": (answer,),
    }
    return Example(**{**values, **changes})


def choice(number: int, right: str, choices: tuple[str, ...], marks: tuple[str, ...] = ()) -> Example:
    at = choices.index(right)
    metadata = {"marks": list(marks)} if marks else {}
    answer = (marks or choices)[at]
    return example(number, answer, choices=choices, answer_index=at, metadata=metadata)


def answer_of(one: Example) -> str:
    return one.messages[-1].content


def test_plan_trains_on_nested_families_and_ends_early_with_what_tells_most() -> None:
    from generalise import CPU, plan

    settings = replace(CPU, seeds=(0, 1))
    known = [f"family{n}" for n in range(7)]
    found = plan(settings, {("inference", "paraphrase"): known})
    assert [c.name for c in found[:7]] == ["base", "base-5shot", "all", "format-only", "4", "2", "1"]
    assert len(found) == 2 + 2 * 5
    for seed in (0, 1):
        by_name = {c.name: c.families for c in found if c.seed == seed and c.families}
        assert set(by_name["all"]) == set(known)
        assert by_name["format-only"] == by_name["all"]
        assert [len(by_name[name]) for name in ("1", "2", "4")] == [1, 2, 4]
        assert by_name["4"][:2] == by_name["2"]
        assert by_name["2"][:1] == by_name["1"]
    assert found[2].families != found[7].families  # another seed, another order
    assert len({c.folder for c in found}) == len(found)


def test_plan_of_separate_trainings_has_one_for_each_panel() -> None:
    from generalise import FULL, groups_of, plan

    groups = {tuple(p.name for p in panels): ["a", "b"] for panels in groups_of(FULL)}
    assert len(groups) == len(FULL.panels) >= 4
    assert len(plan(replace(FULL, counts=("all",), seeds=(0,)), groups)) == 4 * len(FULL.panels)


def test_every_panel_has_two_sources_and_holds_its_own_family_out() -> None:
    from generalise import PANELS

    for panel in PANELS:
        tasks = [load_task(name) for name in panel.tasks]
        assert len({task.source for task in tasks}) >= 2
        assert {task.family for task in tasks} <= set(panel.hold_out)


def test_no_task_of_the_small_version_is_of_a_family_held_out() -> None:
    from generalise import CPU, recipe_for

    recipe = recipe_for(CPU, CPU.panels, None, 0)
    assert set(recipe.data.hold_out) >= {"inference", "paraphrase"}
    assert not {load_task(name).family for name in CPU.tasks} & set(recipe.data.hold_out)
    only = recipe_for(CPU, CPU.panels, ("hate",), 0)
    assert {load_task(name).family for name in only.data.tasks} == {"hate"}


def test_shuffled_choices_are_other_examples_labels_in_each_ones_own_form() -> None:
    from generalise_data import shuffled

    before = [
        choice(n, "예" if n % 3 else "아니요", ("예", "아니요") if n % 2 else ("아니요", "예"), marks)
        for n, marks in enumerate([(), ("1", "2"), ("가", "나")] * 10)
    ]
    after = shuffled(before, 0)
    assert [one.id for one in after] == [one.id for one in before]
    assert [one.prompt for one in after] == [one.prompt for one in before]
    labels = [[one.choices[one.answer_index or 0] for one in side] for side in (before, after)]
    assert sorted(labels[0]) == sorted(labels[1])
    assert labels[0] != labels[1]
    for one in after:
        forms = one.metadata.get("marks") or one.choices
        assert answer_of(one) == forms[one.answer_index or 0] == one.references[0]


def test_shuffled_answers_stay_within_task_and_phrasing() -> None:
    from generalise_data import shuffled

    before = [example(n, f"답 {n}", template="ab"[n % 2]) for n in range(20)]
    before += [example(n, f"딴 답 {n}", task="u", template="lone" if n == 21 else "c") for n in range(20, 24)]
    before += [example(24, "딴 답 24", task="u", template="lone too")]
    after = shuffled(before, 0)
    for template in "abc":
        sides = [{answer_of(o) for o in side if o.template == template} for side in (before, after)]
        assert sides[0] == sides[1]
    assert all(answer_of(old) != answer_of(new) for old, new in zip(before, after, strict=True))
    assert [answer_of(after[21]), answer_of(after[24])] == ["딴 답 24", "딴 답 21"]


def test_shuffling_depends_on_nothing_but_the_seed() -> None:
    from generalise_data import shuffled

    before = [example(n, f"답 {n}") for n in range(30)]
    first, again, other = shuffled(before, 0), shuffled(before, 0), shuffled(before, 1)
    assert first == again
    assert first != other


def test_a_text_whose_prompt_named_a_label_is_shuffled_as_a_text() -> None:
    from generalise_data import shuffled

    before = [
        example(n, f"후기 {n}", choices=("만족", "불만"), answer_index=n % 2, template="r") for n in range(6)
    ]
    after = shuffled(before, 0)
    assert {answer_of(one) for one in after} == {answer_of(one) for one in before}
    assert all(answer_of(old) != answer_of(new) for old, new in zip(before, after, strict=True))


@pytest.mark.parametrize(
    ("prompt", "order"),
    [
        ("다음 두 문장의 뜻이 같은지 판단해 주세요.\n\n{{ first }}\n{{ second }}", "first"),
        ("{{ first }}\n{{ second }}\n\n위의 두 문장은 뜻이 같은가요, 다른가요?", "last"),
        ("문장: {{ first }}\n관계:", ""),
        ("{{ first }}\n\n위의 문장을 아래의 문장과 견주어 답해 주세요.\n\n{{ second }}", ""),
        ("예와 아니요 가운데 하나로만 답해 주세요.", ""),
    ],
)
def test_order_is_where_the_instruction_stands(prompt: str, order: str) -> None:
    from generalise_data import order_of

    template = Template(id="x", kind="plain", prompt=prompt, answer="예")
    assert order_of(template, ["first", "second"]) == order


@pytest.mark.realdata
def test_each_row_is_asked_in_both_orders(realdata: Path) -> None:
    from generalise_data import evaluation_examples, order_of

    found = evaluation_examples("klue-nli.label", 5)
    assert [one.id.rpartition("#")[2] for one in found] == ["first", "last"] * 5
    assert len({one.group for one in found}) == 5
    task = load_task("klue-nli.label")
    templates = {template.id: template for template in task.templates}
    read = read_rows(task.rows_from, task.evaluation_split(resplit=True), resplit=True)
    rows = {f"{task.name}:{row['id']}": row for row in read if not isinstance(row, Rejected)}
    for one in found:
        template = templates[one.template]
        assert order_of(template, task.input) == one.id.rpartition("#")[2]
        assert render(task, rows[one.group], 0, template=template).messages == one.messages


def scored(task: str, number: int, right: bool, chosen: str) -> dict[str, Any]:
    score = {"value": float(right), "expected": "예", "chosen": chosen}
    return {
        "panel": "p",
        "task": task,
        "id": f"{task}:{number // 2}#{('first', 'last')[number % 2]}",
        "group": f"{task}:{number // 2}",
        "order": ("first", "last")[number % 2],
        "answer": chosen,
        "ended": True,
        "scores": {"accuracy": score, "macro_f1": score},
    }


def test_table_shows_scores_paired_differences_and_what_is_no_choice(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    from generalise import CPU, Condition
    from generalise_table import show

    def result(name: str, rights: int, off: int, seed: int = 0) -> dict[str, Any]:
        families = () if name.startswith("base") else ("a", "b")
        train = {"trained": 9, "steps": 3, "flat_tokens": 1000, "seconds": 2.0} if families else {}
        records = [
            scored(task, n, n < rights, "예" if n < rights else "" if n < rights + off else "아니요")
            for task in ("t", "u")
            for n in range(20)
        ]
        condition = asdict(Condition(name, ("p",), seed, families))
        return {"condition": condition, "train": train, "scored": records, "seconds": 5.0}

    results = [result("base", 4, 16), result("base-5shot", 8, 2), result("format-only", 10, 0)]
    results += [result("all", 14, 0), result("all", 16, 0, seed=1)]
    settings = asdict(CPU)
    show(results, settings, 0.0, tmp_path / "t.md", tmp_path / "t.json")
    text = capsys.readouterr().out
    assert text.strip() == (tmp_path / "t.md").read_text(encoding="utf-8").strip()
    assert "ratio p_all_minus_base +0.550" in text
    assert "ratio p_all_minus_base-5shot +0.350" in text
    assert "ratio p_all_minus_format-only +0.250" in text
    row = next(line for line in text.splitlines() if line.startswith("| all | 0.750"))
    assert "seeds 0.700 to 0.800" in row
    base = next(line for line in text.splitlines() if line.startswith("| base | 0.200"))
    assert base.split(" | ")[5:8] == ["0.333", "0.200", "0.200"]  # macro F1, a choice, commonest label
    assert "n = 40" in text
