"""The engine inside the process: transformers, on CPU or GPU."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from komt.errors import ModelError
from komt.example import Message
from komt.models.fused import fused_layers
from komt.models.template import end_token_id
from komt.pack.encode import prompt_ids
from komt.pack.flex import NAME as FLEX
from komt.pack.masks import attention_masks
from komt.pack.probe import device_of
from komt.serve.adapters import Adapters
from komt.serve.batching import BatchStream, Row, Scheduler
from komt.serve.engine import Completion, EngineByIds, Request, Settings
from komt.serve.fair_lock import FairLock
from komt.serve.likelihood import Asked, Likelihood, likelihoods
from komt.serve.lone_row import LoneRow
from komt.serve.prefix_row import PrefixRow
from komt.serve.text_pieces import text_of
from komt.serve.trie_decode import MAX_PROMPTS, decode_together, plan_batches

DEFAULT_BATCH_TOKENS = 4096
DEFAULT_STREAMS = 16
# Keys and values of running and remembered streams, over all adapters: this much, within these bounds.
_CACHE_BYTES = 1 << 30
_LEAST_CACHED_TOKENS, _MOST_CACHED_TOKENS = 4096, 65_536
# What so many prompts as are decoded at a time at most need, with their answers.
_FOR_MANY_TOKENS = 16_384


class TransformersEngine(EngineByIds):
    """A loaded model and its tokenizer as an engine, for any number of threads.

    Streams are computed together, each as if it were alone: tokens are the same in fp32; in bf16 the model's
    rounding depends on what is computed beside it, as in any batched engine.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        *,
        adapters: Mapping[str, Path] | None = None,
        streams: int = DEFAULT_STREAMS,
        cache_bytes: int = 0,
    ) -> None:
        """Args:
        model: a model, or one with its default adapter on it (a PeftModel).
        tokenizer: with a chat template.
        adapters: folders of further LoRA adapters, by name.
        streams: how many are computed at a time; others wait in line.
        cache_bytes: keys and values of running and remembered streams, over all adapters, at least those of
            4,096 tokens; 0: 1 GiB, at most those of 65,536 tokens.
        """
        self._adapters = Adapters(model)
        for name, folder in (adapters or {}).items():
            self._adapters.add(name, folder)
        self._model, self._tokenizer = self._adapters.model.eval(), tokenizer
        ends = {end_token_id(tokenizer), tokenizer.eos_token_id, *_named_ends(self._model)}
        self._stop = frozenset(int(token) for token in ends if token is not None)
        self._confined = _can_confine(model)
        self._lock = FairLock()
        self._scheduler = self._new_scheduler(streams, cache_bytes)
        self._close = weakref.finalize(self, self._scheduler.close)

    def _new_scheduler(self, streams: int, cache_bytes: int) -> Scheduler:
        model, confined = self._model, self._confined  # not self: the thread would keep it alive
        most = _cached_tokens(model, cache_bytes) // (len(self._adapters.names) + 1)

        def new_row() -> Row:
            return PrefixRow(model, most) if confined else LoneRow(model)

        return Scheduler(
            self._tokenizer,
            new_row=new_row,
            use=self._adapters.use,
            stop=self._stop,
            context_tokens=self.context_tokens,
            most_streams=streams if confined else 1,
            lock=self._lock,
        )

    @property
    def adapters(self) -> tuple[str, ...]:
        """Names of the adapters that a Request may ask for."""
        return self._adapters.names

    @property
    def context_tokens(self) -> int:
        """The longest sequence that the model was made for."""
        return int(getattr(self._model.config.get_text_config(), "max_position_embeddings", None) or 1 << 30)

    @property
    def tokenizer(self) -> Any:
        """The model's tokenizer, for prompts that are no conversations."""
        return self._tokenizer

    def prompt_ids(self, messages: Sequence[Message]) -> list[int]:
        """Token ids of a conversation, by the function that training encodes prompts with."""
        return prompt_ids(self._tokenizer, messages)

    def generate(
        self,
        prompts: Sequence[Sequence[int]],
        *,
        max_new_tokens: int,
        batch_tokens: int = DEFAULT_BATCH_TOKENS,
        on_done: Callable[[int], None] | None = None,
    ) -> list[Completion]:
        """Greedy answers, in the prompts' order; what prompts share at their start is computed once.

        Args:
            prompts: token ids, each of at least one token.
            max_new_tokens: the longest answer.
            batch_tokens: the most tokens of prompts (shared ones once) that are held at a time.
            on_done: told the place of each prompt that is finished.

        Raises:
            ModelError: a prompt and its answer do not fit into the model's context.
        """
        for prompt in prompts:
            self._check_length(len(prompt), max_new_tokens)
            self._check_tokens(prompt)
        answers: list[Completion | None] = [None] * len(prompts)
        with self._lock, fused_layers(self._model, norms=False):
            self._adapters.use(self._adapters.key(None))
            self._generate_into(answers, prompts, max_new_tokens, batch_tokens, on_done)
        return [answer for answer in answers if answer is not None]

    def _generate_into(
        self,
        answers: list[Completion | None],
        prompts: Sequence[Sequence[int]],
        max_new_tokens: int,
        batch_tokens: int,
        on_done: Callable[[int], None] | None,
    ) -> None:
        # A family whose masks cannot be confined answers one prompt at a time; one whose keys and values are
        # large, fewer than would use the time best.
        large = _cached_tokens(self._model, 0) < _FOR_MANY_TOKENS
        most = {"most": MAX_PROMPTS // 2} if large else {}
        for batch in plan_batches(prompts, batch_tokens if self._confined else 0, **most):
            told = (lambda slot, batch=batch: on_done(batch[slot])) if on_done else None
            chosen = [prompts[place] for place in batch]
            if self._confined:
                found = decode_together(
                    self._model, chosen, stop=self._stop, max_new_tokens=max_new_tokens, on_done=told
                )
            else:
                found = [self._generate_alone(prompt, max_new_tokens, told) for prompt in chosen]
            for place, (ids, ended) in zip(batch, found, strict=True):
                answers[place] = Completion(tuple(ids), text_of(self._tokenizer, ids), ended)

    def stream(self, messages: Sequence[Message], *, settings: Settings | None = None) -> Iterator[str]:
        """Pieces of one answer as they come, never a broken syllable.

        What the conversation shares with earlier ones is not computed again.

        Raises:
            ModelError: the conversation does not fit into the model's context.
        """
        for piece in self.submit(Request(tuple(self.prompt_ids(messages)), settings or Settings())):
            if piece.text:
                yield piece.text

    def submit(self, request: Request) -> BatchStream:
        """Ask for an answer without waiting for it.

        Raises:
            ModelError: the prompt fills the context or has a token that the model has not, there is no such
                adapter, or the engine is closed.
        """
        self._check_length(len(request.ids), 1)
        self._check_tokens(request.ids)
        stream = BatchStream(request)
        self._scheduler.submit(stream, self._adapters.key(request.adapter))
        return stream

    def loglikelihood(self, ids: Sequence[int], continuations: Sequence[Sequence[int]]) -> list[list[float]]:
        """The log-probability of each token of each continuation after the ids, by the default adapter.

        Args:
            ids: at least one token.
            continuations: what they share at their start is computed once.

        Raises:
            ModelError: `ids` is empty, or a continuation leads over the context.
        """
        return [list(one.tokens) for one in self.loglikelihoods([(ids, continuations)])[0]]

    def loglikelihoods(
        self, asked: Sequence[Asked], *, on_done: Callable[[int], None] | None = None
    ) -> list[list[Likelihood]]:
        """As `loglikelihood`, of many prompts at a time; what any of them begin with is computed once.

        Args:
            asked: prompts, each of at least one token, with their continuations.
            on_done: told the place of each prompt that is finished.

        Raises:
            ModelError: a prompt is empty, or a continuation leads over the context.
        """
        for ids, continuations in asked:
            for continuation in continuations:
                # Nothing is asked from a continuation's last token, which so needs no place.
                self._check_length(len(ids), max(len(continuation) - 1, 0))
        with self._lock, fused_layers(self._model, norms=False):
            self._adapters.use(self._adapters.key(None))
            return likelihoods(self._model, asked, confined=self._confined, on_done=on_done)

    def close(self) -> None:
        """End the streams that are open with an error, and the thread that computes them."""
        self._close()

    @torch.no_grad()
    def _generate_alone(
        self, prompt: Sequence[int], max_new_tokens: int, on_done: Callable[[int], None] | None
    ) -> tuple[list[int], bool]:
        ids = torch.tensor([list(prompt)], device=device_of(self._model))
        output = self._model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            do_sample=False,
            max_new_tokens=max_new_tokens,
            eos_token_id=sorted(self._stop),
            pad_token_id=min(self._stop),
        )
        new = [int(token) for token in output[0, len(prompt) :]]
        if on_done:
            on_done(0)
        ended = bool(new) and new[-1] in self._stop
        return new[: len(new) - ended], ended

    def _check_length(self, prompt: int, new: int) -> None:
        if prompt == 0:
            raise ModelError("the prompt is empty")
        if prompt + new > self.context_tokens:
            raise ModelError(
                f"a prompt of {prompt:,} tokens and {new:,} for the answer do not fit into the model's "
                f"context of {self.context_tokens:,}",
                cure="shorten the prompt (in a chat: /reset)",
            )

    def _check_tokens(self, ids: Sequence[int]) -> None:
        """A tokenizer may know more tokens than its model, as Gemma 3's of text alone those of pictures."""
        largest, count = max(ids), int(self._model.config.get_text_config().vocab_size)
        if largest >= count:
            text = self._tokenizer.convert_ids_to_tokens(int(largest)) or ""
            raise ModelError(
                f"the model has no token {largest:,}: its vocabulary is {count:,}",
                cure=f"leave {text or 'that'} out of the prompt",
            )


def _named_ends(model: Any) -> list[int | None]:
    """End tokens of the model's generation_config.json, by which other programs stop, too."""
    named = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
    return named if isinstance(named, list) else [named]


def _can_confine(model: Any) -> bool:
    """Whether a mask decides what each query sees, in every layer."""
    none = torch.zeros(0, dtype=torch.long)
    try:
        attention_masks(model.config, torch.ones(0, 0, dtype=torch.bool), none, none)
    except ModelError:
        return False
    return getattr(model.config.get_text_config(), "_attn_implementation", "sdpa") in {"sdpa", FLEX}


def _cached_tokens(model: Any, cache_bytes: int) -> int:
    """How many tokens' keys and values the caches may hold."""
    config = model.config.get_text_config()
    all_heads = getattr(config, "num_attention_heads", 1)
    heads = getattr(config, "num_key_value_heads", None) or all_heads
    width = getattr(config, "head_dim", None) or config.hidden_size // all_heads
    each = 2 * config.num_hidden_layers * heads * width * model.dtype.itemsize
    tokens = max((cache_bytes or _CACHE_BYTES) // max(int(each), 1), _LEAST_CACHED_TOKENS)
    return tokens if cache_bytes else min(tokens, _MOST_CACHED_TOKENS)
