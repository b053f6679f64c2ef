"""One call of a judge: what is asked, and what came back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from komt.example import Message
from komt.files import hash_of


@dataclass(frozen=True)
class Call:
    """What is asked of a model once.

    Attributes:
        judge: which model, so that another one, or the same one tuned further, is another judge.
        rubric: the rubric's name, or "answer" where a model is asked for the answers themselves.
        messages: the whole prompt.
        answers: what is judged, as it was given: one answer, or those of both models.
        settings: temperature, longest reply, seed and the like; part of what makes two calls the same.
        repeat: 0 for the first time that the same is asked, 1 for the second …
    """

    judge: str
    rubric: str
    messages: tuple[Message, ...]
    answers: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    repeat: int = 0

    @cached_property
    def key(self) -> str:
        """Hash of all of it: calls of one key are asked once."""
        chat = [[message.role, message.content] for message in self.messages]
        return hash_of([self.judge, self.rubric, chat, list(self.answers), dict(self.settings), self.repeat])

    @property
    def max_tokens(self) -> int:
        """The longest reply."""
        return int(self.settings["max_tokens"])

    @property
    def most_prompt_tokens(self) -> int:
        """No tokenizer makes more of the prompt: a token is at least a byte; with room for the template."""
        return sum(len(message.content.encode()) + 16 for message in self.messages) + 16

    @property
    def prompt_characters(self) -> int:
        """Length of the prompt, from which its tokens are estimated."""
        return sum(len(message.content) for message in self.messages)


@dataclass(frozen=True)
class Reply:
    """What came back.

    Attributes:
        text: as the model wrote it.
        cut: whether it ended at the length limit.
        prompt_tokens: as the server counts them, or None where it does not tell.
        completion_tokens: the same of the reply, thoughts included.
        seconds: from the request to the end of the reply.
    """

    text: str
    cut: bool = False
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    seconds: float = 0.0
