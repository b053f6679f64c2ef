"""The engine inside the process: transformers, on CPU or GPU."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch

from komt.errors import ModelError
from komt.example import Message
from komt.models.template import end_token_id
from komt.pack.encode import prompt_ids
from komt.pack.masks import attention_masks
from komt.pack.probe import device_of
from komt.pack.trie import common_prefix
from komt.serve.engine import Completion, Settings
from komt.serve.text_pieces import TextPieces, text_of
from komt.serve.trie_decode import decode_together, plan_batches

DEFAULT_BATCH_TOKENS = 4096


class TransformersEngine:
    """A loaded model and its tokenizer as an engine.

    `generate` may be called from one thread at a time; `stream` keeps the newest conversation's cache.
    """

    def __init__(self, model: Any, tokenizer: Any) -> None:
        self._model, self._tokenizer = model.eval(), tokenizer
        ends = {end_token_id(tokenizer), tokenizer.eos_token_id}
        self._stop = frozenset(int(token) for token in ends if token is not None)
        self._confined = _can_confine(model)
        self._kept: tuple[list[int], Any] | None = None

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
        answers: list[Completion | None] = [None] * len(prompts)
        # A family whose masks cannot be confined answers one prompt at a time.
        for batch in plan_batches(prompts, batch_tokens if self._confined else 0):
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
        return [answer for answer in answers if answer is not None]

    def stream(self, messages: Sequence[Message], *, settings: Settings | None = None) -> Iterator[str]:
        """Pieces of one answer as they come, never a broken syllable.

        The cache is kept: a conversation that goes on from the last one computes its new part only.

        Raises:
            ModelError: the conversation does not fit into the model's context.
        """
        settings = settings or Settings()
        prompt = self.prompt_ids(messages)
        self._check_length(len(prompt), 1)
        pieces = TextPieces(self._tokenizer)
        for token in self._sample(prompt, settings):
            if piece := pieces.add(token):
                yield piece
        if piece := pieces.rest():
            yield piece

    def _sample(self, prompt: list[int], settings: Settings) -> Iterator[int]:
        """Tokens of an answer, without the end token."""
        device = device_of(self._model)
        random = torch.Generator(device)
        random.seed() if settings.seed is None else random.manual_seed(settings.seed)
        warp = _warpers(settings)
        known, cache = self._take_cache(prompt)
        new = prompt[len(known) :]
        room = self._context() - len(prompt)
        for _ in range(min(settings.max_new_tokens, room)):
            logits = self._next_logits(new, cache)
            known = known + new
            self._kept = (known, cache)
            seen = torch.tensor([known], device=device)
            token = _draw(warp(seen, logits), settings, random)
            if token in self._stop:
                return
            yield token
            new = [token]

    @torch.no_grad()
    def _next_logits(self, ids: list[int], cache: Any) -> torch.Tensor:
        """Logits after the ids, (1, vocabulary), fp32; the cache grows by them."""
        output = self._model(
            input_ids=torch.tensor([ids], device=device_of(self._model)),
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        logits = output.logits[:, -1].float()
        assert isinstance(logits, torch.Tensor)
        return logits

    def _take_cache(self, prompt: list[int]) -> tuple[list[int], Any]:
        """The kept cache, shortened to what the prompt begins with, or an empty one."""
        from transformers import DynamicCache

        kept, self._kept = self._kept, None
        if kept is None:
            return [], DynamicCache() if self._confined else DynamicCache(config=self._model.config)
        known, cache = kept
        # At least one token must be fed, to have logits to draw from.
        shared = min(
            common_prefix(torch.tensor(known).numpy(), torch.tensor(prompt).numpy()), len(prompt) - 1
        )
        if shared == len(known):
            return known, cache
        if not shared or not self._confined:
            return self._take_cache(prompt)
        for layer in cache.layers:
            layer.keys, layer.values = layer.keys[:, :, :shared], layer.values[:, :, :shared]
        return known[:shared], cache

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

    def _context(self) -> int:
        return int(getattr(self._model.config.get_text_config(), "max_position_embeddings", None) or 1 << 30)

    def _check_length(self, prompt: int, new: int) -> None:
        if prompt == 0:
            raise ModelError("the prompt is empty")
        if prompt + new > self._context():
            raise ModelError(
                f"a prompt of {prompt:,} tokens and {new:,} for the answer do not fit into the model's "
                f"context of {self._context():,}",
                cure="shorten the prompt (in a chat: /reset)",
            )


def _can_confine(model: Any) -> bool:
    """Whether a mask decides what each query sees, in every layer."""
    none = torch.zeros(0, dtype=torch.long)
    try:
        attention_masks(model.config, torch.ones(0, 0, dtype=torch.bool), none, none)
    except ModelError:
        return False
    return getattr(model.config.get_text_config(), "_attn_implementation", "sdpa") == "sdpa"


def _warpers(settings: Settings) -> Any:
    from transformers import (
        LogitsProcessorList,
        TemperatureLogitsWarper,
        TopKLogitsWarper,
        TopPLogitsWarper,
    )

    warpers = LogitsProcessorList()
    if settings.temperature not in {0.0, 1.0}:
        warpers.append(TemperatureLogitsWarper(float(settings.temperature)))
    if settings.temperature and settings.top_k:
        warpers.append(TopKLogitsWarper(settings.top_k))
    if settings.temperature and settings.top_p < 1:
        warpers.append(TopPLogitsWarper(settings.top_p))
    return warpers


def _draw(logits: torch.Tensor, settings: Settings, random: torch.Generator) -> int:
    if settings.temperature == 0:
        return int(logits.argmax(-1))
    return int(torch.multinomial(logits.softmax(-1), 1, generator=random))
