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
from komt.serve.lanes import in_lanes

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
        max_new_tokens: int | Sequence[int],
        batch_tokens: int = 4096,
        on_done: Callable[[int], None] | None = None,
    ) -> list[Completion]:
        """Recorded answers where there are some; the others are computed and recorded batch by batch.

        Args:
            conversations: equal ones are answered once.
            max_new_tokens: the longest answer, of all or of each.
            batch_tokens: the most tokens of prompts that are held at a time, shared ones counted once.
            on_done: told the place of each that is answered.
        """
        limits = [max_new_tokens] * len(conversations) if isinstance(max_new_tokens, int) else max_new_tokens
        keys = [hash_of(["answer", *([m.role, m.content] for m in one)]) for one in conversations]
        asked = list(zip(keys, limits, strict=True))
        values = self.known(keys)
        known = {
            (key, limit): completion
            for key, limit in asked
            if key in values and (completion := _completion(values[key], limit))
        }
        for place, one in enumerate(asked):
            if on_done and one in known:
                on_done(place)
        first = {one: place for place, one in reversed(list(enumerate(asked))) if one not in known}
        for places, found in self._computed(
            conversations, limits, sorted(first.values()), batch_tokens, on_done
        ):
            new = {asked[place]: one for place, one in zip(places, found, strict=True)}
            self.keep({key: _values(one, limit) for (key, limit), one in new.items()})
            known |= new
            self.asked += len(new)
        if on_done:
            for place, one in enumerate(asked):
                if one in first and first[one] != place:
                    on_done(place)
        return [known[one] for one in asked]

    def known(self, keys: Sequence[str]) -> dict[str, Any]:
        """What is recorded of this model under some keys."""
        return {} if self._fresh else self._record.get(self._model, keys, seconds=self._seconds)

    def keep(self, values: dict[str, Any]) -> None:
        """Record values (JSON) of this model by key."""
        self._record.put(self._model, values)

    def close(self) -> None:
        """Free the model, where it was loaded; it is loaded again when an answer is missing."""
        if "engine" in self.__dict__:
            self.__dict__.pop("engine").close()

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """About how many tokens texts take; a generous guess where the engine tells no tokens."""
        ids = self._ids([[Message("user", text)] for text in ("가", *texts)])
        if ids is None:
            return [math.ceil(_TOKENS_PER_CHARACTER * len(text)) for text in texts]
        return [max(0, len(one) - len(ids[0]) + 1) for one in ids[1:]]

    def _computed(
        self,
        conversations: Sequence[Conversation],
        limits: Sequence[int],
        missing: list[int],
        batch_tokens: int,
        on_done: Callable[[int], None] | None,
    ) -> Iterator[tuple[list[int], list[Completion]]]:
        """Places that are computed together, and their answers."""
        ids = self._ids([conversations[place] for place in missing]) if missing else []
        prompts = dict(zip(missing, ids, strict=True)) if ids is not None else None
        batches: list[list[int]] = []
        # The longest first: what engines compute side by side then ends at about the same time.
        for limit in sorted({limits[place] for place in missing}, reverse=True):
            places = [place for place in missing if limits[place] == limit]
            those = None if prompts is None else [prompts[place] for place in places]
            batches += [[places[at] for at in one] for one in _batches(those, len(places), batch_tokens)]

        def compute(places: list[int]) -> list[Completion]:
            told = (lambda at: on_done(places[at])) if on_done else None
            limit = limits[places[0]]
            if prompts is None:
                asked = [conversations[place] for place in places]
                return self.engine.answer(asked, max_new_tokens=limit, on_done=told)
            return self.engine.generate(
                [prompts[place] for place in places],
                max_new_tokens=limit,
                batch_tokens=batch_tokens,
                on_done=told,
            )

        for places, found in in_lanes(self.engine, compute, batches) if batches else ():
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
