"""What a run may take, in calls and in money."""

from __future__ import annotations

from dataclasses import dataclass

from komt.errors import UsageError
from komt.judge.call import Call, Reply
from komt.judge.ledger import Spending

MILLION = 1_000_000


@dataclass(frozen=True)
class Prices:
    """Money for a million tokens, in whatever currency."""

    per_million_in: float
    per_million_out: float

    def cost(self, prompt_tokens: float, completion_tokens: float) -> float:
        """What so many tokens cost."""
        return (prompt_tokens * self.per_million_in + completion_tokens * self.per_million_out) / MILLION

    def of_reply(self, call: Call, reply: Reply) -> float:
        """What a reply cost; the most it can have cost where the server counts no tokens."""
        prompt = call.most_prompt_tokens if reply.prompt_tokens is None else reply.prompt_tokens
        completion = call.max_tokens if reply.completion_tokens is None else reply.completion_tokens
        return self.cost(prompt, completion)


@dataclass(frozen=True)
class Budget:
    """The most that a run may take, over all times that it is started.

    Attributes:
        calls: requests that may be charged, or None for any number.
        money: in the currency of the prices, or None.
        prices: needed where there is a limit of money.
    """

    calls: int | None = None
    money: float | None = None
    prices: Prices | None = None

    def __post_init__(self) -> None:
        if self.money is not None and self.prices is None:
            raise UsageError(
                "a budget of money needs prices",
                cure="give --price-in and --price-out, what a million tokens cost each way",
            )
        for name, value in (("calls", self.calls), ("money", self.money)):
            if value is not None and value < 0:
                raise UsageError(f"a budget of {value:g} {name} is below 0")

    @property
    def limited(self) -> bool:
        """Whether there is a limit at all."""
        return self.calls is not None or self.money is not None

    def allows(self, spent: Spending, call: Call) -> bool:
        """Whether a call fits, were it as dear as it can be.

        Args:
            spent: what the run took, with all that is under way counted as dear as it can be.
            call: the next one.
        """
        if self.calls is not None and spent.calls + 1 > self.calls:
            return False
        if self.money is None or self.prices is None:
            return True
        tokens = spent.prompt_tokens + call.most_prompt_tokens, spent.completion_tokens + call.max_tokens
        return self.prices.cost(*tokens) <= self.money + 1e-12
