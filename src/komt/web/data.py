"""The data tab: a built data folder at a glance, its examples by task, what was left out and why."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gradio as gr

from komt.korean import nfc
from komt.web import data_view as view
from komt.web.events import AT_ONCE
from komt.web.html import alert, told
from komt.web.runs import Runs, Stamp, Unreadable, stamp
from komt.web.text import Words

Changes = dict[Any, Any]


@dataclass(frozen=True)
class Browser:
    """A list of rows with what chooses among them: a choice, a search, a page."""

    choice: Any
    part: Any
    search: Any
    rows: Any
    start: Any
    position: Any
    before: Any
    after: Any

    def inputs(self, run: Any) -> list[Any]:
        """What a page of rows depends on."""
        return [run, self.choice, self.part, self.search, self.start]

    def outputs(self) -> list[Any]:
        """What a page of rows changes."""
        return [self.rows, self.start, self.position, self.before, self.after]

    def shown(self, page: view.Shown, start: int) -> Changes:
        """A page of rows in its place."""
        return {
            self.rows: page.html,
            self.start: start,
            self.position: page.position,
            self.before: gr.Button(interactive=page.before),
            self.after: gr.Button(interactive=page.after),
        }


def data_tab(tab: Any, words: Words, runs: Runs) -> None:
    """Fill the data tab of the page that is being built."""
    with gr.Row(elem_classes="tight"):
        run = gr.Dropdown([], label=words("data.run"), interactive=True, elem_id="data-run", scale=4)
        refresh = gr.Button(words("runs.refresh"), size="sm", scale=0, min_width=96)
    message = gr.HTML("", elem_classes="told")
    with gr.Tabs():
        with gr.Tab(words("data.tab.overview")):
            overview = gr.HTML("", elem_id="data-overview")
        with gr.Tab(words("data.tab.examples")):
            examples = _browser(words, "examples")
        with gr.Tab(words("data.tab.rejects")):
            totals = gr.HTML("")
            rejects = _browser(words, "rejects")
    events = DataEvents(words, runs, (run, message, overview, totals), examples, rejects)
    whole = [run, message, overview, totals, examples.choice, rejects.choice]
    whole += [*examples.outputs(), *rejects.outputs()]
    tab.select(events.opened, [run], whole, **AT_ONCE)
    refresh.click(events.refreshed, [run], whole, **AT_ONCE)
    run.input(events.chosen, [run], whole, **AT_ONCE)
    for browser, show in ((examples, events.example_page), (rejects, events.reject_page)):
        moves = ((browser.before.click, -view.PAGE_ROWS), (browser.after.click, view.PAGE_ROWS))
        for trigger, step in moves:
            trigger(_moved(show, step), browser.inputs(run), [*browser.outputs(), message], **AT_ONCE)
        changed = [browser.choice.input, browser.search.submit, browser.part.input]
        gr.on(changed, _moved(show, None), browser.inputs(run), [*browser.outputs(), message], **AT_ONCE)


def _browser(words: Words, name: str) -> Browser:
    examples = name == "examples"
    with gr.Row():
        label = words("data.task" if examples else "data.reason")
        choice = gr.Dropdown([], label=label, interactive=True, elem_id=f"{name}-choice", min_width=200)
        parts = [(words(f"data.part.{part}"), part) for part in ("train", "evaluate")]
        part = gr.Radio(parts, value="train", label=words("data.part"), visible=examples, min_width=160)
        placeholder = words("data.search.placeholder")
        search = gr.Textbox(
            label=words("data.search"), placeholder=placeholder, elem_id=f"{name}-search", min_width=160
        )
    rows = gr.HTML("", elem_id=f"{name}-rows")
    start = gr.State(0)
    with gr.Row(elem_classes="pager"):
        before = gr.Button(words("data.previous"), size="sm", interactive=False, min_width=80)
        position = gr.HTML("", elem_classes="position")
        after = gr.Button(words("data.next"), size="sm", interactive=False, min_width=80)
    return Browser(choice, part, search, rows, start, position, before, after)


def _moved(show: Callable[..., Changes], step: int | None) -> Callable[..., Any]:
    """The event of a move by some rows; None goes back to the first."""

    async def event(run: str | None, choice: str | None, part: str, text: str, start: int) -> Changes:
        place = 0 if step is None else max(0, start + step)
        return await asyncio.to_thread(show, run, choice or "", part, nfc(text or "").strip(), place)

    return event


class DataEvents:
    """The events of the data tab.

    Args:
        words: of the page's language; runs: what may be shown.
        parts: the dropdown of runs, the message, the overview, the table of reasons.
        examples, rejects: the two lists of rows.
    """

    def __init__(
        self, words: Words, runs: Runs, parts: tuple[Any, ...], examples: Browser, rejects: Browser
    ) -> None:
        self.words, self.runs = words, runs
        self.run, self.message, self.overview, self.totals = parts
        self.examples, self.rejects = examples, rejects

    async def opened(self, name: str | None) -> Changes:
        """The tab was opened: what is shown already stays as it is."""
        if name:
            return {self.run: gr.Dropdown(await asyncio.to_thread(self.runs.names, "data"), value=name)}
        return await self.refreshed(name)

    async def refreshed(self, name: str | None) -> Changes:
        """The list of data folders is looked up again, and one of them shown."""
        return await asyncio.to_thread(self._opened, name)

    def _opened(self, name: str | None) -> Changes:
        names = self.runs.names("data")
        if not names:
            listed = {self.run: gr.Dropdown([], value=None)}
            return listed | {self.message: alert(self.words("runs.none.data", root=self.runs.root))}
        chosen = name if name in names else names[0]
        return {self.run: gr.Dropdown(names, value=chosen)} | self._chosen(chosen)

    async def chosen(self, name: str | None) -> Changes:
        """A data folder was chosen."""
        return await asyncio.to_thread(self._chosen, name)

    def _chosen(self, name: str | None) -> Changes:
        words = self.words
        try:
            file = stamp(self.runs.file(name, "data"))
            about = view.manifest(file)
            table, reasons = view.reject_totals(words, self._file(name, "rejects"))
            tasks = [(words("data.all_tasks"), "")]
            tasks += [(f"{task} ({n.examples:,})", task) for task, n in about.tasks.items()]
            choices = [(words("data.all_reasons"), "")]
            choices += [(f"{stage}/{reason} ({n:,})", f"{stage}/{reason}") for stage, reason, n in reasons]
            changes: Changes = {
                self.overview: view.overview(words, file),
                self.totals: table,
                self.examples.choice: gr.Dropdown(tasks, value=""),
                self.rejects.choice: gr.Dropdown(choices, value=""),
            }
        except Unreadable as error:
            return {self.message: told(words, error), self.overview: "", self.totals: ""}
        return changes | self.example_page(name, "", "train", "", 0) | self.reject_page(name, "", "", "", 0)

    def example_page(self, name: str | None, task: str, part: str, text: str, start: int) -> Changes:
        """A page of examples."""
        try:
            page = view.examples(self.words, self._file(name, part), task, text, start)
        except Unreadable as error:
            return {self.message: told(self.words, error)}
        return self.examples.shown(page, start) | {self.message: ""}

    def reject_page(self, name: str | None, reason: str, part: str, text: str, start: int) -> Changes:
        """A page of rows that were left out."""
        try:
            page = view.rejects(self.words, self._file(name, "rejects"), reason, text, start)
        except Unreadable as error:
            return {self.message: told(self.words, error)}
        return self.rejects.shown(page, start) | {self.message: ""}

    def _file(self, name: str | None, part: str) -> Stamp:
        """One of the three tables of a data folder."""
        kind = part if part in {"train", "evaluate", "rejects"} else "train"
        return stamp(self.runs.file(name, "data").with_name(f"{kind}.parquet"))
