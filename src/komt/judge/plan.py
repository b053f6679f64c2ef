"""What a run will ask: answers, rubrics, orders and repeats, as calls; and what that will take."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from komt.errors import UsageError
from komt.files import hash_of
from komt.judge.budget import Prices
from komt.judge.call import Call
from komt.judge.items import Answered
from komt.judge.ledger import Ledger, unique
from komt.judge.rubric import Order, Rubric

# Where nothing is known of a judge: Korean text in tokenizers of today, and a reply of some sentences.
_TOKENS_PER_CHARACTER = 0.8
_REPLY_TOKENS = 200


@dataclass(frozen=True)
class Planned:
    """One thing to find out.

    Attributes:
        item: what is judged.
        other: the answers it is compared with, or None.
        rubric: how.
        order: for pairs, which one is shown first: "ab" `item`, "ba" the other one.
        repeat: from 0.
        call: what is asked for it.
    """

    item: Answered
    other: Answered | None
    rubric: Rubric
    order: Order
    repeat: int
    call: Call


@dataclass(frozen=True)
class Sampling:
    """How a model writes.

    Attributes:
        temperature: 0: the likeliest token each time, so that a repeat says the same again.
        max_new_tokens: the longest reply; 0: as the rubric says.
    """

    temperature: float = 0.0
    max_new_tokens: int = 0

    def settings(self, max_new_tokens: int, repeat: int) -> dict[str, Any]:
        """The fields of a request; what is drawn is drawn by the number of the repeat."""
        drawn = {"seed": repeat} if self.temperature else {}
        return {"max_tokens": self.max_new_tokens or max_new_tokens, "temperature": self.temperature, **drawn}


def plan(
    judge: str,
    rubrics: Sequence[Rubric],
    items: Sequence[Answered],
    others: Sequence[Answered] = (),
    *,
    repeat: int = 1,
    sampling: Sampling = Sampling(),
) -> list[Planned]:
    """All that is to be found out, in an order in which equal prompts' beginnings stand together.

    Args:
        judge: its name in the ledger.
        rubrics: each judges the answers it fits: the second turn, where there is one.
        items: what is judged.
        others: what it is compared with, by rubrics for pairs; answers to the same questions.
        repeat: how often the same is asked.
        sampling: how the judge writes.

    Raises:
        UsageError: nothing to judge, or pairs without others, or others without a rubric for pairs.
    """
    _check(rubrics, others)
    found: list[Planned] = []
    for rubric in rubrics:
        for item, other in _sides(rubric, items, others):
            orders: tuple[Order, ...] = ("ab", "ba") if other else ("",)
            for order in orders:
                messages = rubric.messages(item, other, order)
                shown = (item, other) if order != "ba" else (other, item)
                answers = tuple(answer for one in shown if one for answer in one.answers[: rubric.turn])
                for number in range(repeat):
                    settings = sampling.settings(rubric.max_new_tokens, number)
                    call = Call(judge, rubric.name, messages, answers, settings, number)
                    found.append(Planned(item, other, rubric, order, number, call))
    if not found:
        raise UsageError(
            "there is nothing to judge: no answer fits a rubric"
            + (", or the two sets of answers have no question in common" if others else ""),
            cure="see --rubric; two-turn rubrics need answers to two turns",
        )
    return found


def _sides(
    rubric: Rubric, items: Sequence[Answered], others: Sequence[Answered]
) -> Iterator[tuple[Answered, Answered | None]]:
    """The answers that a rubric fits, each with its rivals where it compares two."""
    rivals: dict[tuple[str, ...], list[Answered]] = {}
    for one in others:
        rivals.setdefault(one.question.turns, []).append(one)
    for item in filter(rubric.fits, items):
        if rubric.kind == "score":
            yield item, None
            continue
        for other in filter(rubric.fits, rivals.get(item.question.turns, [])):
            if other.model == item.model:
                raise UsageError(
                    f"both sets of answers are by '{item.model}'",
                    cure="call the first one otherwise with --name, or rename a file",
                )
            yield item, other


def _check(rubrics: Sequence[Rubric], others: Sequence[Answered]) -> None:
    pairs = [rubric.name for rubric in rubrics if rubric.kind == "pair"]
    if pairs and not others:
        raise UsageError(
            f"the rubric '{pairs[0]}' compares two answers", cure="name the other ones: --against ANSWERS2"
        )
    if others and not pairs:
        raise UsageError("--against is for rubrics that compare two answers", cure="as --rubric pair")


def run_name(planned: Sequence[Planned]) -> str:
    """What a plan is called in the ledger: its budget holds over all times that it is started."""
    return hash_of(sorted({one.call.key for one in planned}))[:32]


@dataclass(frozen=True)
class Preview:
    """What is still to be asked, and what it will take.

    Attributes:
        planned: calls in all.
        known: calls that the ledger holds.
        prompt_tokens: about how many are sent.
        completion_tokens: about how many are written.
        most_prompt_tokens: no more than these.
        most_completion_tokens: no more than these.
        measured: calls of this judge that the estimate rests on; 0: on a guess.
    """

    planned: int
    known: int
    prompt_tokens: int
    completion_tokens: int
    most_prompt_tokens: int
    most_completion_tokens: int
    measured: int

    @property
    def to_ask(self) -> int:
        """Calls that are still to be asked."""
        return self.planned - self.known

    def as_record(self, prices: Prices | None) -> dict[str, Any]:
        """As JSON; with cost where there are prices."""
        record: dict[str, Any] = {name: getattr(self, name) for name in self.__dataclass_fields__}
        record["to_ask"] = self.to_ask
        if prices:
            record["cost"] = prices.cost(self.prompt_tokens, self.completion_tokens)
            record["most_cost"] = prices.cost(self.most_prompt_tokens, self.most_completion_tokens)
        return record


def preview(planned: Sequence[Planned], ledger: Ledger) -> Preview:
    """What a plan will still take, by what the ledger knows of the judge."""
    calls = unique(one.call for one in planned)
    known = ledger.replies([call.key for call in calls])
    asked = [call for call in calls if call.key not in known]
    counted, characters, prompt, completion = ledger.habits(calls[0].judge)
    ratio = prompt / characters if characters else _TOKENS_PER_CHARACTER
    reply = completion / counted if counted else _REPLY_TOKENS
    return Preview(
        planned=len(calls),
        known=len(known),
        prompt_tokens=round(ratio * sum(call.prompt_characters for call in asked)),
        completion_tokens=round(sum(min(reply, call.max_tokens) for call in asked)),
        most_prompt_tokens=sum(call.most_prompt_tokens for call in asked),
        most_completion_tokens=sum(call.max_tokens for call in asked),
        measured=counted,
    )
