"""What is asked: the rows of each task that are scored, chosen before they are rendered."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal

from komt.errors import DataError
from komt.evaluate.choose import group_of, place_of
from komt.example import Example
from komt.sources import RESPLIT, Rejected, Source, read_rows
from komt.tasks import Task, UnusableRow, few_shot, input_text, render, shown_groups
from komt.tasks.fields import Row

Order = Literal["", "passage_first", "instruction_first"]
ORDERS: tuple[Order, ...] = ("passage_first", "instruction_first")


@dataclass(frozen=True, slots=True)
class Asked:
    """The examples of a task that are scored.

    Attributes:
        task: with the phrasings of `order` only; whole: with all of them.
        split: where the rows come from.
        order: "" where phrasings are mixed, or the task has no passage to stand first.
        examples: in the order of `choose.choose_examples`.
        inputs: what each row asks, without the phrasing.
        shots: solved examples shown before each.
        limit: the most rows wanted, or None; limited: whether there are more of them.
        seed: of phrasings and shots.
        rows: each example's row, by which it can be phrased otherwise.
        left_out: of the rows that were looked at, how many cannot be used, by reason.
    """

    task: Task
    whole: Task
    split: str
    order: Order
    examples: list[Example]
    inputs: list[str]
    shots: list[Example] = field(default_factory=list)
    limit: int | None = None
    limited: bool = False
    seed: int = 0
    rows: list[Row] = field(default_factory=list)
    left_out: dict[str, int] = field(default_factory=dict)

    @property
    def resplit(self) -> bool:
        """Whether the rows are of a redivided evaluation set."""
        return self.split == RESPLIT


class Asking:
    """Chooses and renders rows; each split of a source is read once, however many tasks ask about it.

    Args:
        limit: the most rows of each task, or None.
        shots: solved examples shown before each.
        seed: of phrasings and shots.
        split: instead of the tasks' own evaluation splits.
        resplit: whether official sets are redivided where there is no train file.
    """

    def __init__(
        self,
        *,
        limit: int | None = None,
        shots: int = 0,
        seed: int = 0,
        split: str = "",
        resplit: bool = False,
    ) -> None:
        self._limit, self._shots, self._seed = limit, shots, seed
        self._split, self._resplit = split, resplit
        self._read: tuple[tuple[Source | None, str], list[Row | Rejected]] = (None, ""), []

    def ask(self, task: Task, orders: Iterable[Order] = ("",)) -> Iterator[Asked]:
        """The rows of a task, in each order of passage and instruction that is wanted and that it has.

        Raises:
            DataError: rows that are not here, none that is usable, or too few to show.
        """
        split = self._split or task.evaluation_split(self._resplit)
        rows = self._rows(task, split)
        shots = few_shot(task, self._shots, self._seed) if self._shots else []
        shown = shown_groups(task, shots, split)
        for order, phrased in _orders(task, orders):
            chosen, limited, left_out = self._choose(phrased, rows, split, shown)
            if not chosen:
                why = ", ".join(f"{reason} {count:,}" for reason, count in left_out.items()) or "it is empty"
                raise DataError(f"the split '{split}' of the task '{task.name}' has no usable row: {why}")
            yield Asked(
                phrased,
                task,
                split,
                order,
                [example for _, example in chosen],
                [input_text(phrased, row) for row, _ in chosen],
                shots,
                self._limit,
                limited,
                self._seed,
                [row for row, _ in chosen],
                left_out,
            )

    def _rows(self, task: Task, split: str) -> list[Row | Rejected]:
        key = task.rows_from, split
        if self._read[0] != key:  # tasks come sorted by source: the last one's rows are enough to keep
            resplit = self._resplit or split == RESPLIT
            self._read = key, list(read_rows(task.rows_from, split, resplit=resplit))
        return self._read[1]

    def _choose(
        self, task: Task, rows: list[Row | Rejected], split: str, shown: frozenset[str]
    ) -> tuple[list[tuple[Row, Example]], bool, dict[str, int]]:
        """Usable rows in their fixed order up to the limit, whether there are more, and what is unusable.

        Rows of the groups that are shown as solved examples are left out as `shown_as_example`.
        """
        source, chosen = task.rows_from, list[tuple[Row, Example]]()
        left_out = Counter(row.reason for row in rows if isinstance(row, Rejected))
        usable = (row for row in rows if not isinstance(row, Rejected))
        for row in sorted(usable, key=lambda row: _place(task, row)):
            try:
                example = render(task, row, self._seed, split=split, source=source)
            except UnusableRow as error:
                left_out[error.reason] += 1
                continue
            if group_of(example) in shown:
                left_out["shown_as_example"] += 1
                continue
            if len(chosen) == self._limit:
                return chosen, True, left_out
            chosen.append((row, example))
        return chosen, False, left_out


def _place(task: Task, row: Row) -> tuple[str, str]:
    """Where `choose_examples` would place the row's example."""
    return place_of(str(row.get(task.group, "")) if task.group else "", f"{task.name}:{row['id']}")


def _orders(task: Task, orders: Iterable[Order]) -> Iterator[tuple[Order, Task]]:
    """A task with the phrasings of each order; as it is, once, where it has not both."""
    if not set(ORDERS) <= set(task.kinds):
        yield "", task
        return
    for order in orders:
        kept = tuple(template for template in task.templates if template.kind == order)
        yield order, task.model_copy(update={"templates": kept}) if order else task
