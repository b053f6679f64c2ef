"""Which rows are scored."""

from komt.evaluate import choose_examples
from komt.example import Example, Message


def example_of(number: int, group: str) -> Example:
    names = dict.fromkeys(("task", "family", "source", "licence", "origin", "template"), "t")
    ask = (Message("user", "가"), Message("assistant", "나", supervised=True))
    return Example(id=f"t:{number}", kind="plain", split="test", group=group, messages=ask, **names)


def test_passages_come_whole_and_in_the_same_order_for_everyone():
    rows = [example_of(n, f"p{n % 4}") for n in range(20)]
    chosen = choose_examples(rows, 10)
    assert [row.group for row in chosen] == [chosen[0].group] * 5 + [chosen[5].group] * 5
    assert chosen[0].group != chosen[5].group
    assert choose_examples(rows[::-1], 10) == chosen
    assert choose_examples(rows, 5) == chosen[:5]
    assert len(choose_examples(rows, None)) == 20
