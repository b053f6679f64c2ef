"""What an engine is: conversations in, text out, whatever program computes it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from komt.errors import UsageError
from komt.example import Message


@dataclass(frozen=True, slots=True)
class Completion:
    """What a model wrote after one prompt.

    Attributes:
        ids: its tokens, without the end token.
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
