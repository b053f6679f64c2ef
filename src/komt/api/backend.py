"""What computes answers: one request for one answer in, pieces of it out."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from komt.api.requests import ChatMessage, ChatRequest, CompletionRequest

# A token's log-probability as the API writes it: token, logprob, bytes, top_logprobs.
Logprob = Mapping[str, Any]
# As OpenAI's: a plain completion that names no limit is short.
SHORT_COMPLETION_TOKENS = 16


@dataclass(frozen=True, slots=True)
class Usage:
    """Counts of tokens.

    Attributes:
        prompt_tokens: of the prompt.
        cached_tokens: how many of them were not computed anew.
        completion_tokens: of the answer.
    """

    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int


@dataclass(frozen=True, slots=True)
class Delta:
    """A piece of an answer.

    Attributes:
        text: whole characters.
        more: fields beside the text: `tool_calls`, `reasoning_content`.
        logprobs: of the tokens it covers, where asked for.
        finish: "" until the last piece: stop, length or tool_calls.
        usage: told once, at the end.
    """

    text: str = ""
    more: Mapping[str, Any] | None = None
    logprobs: tuple[Logprob, ...] = ()
    finish: str = ""
    usage: Usage | None = None


@dataclass(frozen=True, slots=True)
class Single:
    """One answer to one prompt.

    Attributes:
        asked: the request it is part of; says how to sample.
        prompt: a conversation, text, or token ids.
        place: which of the request's choices it is, from 0.
    """

    asked: ChatRequest | CompletionRequest
    prompt: Sequence[ChatMessage] | str | Sequence[int]
    place: int

    @property
    def seed(self) -> int | None:
        """The request's seed, another one for each of its choices, or None."""
        return None if self.asked.seed is None else (self.asked.seed + self.place) % (1 << 31)

    @property
    def prompt_field(self) -> str:
        """The field that holds the prompt, for errors."""
        return "messages" if isinstance(self.asked, ChatRequest) else "prompt"


class Backend(Protocol):
    """A model, or several over one base, behind the API."""

    @property
    def engine(self) -> str:
        """What computes: transformers, llama.cpp, …"""

    @property
    def names(self) -> Sequence[str]:
        """The models, as requests name them."""

    @property
    def at_once(self) -> int:
        """How many answers are computed at the same time; others wait."""

    def check(self, asked: ChatRequest | CompletionRequest) -> None:
        """Refuse at once what this engine cannot do.

        Raises:
            ApiError: 400.
        """

    def answer(self, single: Single) -> AsyncGenerator[list[Delta], None]:
        """Pieces of an answer as they come, several together where they are there; closing it stops the work.

        Raises:
            ApiError: the prompt is refused, or the engine is gone.
        """

    async def alive(self) -> bool:
        """Whether it can answer."""

    async def close(self) -> None:
        """Free what it holds."""


def finite(logprob: float) -> float:
    """A log-probability as JSON can hold it: that of the impossible is -9999, as OpenAI writes it."""
    return max(logprob, -9999.0)


def singles(asked: ChatRequest | CompletionRequest) -> list[Single]:
    """The answers that a request asks for: each prompt `n` times."""
    prompts = [asked.messages] if isinstance(asked, ChatRequest) else asked.prompts
    each = asked.n or 1
    return [
        Single(asked, prompt, number * each + copy)
        for number, prompt in enumerate(prompts)
        for copy in range(each)
    ]
