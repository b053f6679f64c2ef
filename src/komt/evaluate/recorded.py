"""Answers that were given before, under the same model and settings, are not asked for again."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import Any

from komt.errors import KomtError
from komt.evaluate.record import Record
from komt.example import Message
from komt.files import hash_of
from komt.serve.engine import Completion, LoadedEngine, LogLikelihood, Settings

Conversation = Sequence[Message]
# Of an engine that takes no token ids: asked for, and then recorded, together.
_AT_A_TIME = 64
# Where no tokenizer is at hand: as many as Korean takes where a tokenizer knows little of it.
_TOKENS_PER_CHARACTER = 2.5


class RecordedEngine:
    """An engine whose greedy answers are recorded as they come, batch by batch.

    The model is loaded only when an answer is missing.

    Args:
        open_engine: loads the model.
        record: where answers are kept.
        model: what the answers depend on beside the prompt: weights, adapter, template, precision, engine.
        seconds: how old a recorded answer may be; 0: any age.
        fresh: whether everything is asked again (and recorded).

    Attributes:
        asked: how many answers were computed, not found in the record.
    """

    def __init__(
        self,
        open_engine: Callable[[], LoadedEngine],
        record: Record,
        model: str,
        *,
        seconds: float = 0,
        fresh: bool = False,
    ) -> None:
        self._open, self._record, self._model = open_engine, record, model
        self._seconds, self._fresh = seconds, fresh
        self.asked = 0

    @cached_property
    def engine(self) -> LoadedEngine:
        """The real one."""
        return self._open()

    @property
    def loglikelihood(self) -> LogLikelihood | None:
        """As the real engine's."""
        return self.engine.loglikelihood

    def prompt_ids(self, messages: Conversation) -> list[int]:
        """As the real engine's."""
        return self.engine.prompt_ids(messages)

    def stream(self, messages: Conversation, *, settings: Settings | None = None) -> Iterator[str]:
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
        """As the real engine's, of token ids; not recorded."""
        return self.engine.generate(
            prompts, max_new_tokens=max_new_tokens, batch_tokens=batch_tokens, on_done=on_done
        )

    def answer(
        self,
        conversations: Sequence[Conversation],
        *,
        max_new_tokens: int,
        batch_tokens: int = 4096,
        on_done: Callable[[int], None] | None = None,
    ) -> list[Completion]:
        """Recorded answers where there are some; the others are computed and recorded batch by batch.

        Args:
            conversations: equal ones are answered once.
            max_new_tokens: the longest answer.
            batch_tokens: the most tokens of prompts that are held at a time, shared ones counted once.
            on_done: told the place of each that is answered.
        """
        keys = [hash_of(["answer", *([m.role, m.content] for m in one)]) for one in conversations]
        known = {
            key: completion
            for key, values in self.known(keys).items()
            if (completion := _completion(values, max_new_tokens))
        }
        for place, key in enumerate(keys):
            if on_done and key in known:
                on_done(place)
        first = {key: place for place, key in reversed(list(enumerate(keys))) if key not in known}
        missing = sorted(first.values())
        for places, found in self._computed(conversations, missing, max_new_tokens, batch_tokens, on_done):
            new = {keys[place]: one for place, one in zip(places, found, strict=True)}
            self.keep({key: _values(one, max_new_tokens) for key, one in new.items()})
            known |= new
            self.asked += len(new)
        if on_done:
            for place, key in enumerate(keys):
                if key in first and first[key] != place:
                    on_done(place)
        return [known[key] for key in keys]

    def known(self, keys: Sequence[str]) -> dict[str, Any]:
        """What is recorded of this model under some keys."""
        return {} if self._fresh else self._record.get(self._model, keys, seconds=self._seconds)

    def keep(self, values: dict[str, Any]) -> None:
        """Record values (JSON) of this model by key."""
        self._record.put(self._model, values)

    def close(self) -> None:
        """Free the model, where it was loaded."""
        if "engine" in self.__dict__:
            self.engine.close()

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """About how many tokens texts take; a generous guess where the engine tells no tokens."""
        ids = self._ids([[Message("user", text)] for text in ("가", *texts)])
        if ids is None:
            return [math.ceil(_TOKENS_PER_CHARACTER * len(text)) for text in texts]
        return [max(0, len(one) - len(ids[0]) + 1) for one in ids[1:]]

    def _computed(
        self,
        conversations: Sequence[Conversation],
        missing: list[int],
        max_new_tokens: int,
        batch_tokens: int,
        on_done: Callable[[int], None] | None,
    ) -> Iterator[tuple[list[int], list[Completion]]]:
        """Places that are computed together, and their answers."""
        ids = self._ids([conversations[place] for place in missing]) if missing else []
        for batch in _batches(ids, len(missing), batch_tokens):
            places = [missing[slot] for slot in batch]
            told = (lambda slot, places=places: on_done(places[slot])) if on_done else None
            if ids is None:
                asked = [conversations[place] for place in places]
                found = self.engine.answer(asked, max_new_tokens=max_new_tokens, on_done=told)
            else:
                found = self.engine.generate(
                    [ids[slot] for slot in batch],
                    max_new_tokens=max_new_tokens,
                    batch_tokens=batch_tokens,
                    on_done=told,
                )
            if len(found) != len(places):
                raise KomtError(f"the engine gave {len(found)} answers to {len(places)} prompts")
            yield places, found

    def _ids(self, conversations: Sequence[Conversation]) -> list[list[int]] | None:
        """Token ids of prompts; None of an address, which tells none."""
        from komt.serve.remote_engine import RemoteEngine

        if isinstance(self.engine, RemoteEngine) and not self.engine.takes_ids:
            return None
        return [self.engine.prompt_ids(messages) for messages in conversations]


def _batches(ids: list[list[int]] | None, count: int, batch_tokens: int) -> Iterator[list[int]]:
    """Places of the prompts that are computed, and then recorded, together."""
    if ids is None:
        places = list(range(count))
        yield from (places[start : start + _AT_A_TIME] for start in range(0, count, _AT_A_TIME))
    elif ids:
        from komt.serve.trie_decode import plan_batches

        yield from plan_batches(ids, batch_tokens)


def _values(one: Completion, max_new_tokens: int) -> dict[str, Any]:
    return {"ids": list(one.ids), "text": one.text, "ended": one.ended, "limit": max_new_tokens}


def _completion(values: dict[str, Any], max_new_tokens: int) -> Completion | None:
    """A recorded answer, where it would be the same under this limit."""
    ids, text, ended, limit = values["ids"], values["text"], values["ended"], values["limit"]
    # Without token ids nothing says how much shorter the limit might be.
    fits = ended and (limit <= max_new_tokens or (bool(ids) and len(ids) < max_new_tokens))
    return Completion(tuple(ids), text, ended) if fits or limit == max_new_tokens else None
