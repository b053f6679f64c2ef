"""Preference pairs in a person's own table: which columns they stand in, as texts or as talks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from komt.errors import DataError
from komt.tasks.jinja import reference

# Columns of a preference pair, as the page's votes and public sets name them.
_CHOSEN, _REJECTED = "chosen", "rejected"
_PROMPTS = ("prompt", "프롬프트")


@dataclass(frozen=True, slots=True)
class PairColumns:
    """Where the pairs of a table stand.

    Attributes:
        chosen, rejected: the columns of the answers.
        asks: the column of the prompt, or () where another one is to be looked for.
        prompt, answer, worse: templates; "" where columns are texts.
    """

    chosen: str
    rejected: str
    asks: tuple[str, ...] = ()
    prompt: str = ""
    answer: str = ""
    worse: str = ""


def pair_columns(values: Sequence[dict[str, Any]], where: str) -> PairColumns | None:
    """The columns of the chosen and the rejected answer, or None where a table has not both.

    Raises:
        DataError: no column is left to ask with; talks that are more than a question and its answer.
    """
    names = tuple(values[0]) if values else ()
    by_name = {name.lower(): name for name in reversed(names)}
    if not {_CHOSEN, _REJECTED} <= set(by_name):
        return None
    chosen, rejected = by_name[_CHOSEN], by_name[_REJECTED]
    asked = next((by_name[name] for name in _PROMPTS if name in by_name), "")
    if any(isinstance(row.get(chosen), list) for row in values):
        return _of_talks(values, chosen, rejected, asked, where)
    if not answers_apart(names):
        raise DataError(
            f"{chosen} and {rejected} are the answers of preference pairs, and no column asks",
            where=where,
            cure="give the prompt a column of its own, `prompt`, and leave only the answers in these two",
        )
    return PairColumns(chosen, rejected, (asked,) if asked else ())


def answers_apart(names: Sequence[str]) -> tuple[str, ...]:
    """The columns that are not of the answers, nor of what is told of them, as `chosen_model`."""
    return tuple(name for name in names if not name.lower().startswith((_CHOSEN, _REJECTED)))


def _of_talks(
    values: Sequence[dict[str, Any]], chosen: str, rejected: str, asked: str, where: str
) -> PairColumns:
    """Pairs as lists of messages: the last one is the answer, the one before it or a column the prompt."""
    for number, row in enumerate(values, 1):
        for name in (chosen, rejected):
            if not _is_short_talk(row.get(name), alone=bool(asked)):
                raise DataError(
                    f"row {number}: '{name}' is no talk of one question and its answer",
                    where=where,
                    cure="write prompt, chosen and rejected as texts, a longer talk into `prompt`",
                )
    answer, worse = (f"{{{{ {reference(name)}[-1].content }}}}" for name in (chosen, rejected))
    if not asked:
        return PairColumns(
            chosen, rejected, (chosen,), f"{{{{ {reference(chosen)}[-2].content }}}}", answer, worse
        )
    listed = [row.get(asked) for row in values if isinstance(row.get(asked), list)]
    if len(listed) not in {0, len(values)} or not all(map(_is_question, listed)):
        raise DataError(
            f"'{asked}' is no single question in every row", where=where, cure="write it as a text"
        )
    prompt = f"{{{{ {reference(asked)}{'[-1].content' if listed else ''} }}}}"
    return PairColumns(chosen, rejected, (asked,), prompt, answer, worse)


def _is_question(talk: Any) -> bool:
    return isinstance(talk, list) and len(talk) == 1 and _is_short_talk([*talk, {"content": ""}])


def _is_short_talk(talk: Any, *, alone: bool = False) -> bool:
    """Whether a list of messages is a question and its answer (or, where allowed, the answer alone)."""
    if not isinstance(talk, list) or len(talk) not in ({1, 2} if alone else {2}):
        return False
    roles = [message.get("role", "assistant") for message in talk if isinstance(message, dict)]
    texts = [message.get("content") for message in talk if isinstance(message, dict)]
    return roles == ["user", "assistant"][-len(talk) :] and all(isinstance(text, str) for text in texts)
