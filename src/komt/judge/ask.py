"""Asking: every call once, whatever the server does, as fast as it lets us."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from komt.errors import KomtError
from komt.judge.budget import Budget
from komt.judge.call import Call, Reply
from komt.judge.ledger import Ledger, unique
from komt.judge.pace import Pace, backoff_s

# For what is under way when the run has to end.
_LAST_REPLIES_S = 30.0
# Attempts at a server from which nothing has ever come.
_TRIES_UNHEARD = 4


class BusyError(Exception):
    """The server takes no more for now.

    Attributes:
        retry_after_s: when it wants to be asked again, or None.
    """

    def __init__(self, why: str, retry_after_s: float | None = None) -> None:
        super().__init__(why)
        self.retry_after_s = retry_after_s


class BrokenError(Exception):
    """No usable reply came this time; asking again may help.

    Attributes:
        charged: whether the provider may charge for it.
        heard: whether anybody is there at all.
    """

    def __init__(self, why: str, *, charged: bool, heard: bool = True) -> None:
        super().__init__(why)
        self.charged, self.heard = charged, heard


class RefusedError(Exception):
    """This very call is refused, and would be again."""


class Transport(Protocol):
    """A way to a model.

    Attributes:
        judge: what the model is called in the ledger.
        at_once: the most requests that it takes at a time.
    """

    judge: str
    at_once: int

    async def ask(self, call: Call) -> Reply:
        """One request.

        Raises:
            BusyError, BrokenError, RefusedError: for this call.
            KomtError: nothing that is asked will be answered.
        """

    async def close(self) -> None:
        """Let go of the model or of the connections."""


@dataclass(frozen=True)
class Patience:
    """When to give up.

    Attributes:
        tries: attempts at one call that break; being told to wait does not count.
        busy_s: seconds without a single reply in which the server only says that it is busy.
        broken_calls: calls in a row that are given up, with no reply to any other: then the run ends.
        first_pause_s: after the first broken attempt, or when the server is busy; it doubles.
        poll_s: between looks at what another process has under way.
    """

    tries: int = 8
    busy_s: float = 900.0
    broken_calls: int = 12
    first_pause_s: float = 0.5
    poll_s: float = 0.5


@dataclass
class Asked:
    """How it went.

    Attributes:
        replies: by key; those that the ledger had, too.
        failed: why a call has no reply, by key.
        new: calls that were completed now.
        over_budget: calls that the budget did not allow.
        waits: how often the server said that it is busy.
        retries: attempts that broke and were made again.
    """

    replies: dict[str, Reply] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    new: int = 0
    over_budget: int = 0
    waits: int = 0
    retries: int = 0


class Asker:
    """Brings the replies to some calls into a ledger."""

    def __init__(
        self,
        transport: Transport,
        ledger: Ledger,
        *,
        run: str,
        budget: Budget | None = None,
        concurrency: int = 0,
        patience: Patience | None = None,
        on_reply: Callable[[], None] | None = None,
    ) -> None:
        """Args:
        transport: the way to the judge.
        ledger: where replies are kept.
        run: whose budget the calls are on.
        budget: the most that the run may take.
        concurrency: the most requests at a time; 0: as many as the transport takes.
        patience: when to give up.
        on_reply: called for every reply that is there.
        """
        self._transport, self._ledger, self._run = transport, ledger, run
        self._budget, self._patience = budget or Budget(), patience or Patience()
        self._most = min(concurrency or transport.at_once, transport.at_once)
        self._told = on_reply or (lambda: None)
        self._random = random.Random()
        self.pace = Pace(self._most, first_pause_s=self._patience.first_pause_s)

    async def ask(self, calls: Sequence[Call]) -> Asked:
        """Ask what the ledger does not hold yet.

        Returns:
            All replies that are there now, and what is missing.

        Raises:
            KomtError: the model cannot be asked at all.
        """
        self._heard, wanted = False, unique(calls)
        self._asked = Asked(replies=self._ledger.replies([call.key for call in wanted]))
        for _ in self._asked.replies:
            self._told()
        self._queue = deque(call for call in wanted if call.key not in self._asked.replies)
        self._elsewhere: deque[Call] = deque()
        self._open, self._finished, self._stopped = 0, asyncio.Event(), False
        self._last_reply_s, self._broken_in_a_row = asyncio.get_running_loop().time(), 0
        while self._queue or self._elsewhere:
            await self._ask_queue()
            if self._elsewhere:  # another process has them: it finishes, or it ends
                await asyncio.sleep(self._patience.poll_s)
                self._queue, self._elsewhere = self._elsewhere, deque()
        return self._asked

    async def _ask_queue(self) -> None:
        workers = [asyncio.create_task(self._work()) for _ in range(min(self._most, len(self._queue)))]
        try:
            done, others = await asyncio.wait(workers, return_when=asyncio.FIRST_EXCEPTION)
            if others:  # One cannot go on, so none can; but what is under way is paid for.
                self._stopped = True
                await asyncio.wait(others, timeout=_LAST_REPLIES_S)
            for worker in done:
                worker.result()
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)

    async def _work(self) -> None:
        while self._queue and not self._stopped:
            call = self._queue.popleft()
            broken = 0
            while (why := await self._attempt(call)) is not None and not self._stopped:
                broken += why != ""
                if broken >= _TRIES_UNHEARD and not self._heard:
                    raise KomtError(why, cure="check the address, and that the server is running")
                if broken >= self._patience.tries:
                    self._give_up(call, f"{why} ({broken} attempts)")
                    break
                if why:
                    self._asked.retries += 1
                    await asyncio.sleep(backoff_s(broken, self._random, first=self._patience.first_pause_s))

    async def _attempt(self, call: Call) -> str | None:
        """One attempt at a call.

        Returns:
            None: it is settled, for good or ill. Else why it broke, "" where the server was only busy.
        """
        async with self.pace.turn() as began:
            claimed = await self._claim(call)
            if claimed is None:
                return None
            self._open += 1
            try:
                reply = await self._transport.ask(call)
            except BusyError as busy:
                self._heard = True
                self._ledger.give_up(claimed, "refused")
                return self._wait(busy, began)
            except BrokenError as broken:
                self._heard |= broken.heard
                self._ledger.give_up(claimed, "uncertain" if broken.charged else "failed")
                return str(broken)
            except RefusedError as refused:
                self._ledger.give_up(claimed, "refused")
                self._give_up(call, str(refused))
                return None
            except KomtError:
                self._ledger.give_up(claimed, "refused")
                raise
            except BaseException:
                self._ledger.give_up(claimed, "uncertain")
                raise
            finally:
                self._open -= 1
                self._finished.set()
            self._ledger.complete(claimed, call, reply)
            self._keep(call, reply, new=True)
            return None

    async def _claim(self, call: Call) -> int | None:
        """The right to ask; None where it is not needed, not to be had, or not to be paid."""
        allows = (lambda spent: self._budget.allows(spent, call)) if self._budget.limited else None
        while True:
            claimed = self._ledger.claim(call, self._run, allows)
            if isinstance(claimed, int):
                return claimed
            if claimed == "completed":
                self._keep(call, self._ledger.replies([call.key])[call.key], new=False)
                return None
            if claimed == "taken":
                self._elsewhere.append(call)
                return None
            if not self._open:
                self._asked.over_budget += 1
                self._asked.failed[call.key] = "over the budget"
                return None
            # What is under way is counted as dear as it can be: some of it comes back.
            self._finished.clear()
            await self._finished.wait()

    def _keep(self, call: Call, reply: Reply, *, new: bool) -> None:
        self._heard = True
        self._asked.replies[call.key] = reply
        self._asked.new += new
        self._last_reply_s, self._broken_in_a_row = asyncio.get_running_loop().time(), 0
        if new:
            self.pace.went_well()
        self._told()

    def _wait(self, busy: BusyError, began: float) -> str:
        self._asked.waits += 1
        self.pace.busy(began, busy.retry_after_s)
        if asyncio.get_running_loop().time() - self._last_reply_s > self._patience.busy_s:
            raise KomtError(
                f"the judge has been busy for {self._patience.busy_s / 60:.0f} minutes: {busy}",
                cure="run the same command later: it goes on where it stopped",
            )
        return ""

    def _give_up(self, call: Call, why: str) -> None:
        self._asked.failed[call.key] = why
        self._broken_in_a_row += 1
        if self._broken_in_a_row >= self._patience.broken_calls:
            raise KomtError(
                f"{self._broken_in_a_row} calls in a row got no usable reply; the last one: {why}",
                cure="see to the server; the same command goes on where this one stopped",
            )
