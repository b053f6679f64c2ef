"""What happens in the compare tab: a round is a question, two answers in random order, a vote."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from komt.korean import nfc
from komt.web.answering import Answer, write_all
from komt.web.client import Api, ApiFault, Ask
from komt.web.markdown import shown
from komt.web.text import Words
from komt.web.votes import append_vote, tally

if TYPE_CHECKING:
    from komt.web.compare import CompareParts

Changes = dict[Any, Any]
# prompt; models, answers, and whether they were cut, in the order shown.
Round = dict[str, Any]


class CompareEvents:
    """The events of the compare tab.

    Args:
        words: of the page's language.
        api: what answers; None where no model is connected.
        votes: the file of preference rows.
        parts: the components that are changed.
    """

    def __init__(self, words: Words, api: Api | None, votes: Path, parts: CompareParts) -> None:
        self.words, self.api, self.votes, self.parts = words, api, votes, parts
        self._order = random.SystemRandom()
        self._stops: dict[str, asyncio.Event] = {}

    async def opened(self, first: str | None, second: str | None) -> Changes:
        """The tab was opened: the models are listed; those that were chosen stay, else the first two."""
        if not self.api:
            return self._alert(self.words("fault.no_model"))
        try:
            names, chosen = await self._models(self.api, first, second)
        except ApiFault as fault:
            return self._alert(self.words.fault(fault, self.api.address))
        pairs = zip(self.parts.models, chosen, strict=True)
        listed = {part: gr.Dropdown(names, value=one) for part, one in pairs}
        return listed | self._alert(self.words("compare.one_model") if len(names) < 2 else "")

    async def _models(
        self, api: Api, first: str | None, second: str | None
    ) -> tuple[list[str], list[str | None]]:
        """The models there are, and two of them: those that were chosen, else the first two."""
        names = await api.models()
        usual: list[str | None] = [*names, None, None][:2]
        chosen = [one if one in names else other for one, other in zip((first, second), usual, strict=True)]
        return names, usual if chosen[0] == chosen[1] else chosen

    async def send(
        self,
        text: str,
        first: str | None,
        second: str | None,
        temperature: float,
        max_tokens: int,
        request: gr.Request,
    ) -> AsyncIterator[Changes]:
        """A question was sent: both models answer it, in an order drawn anew."""
        prompt = nfc(text).strip()
        if not prompt:
            yield {self.parts.box: gr.skip()}
            return
        if self.api and not (first and second):
            # Asked before the tab knew its models.
            try:
                _, (first, second) = await self._models(self.api, first, second)
            except ApiFault as fault:
                yield self._alert(self.words.fault(fault, self.api.address))
                return
        if not self.api or not first or not second or first == second:
            key = "compare.same_model" if first and second else "compare.one_model"
            yield self._alert(self.words(key if self.api else "fault.no_model"))
            return
        models = [first, second]
        self._order.shuffle(models)
        settings = {"temperature": temperature, "max_tokens": int(max_tokens)}
        asks = [Ask(model, [{"role": "user", "content": prompt}], settings) for model in models]
        stop = self._stops[str(request.session_hash)] = asyncio.Event()
        yield self._started(prompt)
        answers: list[Answer] = []
        try:
            async with aclosing(write_all(self.api, asks, stop)) as growing:
                async for answers in growing:
                    yield self._texts(answers)
        finally:
            self._stops.pop(str(request.session_hash), None)
        yield self._ended(prompt, models, answers)

    async def stop(self, request: gr.Request) -> None:
        """Both answers end here."""
        if halted := self._stops.get(str(request.session_hash)):
            halted.set()

    def voting(self, vote: str) -> Callable[[Round | None], Awaitable[Changes]]:
        """The event of one of the buttons."""

        async def voted(round_: Round | None) -> Changes:
            return await asyncio.to_thread(self._voted, vote, round_)

        return voted

    def _voted(self, vote: str, round_: Round | None) -> Changes:
        if not round_:
            return self._alert(self.words("compare.first_vote"))
        words, (first, second) = self.words, round_["models"]
        said = [words("compare.revealed", first=_plain(first), second=_plain(second))]
        if vote not in {"0", "1"}:
            said.append(words("compare.not_kept"))
        elif round_["answers"][0] == round_["answers"][1]:
            said.append(words("compare.equal"))
        elif round_["cut"][int(vote)]:
            said.append(words("compare.cut"))
        else:
            better = int(vote)
            answers = (round_["answers"][better], round_["answers"][1 - better])
            models = (round_["models"][better], round_["models"][1 - better])
            try:
                append_vote(self.votes, round_["prompt"], answers, models)
            except OSError as error:
                why = error.strerror or str(error)
                return self._alert(words("compare.not_written", path=self.votes, why=why))
            said.append(words("compare.kept", path=self.votes))
        return {
            self.parts.round: None,
            self.parts.result: " ".join(said) + self._tally(),
            **self._votable(False),
            **self._alert(""),
        }

    def _started(self, prompt: str) -> Changes:
        parts = self.parts
        waiting = self.words("compare.waiting")
        asked = f"<b>{escape(self.words('compare.question'))}</b> <span>{escape(prompt)}</span>"
        return {
            parts.round: None,
            parts.question: gr.HTML(asked, visible=True),
            **dict.fromkeys(parts.answers, waiting),
            **self._votable(False),
            parts.result: "",
            parts.box: gr.Textbox(value="", submit_btn=False, stop_btn=True),
            **self._alert(""),
        }

    def _texts(self, answers: list[Answer]) -> Changes:
        return {
            part: self._text(answer, "compare.waiting")
            for part, answer in zip(self.parts.answers, answers, strict=True)
        }

    def _text(self, answer: Answer, instead: str) -> str:
        """An answer as Markdown, with a word where it was cut, or something instead of an empty one."""
        if not answer.text:
            return self.words(instead)
        end = f"\n\n*({self.words('chat.ended.length')})*" if answer.ended == "length" else ""
        return shown(answer.text) + end

    def _ended(self, prompt: str, models: list[str], answers: list[Answer]) -> Changes:
        """Both are there to be voted on, or it is said why not; then the question is back in its box."""
        assert self.api
        fault = next((answer.fault for answer in answers if answer.fault), None)
        whole = all(answer.text and answer.ended in {"stop", "length"} for answer in answers)
        alert = ""
        if fault:
            alert = self.words.fault(fault, self.api.address, begun=any(answer.text for answer in answers))
        elif not whole:
            stopped = any(answer.ended == "stopped" for answer in answers)
            alert = self.words("compare.stopped" if stopped else "chat.ended.empty")
        texts, cut = [answer.text for answer in answers], [answer.ended == "length" for answer in answers]
        round_ = {"prompt": prompt, "models": models, "answers": texts, "cut": cut}
        ended = zip(self.parts.answers, answers, strict=True)
        return {
            self.parts.round: round_ if whole else None,
            **{part: self._text(answer, "compare.nothing") for part, answer in ended},
            **self._votable(whole),
            self.parts.box: gr.Textbox(value="" if whole else prompt, submit_btn=True, stop_btn=False),
            **self._alert(alert),
        }

    def _votable(self, now: bool) -> Changes:
        return {button: gr.Button(interactive=now) for button in self.parts.votes}

    def _tally(self) -> str:
        """The table of all votes in the file."""
        words, rows = self.words, tally(self.votes)
        if not rows:
            return ""
        names = ("model", "won", "lost", "share")
        head = [words(f"compare.tally.{name}") for name in names]
        lines = [
            f"| {_plain(model)} | {won:,} | {lost:,} | {won / (won + lost):.0%} |"
            for model, (won, lost) in rows.items()
        ]
        title = words("compare.tally", path=self.votes)
        return "\n".join(["", "", f"**{title}**", "", f"| {' | '.join(head)} |", "|---|--:|--:|--:|", *lines])

    def _alert(self, text: str) -> Changes:
        said = f'<div role="alert">{escape(text)}</div>' if text else ""
        return {self.parts.alert: gr.HTML(said, visible=bool(text))}


def _plain(name: str) -> str:
    """A model's name as Markdown that shows it as it is."""
    return "".join(f"\\{letter}" if letter in "\\`*_{}[]()<>#|!~" else letter for letter in name)
