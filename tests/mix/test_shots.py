from __future__ import annotations

from typing import SupportsIndex

from komt.example import Example
from komt.mix.shots import shot_pool, with_shots
from komt.recipe import FewShotPart
from komt.sources import load_source, read_rows
from komt.tasks import load_task, render


class Counted(list[Example]):
    """A pool that counts how often it is asked."""

    asked = 0

    def __getitem__(self, place: SupportsIndex) -> Example:  # type: ignore[override]
        self.asked += 1
        return super().__getitem__(place)


def test_any_number_of_shots_is_looked_for_only_so_often() -> None:
    task = load_task("sample.sentiment")
    rows = [row for row in read_rows(load_source(task.source), "train") if isinstance(row, dict)]
    example, *others = (render(task, row, 0) for row in rows if row.get("label"))
    pool = Counted(shot_pool(others))
    part = FewShotPart(rate=1.0, shots=10**9, tokens=1500)
    shown = with_shots(example, {example.task: pool}, part, 0)
    assert shown.kind == "few_shot"
    assert sum(len(message.content) for message in shown.messages) <= 1500
    assert 0 < pool.asked <= 4 * 256
