"""The compare tab: two models answer side by side, and the reader votes without knowing which is which."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from komt.web.chat import slider
from komt.web.client import Api
from komt.web.compare_events import CompareEvents
from komt.web.events import AT_ONCE, IN_PIECES
from komt.web.text import Words

VOTES = ("0", "1", "same", "neither")


@dataclass(frozen=True)
class CompareParts:
    """The components of the tab that events read or change."""

    round: Any
    alert: Any
    question: Any
    answers: tuple[Any, Any]
    votes: tuple[Any, ...]
    result: Any
    box: Any
    models: tuple[Any, Any]
    settings: tuple[Any, Any]


def compare_tab(tab: Any, words: Words, api: Api | None, votes: Path) -> None:
    """Fill the compare tab of the page that is being built; votes go to the file `votes`."""
    # Which model is which stays on the server until the vote: gr.State never reaches the browser.
    state = gr.State(None)
    gr.Markdown(words("compare.intro"))
    box = gr.Textbox(
        label=words("compare.box"),
        show_label=False,
        placeholder=words("compare.placeholder"),
        lines=1,
        max_lines=8,
        submit_btn=True,
        stop_btn=False,
        elem_id="compare-box",
    )
    alert = gr.HTML("", visible=False)
    question = gr.HTML("", visible=False, elem_id="compare-question")
    with gr.Row():
        answers = (_answer(words, 1), _answer(words, 2))
    with gr.Row(elem_classes="tight votes"):
        buttons = tuple(
            gr.Button(words(f"compare.vote.{vote}"), interactive=False, min_width=120) for vote in VOTES
        )
    result = gr.Markdown("", elem_id="compare-result")
    models, settings = _choices(words)
    parts = CompareParts(state, alert, question, answers, buttons, result, box, models, settings)
    _wire(tab, parts, CompareEvents(words, api, votes, parts))


def _choices(words: Words) -> tuple[tuple[Any, Any], tuple[Any, Any]]:
    with gr.Accordion(words("compare.models"), open=False, elem_id="compare-models"):
        with gr.Row():
            first = gr.Dropdown([], label=words("compare.first"), interactive=True, elem_id="compare-first")
            second = gr.Dropdown(
                [], label=words("compare.second"), interactive=True, elem_id="compare-second"
            )
        with gr.Row():
            temperature, longest = slider(words, "temperature"), slider(words, "max_tokens")
    return (first, second), (temperature, longest)


def _answer(words: Words, number: int) -> Any:
    with gr.Column(min_width=280, elem_classes="answer"):
        gr.HTML(f"<h2>{words('compare.answer', number=number)}</h2>")
        return gr.Markdown(
            words("compare.nothing"), min_height=100, line_breaks=True, buttons=[], elem_id=f"answer-{number}"
        )


def _wire(tab: Any, parts: CompareParts, events: CompareEvents) -> None:
    shown = [
        parts.round,
        parts.alert,
        parts.question,
        *parts.answers,
        *parts.votes,
        parts.result,
        parts.box,
        *parts.models,
    ]
    asked = [parts.box, *parts.models, *parts.settings]
    parts.box.submit(events.send, asked, shown, **IN_PIECES)
    parts.box.stop(events.stop, None, None, **AT_ONCE)
    for vote, button in zip(VOTES, parts.votes, strict=True):
        button.click(events.voting(vote), [parts.round], shown, **AT_ONCE)
    tab.select(events.opened, list(parts.models), shown, **AT_ONCE)
