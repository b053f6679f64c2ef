"""Rows are chosen as examples would be, in each order of passage and instruction."""

from komt.evaluate import choose_examples
from komt.evaluate.asked import ORDERS, Asking
from komt.evaluate.choose import group_of
from komt.files import data_root
from komt.mix import examples_of
from komt.sources import RESPLIT
from komt.tasks import load_task, shown_groups


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


def test_what_is_shown_as_an_example_is_not_asked():
    for name in ("sample.sentiment", "sample.qa"):
        task = load_task(name)
        [every], [asked] = Asking(split="train").ask(task), Asking(split="train", shots=2).ask(task)
        shown = {group_of(shot) for shot in asked.shots}
        assert len(shown) == 2
        assert [one.id for one in asked.examples] == [
            one.id for one in every.examples if group_of(one) not in shown
        ]
        assert asked.left_out == {"shown_as_example": len(every.examples) - len(asked.examples)}
        assert shown_groups(task, asked.shots, "test") == frozenset()


def test_a_set_of_which_a_part_serves_as_training_rows_shows_none_that_it_asks():
    """Without the train file examples are shown from a part of the dev set, of which all is asked."""
    train = data_root() / "korquad" / "dataset" / "KorQuAD_v1.0_train.json"
    train.parent.mkdir(parents=True)
    shots = examples_of(load_task("sample.qa"), "test", 0)[:2]
    groups = {group_of(shot) for shot in shots}
    assert shown_groups(load_task("korquad.qa"), shots, "dev") == groups
    assert shown_groups(load_task("korquad.qa"), shots, RESPLIT) == frozenset()
    train.write_text("{}")
    assert shown_groups(load_task("korquad.qa"), shots, "dev") == frozenset()
