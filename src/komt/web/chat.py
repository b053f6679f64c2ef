"""The chat tab: what stands where, and what happens on which click."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from komt.web.chat_events import ChatEvents
from komt.web.client import Api
from komt.web.events import AT_ONCE, IN_PIECES
from komt.web.settings import RANGES
from komt.web.text import Words

STORE_KEY = "komt-chat"


@dataclass(frozen=True)
class ChatParts:
    """The components of the tab that events read or change."""

    store: Any
    chatbot: Any
    box: Any
    alert: Any
    retry: Any
    counts: Any
    model: Any
    talks: Any
    system: Any
    settings: tuple[Any, ...]
    buttons: dict[str, Any]


def chat_tab(page: gr.Blocks, words: Words, api: Api | None, llama_page: str = "") -> None:
    """Fill the chat tab of the page that is being built; `llama_page` is where llama.cpp's own page is."""
    # The key must be the same after a restart, or the history would be lost; it hides nothing from the person
    # whose browser it is.
    store = gr.BrowserState(None, storage_key=STORE_KEY, secret=STORE_KEY)
    with gr.Row(elem_classes="chat-row"):
        with gr.Column(scale=5, min_width=320):
            main = _conversation(words)
        with gr.Column(scale=2, min_width=280, elem_classes="side"):
            side = _side(words, llama_page)
    parts = ChatParts(store=store, **main, **side)
    _wire(page, parts, ChatEvents(words, api, parts))


def _conversation(words: Words) -> dict[str, Any]:
    examples = [{"text": words(f"chat.example.{number}")} for number in (1, 2, 3)]
    chatbot = gr.Chatbot(
        label=words("chat.label"),
        show_label=False,
        height="62vh",
        min_height=320,
        editable="all",
        buttons=["copy"],
        placeholder=words("chat.empty"),
        examples=examples,
        allow_tags=False,
        elem_id="chat",
    )
    with gr.Row(elem_classes="alert-row"):
        alert = gr.HTML("", visible=False, elem_id="alert")
        retry = gr.Button(
            words("chat.retry"), variant="primary", size="sm", visible=False, min_width=110, scale=0
        )
    box = gr.Textbox(
        label=words("chat.box"),
        show_label=False,
        placeholder=words("chat.placeholder"),
        lines=1,
        max_lines=8,
        submit_btn=True,
        stop_btn=False,
        autofocus=True,
        elem_id="box",
        html_attributes=gr.InputHTMLAttributes(enterkeyhint="send", autocorrect="off"),
    )
    counts = gr.HTML(words("chat.keys"), elem_id="counts")
    return {"chatbot": chatbot, "alert": alert, "retry": retry, "box": box, "counts": counts}


def _side(words: Words, llama_page: str) -> dict[str, Any]:
    buttons: dict[str, Any] = {}
    with gr.Row(elem_classes="tight"):
        model = gr.Dropdown([], label=words("chat.model"), interactive=True, elem_id="model", min_width=160)
        buttons["refresh"] = gr.Button("↻", size="sm", scale=0, min_width=44, elem_id="refresh")
    if llama_page:
        link = f'<a href="{escape(llama_page)}" target="_blank" rel="noopener">{words("chat.llama")} ↗</a>'
        gr.HTML(f"<p>{link}<small>{words('chat.llama.key')}</small></p>", elem_id="llama-page")
    with gr.Accordion(words("chat.talks"), open=True):
        with gr.Row(elem_classes="tight"):
            for name in ("new", "delete", "export", "import"):
                buttons[name] = gr.Button(
                    words(f"chat.{name}"), size="sm", min_width=64, elem_id=f"talk-{name}"
                )
        talks = gr.Radio(
            [], label=words("chat.talks.info"), interactive=True, elem_id="talks", elem_classes="talks"
        )
        buttons["picked"] = gr.Textbox(visible=False)
    with gr.Accordion(words("chat.settings"), open=False, elem_id="settings"):
        system = gr.Textbox(
            label=words("chat.system"),
            info=words("chat.system.info"),
            placeholder=words("chat.system.placeholder"),
            lines=3,
            max_lines=10,
            elem_id="system",
        )
        settings = _settings(words)
        buttons["defaults"] = gr.Button(words("chat.defaults"), size="sm")
    return {"model": model, "talks": talks, "system": system, "settings": settings, "buttons": buttons}


def slider(words: Words, name: str, **more: Any) -> Any:
    """The slider of a setting, with what it does."""
    low, high, step, default = dataclasses.astuple(RANGES[name])
    label, info = words(f"chat.{name}"), words(f"chat.{name}.info")
    return gr.Slider(low, high, value=default, step=step, label=label, info=info, **more)


def _settings(words: Words) -> tuple[Any, ...]:
    sliders = [slider(words, name, elem_id=f"setting-{name}") for name in RANGES]
    seed = gr.Number(
        None,
        label=words("chat.seed"),
        info=words("chat.seed.info"),
        precision=0,
        minimum=0,
        elem_id="setting-seed",
    )
    return (*sliders, seed)


def _wire(page: gr.Blocks, parts: ChatParts, events: ChatEvents) -> None:
    asked = [parts.store, parts.model, parts.system, *parts.settings]
    shown = [
        parts.store,
        parts.chatbot,
        parts.box,
        parts.alert,
        parts.retry,
        parts.counts,
        parts.talks,
        *(parts.buttons[name] for name in ("new", "delete", "import")),
    ]
    parts.box.submit(events.send, [parts.box, *asked], shown, **IN_PIECES)
    gr.on([parts.retry.click, parts.chatbot.retry], events.again, asked, shown, **IN_PIECES)
    parts.chatbot.edit(events.edit, asked, shown, **IN_PIECES)
    parts.chatbot.example_select(events.example, asked, shown, **IN_PIECES)
    parts.box.stop(events.stop, None, None, **AT_ONCE)

    whole = [*shown, parts.model, parts.system, *parts.settings]
    _wire_list(parts, events, whole)
    refreshed = [parts.model, parts.alert, parts.retry]
    parts.buttons["refresh"].click(events.refresh, [parts.model], refreshed, **AT_ONCE)
    parts.buttons["defaults"].click(events.defaults, None, list(parts.settings), **AT_ONCE)
    parts.store.change(None, [parts.store], None, js=_script("changed"), **AT_ONCE)
    page.load(events.opened, [parts.store], whole, **AT_ONCE)


def _wire_list(parts: ChatParts, events: ChatEvents, whole: list[Any]) -> None:
    """The list of conversations: new, chosen, deleted, exported, imported."""
    scripts = {name: _script(name) for name in ("delete", "export", "import")}
    scripts["delete"] = scripts["delete"].replace("QUESTION", json.dumps(events.words("chat.delete.sure")))
    buttons, picked = parts.buttons, [parts.buttons["picked"], parts.store]
    buttons["new"].click(events.new, [parts.store], whole, **AT_ONCE)
    parts.talks.input(events.select, [parts.talks, parts.store], whole, **AT_ONCE)
    # Whoever was not sure may click again at once.
    again: dict[str, Any] = {"js": scripts["delete"], "trigger_mode": "multiple", **AT_ONCE}
    buttons["delete"].click(events.delete, picked, whole, **again)
    parts.chatbot.clear(events.clear, picked, whole, **again)
    buttons["export"].click(None, [parts.store], None, js=scripts["export"], **AT_ONCE)
    buttons["import"].click(events.bring, picked, whole, js=scripts["import"], **AT_ONCE)


def _script(name: str) -> str:
    return Path(__file__).with_name(f"{name}.js").read_text(encoding="utf-8")
