"""What answers the held-out prompts of `train.generate`: the engine that serves the trained model, too."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from komt.example import Message


def answers_of(
    model: Any, tokenizer: Any, conversations: Sequence[Sequence[Message]], max_new_tokens: int
) -> list[str]:
    """Greedy answers of a model in memory, with the adapter that is on it."""
    from komt.serve.transformers_engine import TransformersEngine

    engine = TransformersEngine(model, tokenizer)
    try:
        return [one.text for one in engine.answer(conversations, max_new_tokens=max_new_tokens)]
    finally:
        engine.close()
