"""The training tab: curves, held-out figures and live samples of a run, drawn anew while it goes on."""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import gradio as gr

from komt.report.curves import Curve, plot, smoothed, spark
from komt.web.events import AT_ONCE
from komt.web.html import alert, render, told
from komt.web.runs import BROKEN, Runs, Stamp, Unreadable, stamp
from komt.web.text import Words
from komt.web.training_beside import HELD_OUT, SAMPLES, beside, held_out_plots, held_out_rows, samples

Changes = dict[Any, Any]
Line = dict[str, Any]
_EVERY_S = 2.0
_QUIET_S = 180.0
_TABLE_STEPS = 12
_KEYS = ("step", "time", "loss", "lr", "examples_s")


def training_tab(tab: Any, words: Words, runs: Runs) -> Any:
    """Fill the training tab of the page that is being built; its timer is for the page to start."""
    with gr.Row(elem_classes="tight"):
        run = gr.Dropdown([], label=words("training.run"), interactive=True, elem_id="training-run", scale=4)
        refresh = gr.Button(words("runs.refresh"), size="sm", scale=0, min_width=96)
    message = gr.HTML("", elem_classes="told")
    drawn = gr.HTML("", elem_id="training-drawn")
    seen = gr.State(None)
    timer = gr.Timer(_EVERY_S, active=False)
    events = TrainingEvents(words, runs, (run, message, drawn, seen))
    for trigger in (tab.select, refresh.click):
        trigger(events.opened, [run], [run, message, drawn, seen], **AT_ONCE)
    run.input(events.chosen, [run], [message, drawn, seen], **AT_ONCE)
    timer.tick(events.ticked, [run, seen], [message, drawn, seen], **AT_ONCE)
    return timer


def drawn_anew(words: Words) -> Callable[[gr.SelectData], Any]:
    """The event of a tab's choice, by which the timer runs while the training tab is shown."""

    def chosen(tab: gr.SelectData) -> Any:
        return gr.Timer(active=tab.value == words("tab.training"))

    return chosen


class TrainingEvents:
    """The events of the training tab.

    Args:
        words: of the page's language; runs: what may be shown.
        parts: the dropdown of runs, the message, the drawing, and the state of the log that was drawn.
    """

    def __init__(self, words: Words, runs: Runs, parts: tuple[Any, ...]) -> None:
        self.words, self.runs = words, runs
        self.run, self.message, self.drawn, self.seen = parts

    async def opened(self, name: str | None) -> Changes:
        """The tab was opened: the list of runs is looked up again."""
        names = await asyncio.to_thread(self.runs.names, "training")
        if not names:
            nothing = alert(self.words("runs.none.training", root=self.runs.root))
            return {self.run: gr.Dropdown([], value=None), self.message: nothing}
        chosen = name if name in names else names[0]
        return {self.run: gr.Dropdown(names, value=chosen)} | await self.chosen(chosen)

    async def chosen(self, name: str | None) -> Changes:
        """A run was chosen."""
        return await asyncio.to_thread(self._drawn, name, None)

    async def ticked(self, name: str | None, seen: tuple[int, ...] | None) -> Changes:
        """Two seconds went by: drawn anew only where a file has grown, or the minute has changed."""
        if not name:
            return {self.seen: gr.skip()}
        return await asyncio.to_thread(self._drawn, name, seen)

    def _drawn(self, name: str | None, seen: tuple[int, ...] | None) -> Changes:
        try:
            file = stamp(self.runs.file(name, "training"))
            done = file.path.with_name("train.json").is_file()
            others = [
                one.size_bytes if one else -1 for n in (HELD_OUT, SAMPLES) for one in [beside(file.path, n)]
            ]
            now = (file.time_ns, file.size_bytes, *others, -1 if done else int(_age_s(file) // 60))
            if now == (tuple(seen) if seen else None):
                return {self.seen: gr.skip()}
            html = drawing(self.words, file, done=done)
        except Unreadable as error:
            return {self.message: told(self.words, error), self.drawn: "", self.seen: None}
        return {self.message: "", self.drawn: html, self.seen: now}


@lru_cache(maxsize=4)
def read_log(file: Stamp) -> list[Line]:
    """The whole lines of a training log; one that is still being written, at the end, is left out.

    Raises:
        Unreadable: another line is none of a training log.
    """
    lines: list[Line] = []
    try:
        texts = file.path.read_text(encoding="utf-8", errors="replace").split("\n")
        for text in texts[:-1]:  # What stands after the last line end is not finished.
            line = json.loads(text)
            by_task = {task: float(loss) for task, loss in line["task_loss"].items()}
            lines.append({key: float(line[key]) for key in _KEYS} | {"task_loss": by_task})
            if not math.isfinite(lines[-1]["step"] + lines[-1]["time"]):  # the loss alone may be no number
                raise ValueError
    except BROKEN as error:
        raise Unreadable("runs.broken", path=file.path.name) from error
    return lines


def drawing(words: Words, file: Stamp, *, done: bool) -> str:
    """Figures, curves and tables of a log.

    Raises:
        Unreadable: it is none.
    """
    lines = read_log(file)
    if not lines:
        return alert(words("training.empty"))
    steps = [line["step"] for line in lines]
    half_life = max(1.0, len(lines) / 30)
    losses = [line["loss"] for line in lines]
    rates, speeds = [line["lr"] for line in lines], [line["examples_s"] for line in lines]
    loss = [Curve(steps, losses, "faint"), Curve(steps, smoothed(losses, half_life), "strong")]
    return render(
        "training",
        words,
        state=_state(words, file, done),
        last=lines[-1],
        elapsed=_clock(lines[-1]["time"] - lines[0]["time"]),
        loss=plot(loss, words("training.loss.title"), words("training.x")),
        others=[
            *held_out_plots(words, file.path),
            (words("training.lr"), plot([Curve(steps, rates)], words("training.lr"), words("training.x"))),
            (
                words("training.speed"),
                plot([Curve(steps, speeds)], words("training.speed"), words("training.x")),
            ),
        ],
        tasks=_tasks(lines, half_life),
        held_out=held_out_rows(words, file.path),
        samples=samples(file.path),
        table=lines[-_TABLE_STEPS:][::-1],
    )


def _tasks(lines: list[Line], half_life: float) -> list[tuple[str, float, float, Any]]:
    """Name, first and present smoothed loss, and a small curve of each task."""
    values: dict[str, list[float]] = {}
    for line in lines:
        for task, loss in line["task_loss"].items():
            values.setdefault(task, []).append(float(loss))
    means = {task: smoothed(losses, min(half_life, len(losses) / 4)) for task, losses in values.items()}
    return [(task, losses[0], losses[-1], spark(losses)) for task, losses in sorted(means.items())]


def _state(words: Words, file: Stamp, done: bool) -> str:
    if done:
        return words("training.state.done")
    age_s = _age_s(file)
    if age_s < _QUIET_S:
        return words("training.state.running")
    return words("training.state.quiet", minutes=int(age_s // 60))


def _age_s(file: Stamp) -> float:
    return max(0.0, time.time() - file.time_ns / 1e9)


def _clock(seconds: float) -> str:
    minutes, second = divmod(int(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}"
