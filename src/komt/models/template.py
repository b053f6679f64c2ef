"""The chat template: the only prompt format, from training to every program that serves."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from komt.errors import ModelError
from komt.example import Message

KOMT_TEMPLATE = (Path(__file__).parent / "komt.jinja").read_text(encoding="utf-8")
_MARK = "\u00a7ANSWER\u00a7"


def ensure_template(tokenizer: Any) -> bool:
    """Give a tokenizer without a chat template komt's own; returns whether it got one."""
    if tokenizer.chat_template:
        return False
    if not tokenizer.eos_token:
        raise ModelError("the tokenizer has no end token, so no answer could ever end")
    tokenizer.chat_template = KOMT_TEMPLATE
    return True


def render(tokenizer: Any, messages: Sequence[Message], *, answering: bool) -> str:
    """Messages as text, by the tokenizer's chat template.

    Args:
        tokenizer: with a chat template.
        messages: the conversation.
        answering: whether the generation prompt is added (komt's own template needs none: the last
            user turn ends in it).
    """
    try:
        text = tokenizer.apply_chat_template(
            [message.as_chat() for message in messages], tokenize=False, add_generation_prompt=answering
        )
    except Exception as error:  # a template may raise anything, as jinja's raise_exception does
        raise ModelError(
            f"the model's chat template refuses these messages: {error}",
            cure="check the order of roles: most templates want user and assistant in turn",
        ) from error
    return str(text)


def end_text(tokenizer: Any) -> str:
    """What the template writes to end an assistant's answer, such as `<eos>` or `<|im_end|>`.

    White space that a template puts after the end token (`<|im_end|>\\n`) is no part of the answer.

    Raises:
        ModelError: the template ends an answer with no special token.
    """
    return _end_text(tokenizer, tokenizer.chat_template)


@lru_cache(maxsize=8)  # listing a large vocabulary's special tokens takes 30 ms, and every row asks
def _end_text(tokenizer: Any, template: str) -> str:
    asked = (Message("user", "가"),)
    text = render(tokenizer, (*asked, Message("assistant", _MARK)), answering=False)
    after = text.rpartition(_MARK)[2]
    end = after.strip()
    specials = set(tokenizer.get_added_vocab()) | set(tokenizer.all_special_tokens)
    if not end or not any(end.startswith(special) for special in specials):
        raise ModelError(
            f"the model's chat template ends an answer with {after!r}, which is no special token",
            cure="use a model whose template writes an end token after the assistant's turn",
        )
    return max((str(special) for special in specials if end.startswith(special)), key=len)


def end_token_id(tokenizer: Any) -> int:
    """Id of the token that ends an answer: supervised in training, stop token in generation."""
    return int(tokenizer.convert_tokens_to_ids(end_text(tokenizer)))
