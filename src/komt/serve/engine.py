"""What an engine is: conversations in, text out, whatever program computes it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from komt.errors import UsageError
from komt.example import Message

_Bytes = bytes  # TokenLogprob has an attribute of that name
Finish = Literal["", "stop", "length"]
MOST_LOGPROBS = 20
# A temperature at which the likeliest token is as good as certain, and logits divided by it soon no numbers.
GREEDY_BELOW = 1e-5


@dataclass(frozen=True, slots=True)
class Completion:
    """What a model wrote after one prompt.

    Attributes:
        ids: its tokens, without the end token; empty where the engine gives none (see `text`).
        text: the same as text, special tokens left out.
        ended: by its end token (else by the length limit).
    """

    ids: tuple[int, ...]
    text: str
    ended: bool


@dataclass(frozen=True, slots=True)
class Settings:
    """How an answer is sampled; the defaults are those the published komt models were shown with.

    Attributes:
        temperature: 0 takes the likeliest token each time.
        top_p: share of the probability that is drawn from, 0 to 1.
        top_k: number of tokens that are drawn from, 0 for all.
        max_new_tokens: the answer's longest length.
        seed: makes the draw repeatable, or None.
    """

    temperature: float = 0.8
    top_p: float = 0.8
    top_k: int = 100
    max_new_tokens: int = 512
    seed: int | None = None

    def __post_init__(self) -> None:
        wrong = [
            text
            for text, right in (
                (f"temperature {self.temperature} is below 0", self.temperature >= 0),
                (f"top_p {self.top_p} is not above 0 and at most 1", 0 < self.top_p <= 1),
                (f"top_k {self.top_k} is below 0", self.top_k >= 0),
                (f"max_new_tokens {self.max_new_tokens} is below 1", self.max_new_tokens >= 1),
            )
            if not right
        ]
        if wrong:
            raise UsageError("; ".join(wrong))


@dataclass(frozen=True, slots=True)
class Request:
    """One answer that is asked for.

    Attributes:
        ids: the prompt's tokens, at least one.
        settings: how to sample.
        stop: strings that end the answer; none of them, nor what follows it, is ever part of the text.
        logprobs: log-probabilities of this many likeliest tokens at each place (0: of the token itself only),
            or None.
        adapter: a LoRA adapter's name; None: the engine's default; "": the bare base.
    """

    ids: tuple[int, ...]
    settings: Settings = Settings()
    stop: tuple[str, ...] = ()
    logprobs: int | None = None
    adapter: str | None = None

    def __post_init__(self) -> None:
        if not self.ids:
            raise UsageError("the prompt is empty")
        if not all(self.stop):
            raise UsageError("a stop string is empty")
        if self.logprobs is not None and not 0 <= self.logprobs <= MOST_LOGPROBS:
            raise UsageError(f"logprobs {self.logprobs} is not between 0 and {MOST_LOGPROBS}")


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """A token and how likely the model held it, before temperature, top-k and top-p.

    Attributes:
        token: its text; a token of bytes that are no character alone reads `bytes:\\xeb\\xb7`.
        bytes: its bytes in UTF-8.
        logprob: natural logarithm of its probability.
        top: the likeliest tokens at its place, each as (token, bytes, logprob), best first.
    """

    token: str
    bytes: _Bytes
    logprob: float
    top: tuple[tuple[str, _Bytes, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of an answer.

    Attributes:
        text: never with a broken character, and never a part of a stop string; may be empty.
        logprobs: of the tokens that the piece covers, where asked for.
        tokens: how many tokens it covers; those of a cut-off stop string count, the end token does not.
        finish: "" until the last piece, which says why: "stop" (end token or stop string) or "length".
    """

    text: str
    logprobs: tuple[TokenLogprob, ...] = ()
    tokens: int = 0
    finish: Finish = ""


class Stream(Protocol):
    """An answer in the making.

    Attributes:
        prompt_tokens: of the prompt.
        cached_tokens: how many of them were not computed anew; known from the first piece on.
    """

    prompt_tokens: int
    cached_tokens: int

    def __iter__(self) -> Iterator[Piece]:
        """Pieces as they come, the last one with `finish`; ending the loop earlier cancels the answer.

        Raises:
            ModelError: the answer cannot go on.
        """

    def cancel(self) -> None:
        """Stop computing; the loop over the pieces ends. From any thread, any number of times."""


class Engine(Protocol):
    """A model that answers."""

    def prompt_ids(self, messages: Sequence[Message]) -> list[int]:
        """Token ids of a conversation, ready for the answer."""

    def generate(
        self,
        prompts: Sequence[Sequence[int]],
        *,
        max_new_tokens: int,
        batch_tokens: int = ...,
        on_done: Callable[[int], None] | None = None,
    ) -> list[Completion]:
        """Greedy answers to prompts, in their order; `on_done` is told the place of each that is finished."""

    def stream(self, messages: Sequence[Message], *, settings: Settings = ...) -> Iterator[str]:
        """Pieces of one answer as they come, never a broken syllable."""


class LoadedEngine(Engine, Protocol):
    """What `load_engine` gives, whatever computes it.

    `loglikelihood` is None where the program behind the engine tells no log-probabilities of given texts.
    """

    @property
    def loglikelihood(self) -> LogLikelihood | None:
        """A function of `ids` and `continuations`: log-probability of each continuation's tokens, or None."""

    def answer(
        self,
        conversations: Sequence[Sequence[Message]],
        *,
        max_new_tokens: int,
        on_done: Callable[[int], None] | None = None,
    ) -> list[Completion]:
        """Greedy answers to conversations, in their order; for engines without token ids, too."""

    def close(self) -> None:
        """Free the model; what is still being computed ends with an error. May be called again."""


class EngineByIds(Engine, Protocol):
    """An engine that reads token ids itself, and so answers conversations by them."""

    def answer(
        self,
        conversations: Sequence[Sequence[Message]],
        *,
        max_new_tokens: int,
        on_done: Callable[[int], None] | None = None,
    ) -> list[Completion]:
        """Greedy answers to conversations; as `generate`."""
        prompts = [self.prompt_ids(messages) for messages in conversations]
        return self.generate(prompts, max_new_tokens=max_new_tokens, on_done=on_done)


class SubmittingEngine(LoadedEngine, Protocol):
    """An engine that computes many answers at the same time inside this process, for the API."""

    @property
    def adapters(self) -> tuple[str, ...]:
        """Names of the LoRA adapters that a Request may ask for."""

    @property
    def context_tokens(self) -> int:
        """What a prompt and its answer may hold together."""

    def submit(self, request: Request) -> Stream:
        """Ask for an answer without waiting for it.

        Raises:
            ModelError: the prompt fills the context, or there is no such adapter.
        """


LogLikelihood = Callable[[Sequence[int], Sequence[Sequence[int]]], list[list[float]]]
