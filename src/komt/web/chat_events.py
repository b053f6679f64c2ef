"""What happens in the chat tab: each event takes what the browser keeps and gives what is shown."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from html import escape
from typing import TYPE_CHECKING, Any

import gradio as gr

from komt.web import conversation as talks
from komt.web.answering import Answer, write
from komt.web.client import Api, ApiFault, Ask
from komt.web.markdown import as_written, shown
from komt.web.settings import DEFAULTS, request_settings
from komt.web.text import Words

if TYPE_CHECKING:
    from komt.web.chat import ChatParts

Changes = dict[Any, Any]


class ChatEvents:
    """The events of the chat tab.

    Args:
        words: of the page's language.
        api: what answers; None where no model is connected.
        parts: the components that are changed.
    """

    def __init__(self, words: Words, api: Api | None, parts: ChatParts) -> None:
        self.words, self.api, self.parts = words, api, parts
        self._stops: dict[str, asyncio.Event] = {}

    async def opened(self, store: Any) -> Changes:
        """The page was opened: what the browser kept is shown, with the models there are."""
        kept = talks.opened(store)
        return self._shown(kept) | await self._models(talks.current(kept)["model"])

    async def refresh(self, model: str | None) -> Changes:
        """The list of models, anew."""
        return self._alert("") | await self._models(model or "")

    async def send(
        self, request: gr.Request, text: str, store: Any, model: str | None, system: str, *settings: Any
    ) -> AsyncIterator[Changes]:
        """A question was sent."""
        if not text.strip():
            yield {self.parts.box: gr.skip()}
            return
        kept = talks.opened(store)
        talk = talks.asked(self._talk(kept, model, system, settings), text)
        if not talks.fits(talk):
            yield self._alert(self.words("chat.too_big"))
            return
        yield {self.parts.box: ""}
        async for changes in self._answered(kept, talk, request):
            yield changes

    async def again(
        self, request: gr.Request, store: Any, model: str | None, system: str, *settings: Any
    ) -> AsyncIterator[Changes]:
        """Another answer to the last question."""
        kept = talks.opened(store)
        talk = talks.cut_before_answer(self._talk(kept, model, system, settings))
        async for changes in self._answered(kept, talk, request, again=True):
            yield changes

    async def edit(
        self,
        request: gr.Request,
        change: gr.EditData,
        store: Any,
        model: str | None,
        system: str,
        *settings: Any,
    ) -> AsyncIterator[Changes]:
        """A turn was edited: a question is asked anew, an answer just stands as it was edited."""
        place = change.index if isinstance(change.index, int) else change.index[0]
        kept, text = talks.opened(store), _text_of(change.value)
        talk = talks.edited(self._talk(kept, model, system, settings), place, text)
        if not text.strip() or not talks.fits(talk):
            yield self._shown(kept) | self._alert(self.words("chat.too_big") if text.strip() else "")
        elif talk["messages"] and talk["messages"][-1]["role"] == "user":
            async for changes in self._answered(kept, talk, request):
                yield changes
        else:
            yield self._shown(talks.with_talk(kept, talk), settings=False) | self._told("chat.edited")

    async def example(
        self,
        request: gr.Request,
        chosen: gr.SelectData,
        store: Any,
        model: str | None,
        system: str,
        *settings: Any,
    ) -> AsyncIterator[Changes]:
        """One of the questions that stand in an empty conversation was clicked."""
        async for changes in self.send(request, chosen.value["text"], store, model, system, *settings):
            yield changes

    async def stop(self, request: gr.Request) -> None:
        """The answer that is being written ends here."""
        if halted := self._stops.get(str(request.session_hash)):
            halted.set()

    def new(self, store: Any) -> Changes:
        """An empty conversation, with the settings of the one before."""
        return self._shown(talks.started(talks.opened(store)))

    def delete(self, sure: str, store: Any, request: gr.Request) -> Changes:
        """The conversation that is shown goes, where the person is sure and no answer is being written."""
        if not sure or str(request.session_hash) in self._stops:
            return {self.parts.box: gr.skip()}
        return self._shown(talks.without_current(talks.opened(store)))

    def clear(self, sure: str, store: Any, request: gr.Request) -> Changes:
        """As `delete`, by the button that has emptied the page already."""
        if sure:
            return self.delete(sure, store, request)
        return {self.parts.chatbot: _turns(talks.current(talks.opened(store))["messages"])}

    def select(self, name: str | None, store: Any) -> Changes:
        """Another conversation is shown."""
        return self._shown(talks.selected(talks.opened(store), name or ""))

    def bring(self, text: str | None, store: Any) -> Changes:
        """A file was chosen to be imported; None where the person thought better of it."""
        kept = talks.opened(store)
        if text is None:
            return {self.parts.box: gr.skip()}
        try:
            talk = talks.imported(text)
        except talks.NotAConversation as error:
            return self._alert(self.words(str(error))) | self._told("chat.keys")
        now = talks.current(kept)
        more = talks.with_talk(kept, {**talk, "model": talk["model"] or now["model"]})
        return self._shown(more) | self._told("import.done") | self._gone(kept, more)

    def defaults(self) -> list[float | int | None]:
        """The settings as they were at first."""
        return list(DEFAULTS.values())

    async def _answered(
        self, before: talks.Store, talk: talks.Talk, request: gr.Request, *, again: bool = False
    ) -> AsyncIterator[Changes]:
        """The conversation with the answer to its last question, while it is written."""
        if self.api and not talk["model"]:
            talk = {**talk, "model": await self._first_model(self.api)}
        if not self.api or not talk["messages"]:
            yield self._undone(before, talk, again) | self._alert(self.words("fault.no_model"))
            return
        session, stop = str(request.session_hash), asyncio.Event()
        self._stops[session] = stop
        ask = Ask(talk["model"], talks.request_messages(talk), request_settings(talk["settings"]))
        asked = self._shown(talks.with_talk(before, talk), settings=False, writing=True)
        yield asked | self._writing(True) | self._told("chat.waiting")
        answer = Answer()
        try:
            async with aclosing(write(self.api, ask, stop)) as growing:
                async for answer in growing:
                    turns = [*talk["messages"], {"role": "assistant", "content": answer.text}]
                    if answer.text and not answer.ended:
                        told = self._while_writing(answer)
                        yield {self.parts.chatbot: _turns(turns), self.parts.counts: told}
        finally:
            self._stops.pop(session, None)
        yield self._ended(before, talk, answer, again)

    def _ended(self, before: talks.Store, talk: talks.Talk, answer: Answer, again: bool) -> Changes:
        """The answer is there, or what became of it."""
        fault = answer.fault
        refused = fault is not None and fault.kind in {"refused", "too_long"}
        told: Changes = {}
        if fault:
            said = self.words.fault(fault, self._address, begun=bool(answer.text))
            told = self._alert(said, retry=not refused)
        if fault and not answer.text and (refused or again):
            return self._writing(False) | self._undone(before, talk, again) | told
        done = talks.with_talk(before, talks.answered(talk, {"model": talk["model"], **answer.as_turn()}))
        counts = {self.parts.counts: self._counts(answer.as_turn())}
        shown = self._shown(done, settings=False) | self._writing(False) | counts
        return shown | (told or self._gone(before, done))

    def _undone(self, before: talks.Store, talk: talks.Talk, again: bool) -> Changes:
        """Nothing came of a question: the conversation is as it was, and the question back in its box."""
        shown = self._shown(before, settings=False)
        if again or not talk["messages"]:
            return shown
        question = talk["messages"][-1]["content"]
        return shown | {self.parts.box: gr.Textbox(question, submit_btn=True, stop_btn=False)}

    @property
    def _address(self) -> str:
        return self.api.address if self.api else ""

    def _gone(self, before: talks.Store, after: talks.Store) -> Changes:
        """It is told when older conversations had to go."""
        left = {talk["id"] for talk in after["conversations"]}
        gone = sum(talk["id"] not in left for talk in before["conversations"])
        return self._alert(self.words("chat.gone", n=gone)) if gone else {}

    def _talk(
        self, store: talks.Store, model: str | None, system: str, settings: tuple[Any, ...]
    ) -> talks.Talk:
        named = {name: value for name, value in zip(DEFAULTS, settings, strict=True) if value is not None}
        return {
            **talks.current(store),
            "model": model or "",
            "system": system or "",
            "settings": named,
        }

    def _shown(self, store: talks.Store, *, settings: bool = True, writing: bool = False) -> Changes:
        """What follows from the store: the conversation, the list, and (else left alone) its settings."""
        parts, talk = self.parts, talks.current(store)
        choices = [(one["title"] or self.words("chat.untitled"), one["id"]) for one in store["conversations"]]
        last = talk["messages"][-1] if talk["messages"] else {}
        changes: Changes = {
            parts.store: store,
            parts.chatbot: _turns(talk["messages"]),
            parts.talks: gr.Radio(choices, value=talk["id"], interactive=not writing),
            parts.counts: self._counts(last) if last.get("role") == "assistant" else self.words("chat.keys"),
            **self._alert(""),
        }
        if settings:
            kept = {**DEFAULTS, **talk["settings"]}
            changes |= {part: kept[name] for part, name in zip(parts.settings, DEFAULTS, strict=True)}
            changes[parts.system] = talk["system"]
            if talk["model"]:
                changes[parts.model] = talk["model"]
        return changes

    def _writing(self, now: bool) -> Changes:
        """What may be clicked while an answer is written."""
        quiet = {
            self.parts.buttons[name]: gr.Button(interactive=not now) for name in ("new", "delete", "import")
        }
        return {**quiet, self.parts.box: gr.Textbox(submit_btn=not now, stop_btn=now)}

    async def _models(self, wanted: str) -> Changes:
        """The list of models; the one wanted is chosen, or the first: before a base comes what was tuned."""
        if not self.api:
            return self._alert(self.words("fault.no_model"))
        try:
            names = await self.api.models()
        except ApiFault as fault:
            return self._alert(self.words.fault(fault, self._address))
        if not names:
            return self._alert(self.words("fault.no_models"))
        return {self.parts.model: gr.Dropdown(names, value=wanted if wanted in names else names[0])}

    async def _first_model(self, api: Api) -> str:
        """For a question that was sent before the list of models was there; "" where there is none."""
        try:
            return next(iter(await api.models()), "")
        except ApiFault:
            return ""  # The question itself will tell what is wrong.

    def _told(self, key: str) -> Changes:
        return {self.parts.counts: self.words(key)}

    def _alert(self, text: str, *, retry: bool = False) -> Changes:
        said = f'<div role="alert">{escape(text)}</div>' if text else ""
        return {
            self.parts.alert: gr.HTML(said, visible=bool(text)),
            self.parts.retry: gr.Button(visible=retry),
        }

    def _while_writing(self, answer: Answer) -> str:
        written = self.words("chat.writing", tokens=answer.pieces)
        return f"{written} · {self.words('chat.speed', speed=answer.speed)}" if answer.speed else written

    def _counts(self, turn: talks.Turn) -> str:
        """What an answer took, in a line."""
        words, line = self.words, []
        if not turn["content"]:
            if turn.get("ended") in {"stop", "length"}:
                line.append(words("chat.ended.empty"))
        elif "tokens" in turn:
            line.append(words("chat.counts", prompt=turn.get("prompt_tokens", 0), tokens=turn["tokens"]))
        elif "pieces" in turn:
            line.append(words("chat.counted", tokens=turn["pieces"]))
        if turn.get("speed"):
            line.append(words("chat.speed", speed=turn["speed"]))
        if turn.get("first_s"):
            line.append(words("chat.first", first=turn["first_s"]))
        if turn.get("ended") in {"length", "stopped", "fault"}:
            line.append(words(f"chat.ended.{turn['ended']}"))
        return " · ".join(line)


def _turns(messages: list[talks.Turn]) -> list[dict[str, Any]]:
    """What the chatbot shows."""
    return [{"role": turn["role"], "content": shown(turn["content"])} for turn in messages]


def _text_of(value: Any) -> str:
    """The text of an edited turn, however the page sends it."""
    if isinstance(value, list):
        return "".join(_text_of(part) for part in value)
    return as_written(str(value.get("text", "") if isinstance(value, dict) else value))
