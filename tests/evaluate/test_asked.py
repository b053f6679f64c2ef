"""Rows are chosen as examples would be, in each order of passage and instruction."""

from komt.evaluate import choose_examples
from komt.evaluate.asked import ORDERS, Asking
from komt.mix import examples_of
from komt.tasks import load_task


def test_rows_are_chosen_as_whole_splits_of_examples_would_be():
    for name in ("sample.qa", "sample.sentiment"):
        task = load_task(name)
        [asked] = Asking(limit=7).ask(task)
        assert asked.examples == choose_examples(examples_of(task, "test", 0), 7)
        assert (asked.limited, asked.split, asked.order, len(asked.inputs)) == (True, "test", "", 7)
    [all_rows] = Asking(limit=15).ask(load_task("sample.sentiment"))
    assert not all_rows.limited


def test_both_orders_ask_the_same_rows():
    first, second = Asking(limit=6).ask(load_task("sample.qa"), ORDERS)
    assert [one.id for one in first.examples] == [one.id for one in second.examples]
    assert {one.kind for one in first.examples} == {"passage_first"}
    assert {one.kind for one in second.examples} == {"instruction_first"}
    assert (first.order, second.order) == ("passage_first", "instruction_first")
    [only] = Asking(limit=6).ask(load_task("sample.sentiment"), ORDERS)  # it has no passage
    assert only.order == ""


def test_shots_come_from_the_training_rows():
    [asked] = Asking(limit=2, shots=2).ask(load_task("sample.sentiment"))
    assert [shot.split for shot in asked.shots] == ["train", "train"]
