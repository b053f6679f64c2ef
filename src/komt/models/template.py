"""The chat template: the only prompt format, from training to every program that serves."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from komt.errors import ModelError
from komt.example import Message

KOMT_TEMPLATE = (Path(__file__).parent / "komt.jinja").read_text(encoding="utf-8")
_MARK = "\u00a7ANSWER\u00a7"
_TAG = re.compile(r"[<\[][!-~]")
_PROBES = (
    ("가", "나"),
    ("다음 글을 읽고 답하세요.\n\n  두 줄\n\n\n{{ 세 줄 }}", "첫째 줄\n\n둘째 줄"),
    ("What is 1 + 1?", '{"answer": 2}'),
    ("[보기]\n<가> 하나\n<나> 둘", "<가>"),
    ("### instruction: 무엇?\n\n### Response:", "user: 가\nassistant: 나 -> # */ %}"),
)


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


@dataclass(frozen=True, slots=True)
class Frame:
    """What a template writes around a single question and its answer.

    Attributes:
        before, between: text before the question, and from there to the answer.
        end: what ends the answer.
    """

    before: str
    between: str
    end: str


def frame_of(tokenizer: Any) -> Frame | None:
    """The template's frame for one question and answer, or None where it does more than frame them.

    A row through the template takes ten times as long as its two strings joined. The frame holds for contents
    that `framable` lets pass; it is tried on texts of several kinds, among them what templates look for.
    """
    return _frame_of(tokenizer, tokenizer.chat_template)


def framable(text: str) -> bool:
    """Whether a content can only be framed: no white space at its ends, which templates trim, and no tags.

    What templates look for is `<think>` or `[INST]`, never a Korean heading such as `[관람평]` or `<보기>`.
    """
    return bool(text) and not text[0].isspace() and not text[-1].isspace() and not _TAG.search(text)


@lru_cache(maxsize=8)
def _frame_of(tokenizer: Any, template: str) -> Frame | None:
    def prompt(user: str) -> str:
        return render(tokenizer, (Message("user", user),), answering=True)

    def whole(user: str, answer: str) -> str:
        return render(tokenizer, (Message("user", user), Message("assistant", answer)), answering=False)

    before, mark, between = prompt(_MARK).partition(_MARK)
    end = end_text(tokenizer)
    frame = Frame(before, between, end)
    for user, answer in _PROBES:
        asked = f"{before}{user}{between}"
        if not mark or prompt(user) != asked or not whole(user, answer).startswith(f"{asked}{answer}{end}"):
            return None
    return frame


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
