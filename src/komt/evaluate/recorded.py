"""Answers that were given before, under the same model and settings, are not asked for again."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path

from komt.errors import KomtError
from komt.example import Message
from komt.files import hash_of, write_json
from komt.serve.engine import Completion, Engine, Settings


class RecordedEngine:
    """An engine whose greedy completions are kept in a file, by prompt and length limit.

    Args:
        open_engine: loads the model; called only when an answer is missing or a prompt must be encoded.
        record: JSON file of this very model in this precision (its path holds the model's revision).
    """

    def __init__(self, open_engine: Callable[[], Engine], record: Path) -> None:
        self._open, self._record = open_engine, record
        try:
            self._known: dict[str, list[object]] = json.loads(record.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            self._known = {}

    @cached_property
    def engine(self) -> Engine:
        """The real one."""
        return self._open()

    def prompt_ids(self, messages: Sequence[Message]) -> list[int]:
        """As the real engine's."""
        return self.engine.prompt_ids(messages)

    def stream(self, messages: Sequence[Message], *, settings: Settings | None = None) -> Iterator[str]:
        """As the real engine's: sampled answers are never recorded."""
        return self.engine.stream(messages, settings=settings or Settings())

    def generate(
        self,
        prompts: Sequence[Sequence[int]],
        *,
        max_new_tokens: int,
        batch_tokens: int = 4096,
        on_done: Callable[[int], None] | None = None,
    ) -> list[Completion]:
        """Recorded answers where there are some; the others are computed together and recorded."""
        keys = [hash_of([list(map(int, prompt)), max_new_tokens]) for prompt in prompts]
        missing = [place for place, key in enumerate(keys) if key not in self._known]
        for place in set(range(len(prompts))) - set(missing):
            if on_done:
                on_done(place)
        if missing:
            found = self.engine.generate(
                [prompts[place] for place in missing],
                max_new_tokens=max_new_tokens,
                batch_tokens=batch_tokens,
                on_done=(lambda slot: on_done(missing[slot])) if on_done else None,
            )
            if len(found) != len(missing):
                raise KomtError(f"the engine gave {len(found)} answers to {len(missing)} prompts")
            for place, answer in zip(missing, found, strict=True):
                self._known[keys[place]] = [list(answer.ids), answer.text, answer.ended]
            write_json(self._record, self._known)
        return [_completion(self._known[key]) for key in keys]


def _completion(values: list[object]) -> Completion:
    ids, text, ended = values
    assert isinstance(ids, list)
    return Completion(tuple(ids), str(text), bool(ended))
