"""Asking a judge: nothing lost, nothing completed twice, whatever the server does."""

import asyncio

import pytest
from failing_server import FailingServer

from komt.errors import KomtError, ModelError
from komt.example import Message
from komt.judge.ask import Asker, Patience
from komt.judge.budget import Budget, Prices
from komt.judge.call import Call, Reply
from komt.judge.ledger import Ledger
from komt.judge.over_http import HttpTransport
from komt.judge.read_reply import read_score

SETTINGS = {"max_tokens": 64, "temperature": 0.0}
# Draws every trouble for 200 calls, and few of those that take time.
SEED = 8
QUICK = Patience(first_pause_s=0.01, poll_s=0.02)


def calls_of(count):
    return [
        Call("심사", "single", (Message("user", f"질문 {n}"),), (f"답 {n}",), SETTINGS) for n in range(count)
    ]


def asked(server, ledger, calls, *, run="r", timeout_s=5.0, patience=QUICK, concurrency=16, **options):
    async def go():
        transport = HttpTransport(
            server.address, "심사", judge="심사", at_once=concurrency, timeout_s=timeout_s
        )
        asker = Asker(transport, ledger, run=run, patience=patience, **options)
        try:
            return await asker.ask(calls), asker
        finally:
            await transport.close()

    return asyncio.run(go())


def check_whole(server, ledger, calls, found):
    """Every call has its own reply, in the ledger once, and the server gave each exactly once."""
    assert not found.failed
    assert set(found.replies) == {call.key for call in calls}
    for call in calls:
        prompt = call.messages[-1].content
        assert read_score(found.replies[call.key].text, 1, 10).score == server.score(prompt)
    again = ledger.replies([call.key for call in calls])
    assert again == found.replies
    assert ledger.endings("r")["done"] == len(calls)
    assert set(server.served.values()) == {1}
    assert len(server.served) == len(calls)


def test_every_call_is_completed_once_whatever_the_server_does(tmp_path):
    calls = calls_of(200)
    with FailingServer(seed=SEED) as server, Ledger(tmp_path / "l.sqlite") as ledger:
        found, asker = asked(server, ledger, calls, timeout_s=2)
        check_whole(server, ledger, calls, found)
        assert set(server.troubles) <= set(server.met)
        assert found.new == 200
        assert asker.pace.lowest < 4
        before = server.tried.total()
        again, _ = asked(server, ledger, calls)
        assert (again.new, again.replies) == (0, found.replies)
        assert server.tried.total() == before


@pytest.mark.slow
def test_five_thousand_calls(tmp_path):
    calls = calls_of(5000)
    with FailingServer(capacity=24) as server, Ledger(tmp_path / "l.sqlite") as ledger:
        found, asker = asked(server, ledger, calls, concurrency=32, timeout_s=3)
        check_whole(server, ledger, calls, found)
        print(dict(server.met), "most at a time", server.most_running, "lowest limit", asker.pace.lowest)


def test_concurrency_follows_what_the_server_takes(tmp_path):
    calls = calls_of(400)
    with FailingServer({}, capacity=6, latency_s=0.02) as server, Ledger(tmp_path / "l.sqlite") as ledger:
        found, asker = asked(server, ledger, calls, concurrency=64)
        check_whole(server, ledger, calls, found)
        assert 0 < server.met["busy"] < 200
        assert asker.pace.limit < 20
    with FailingServer({}, latency_s=0.02) as server, Ledger(tmp_path / "m.sqlite") as ledger:
        _, asker = asked(server, ledger, calls, concurrency=64)
        assert asker.pace.limit > 20


def test_a_budget_of_calls_holds_over_all_starts(tmp_path):
    calls = calls_of(50)
    with FailingServer({"cut": 0.2}) as server, Ledger(tmp_path / "l.sqlite") as ledger:
        budget = Budget(calls=20)
        found, _ = asked(server, ledger, calls, budget=budget)
        assert found.new + server.met["cut"] == server.tried.total() == 20
        assert found.over_budget == len(found.failed) == 50 - found.new
        found, _ = asked(server, ledger, calls, budget=budget)
        assert (found.new, server.tried.total()) == (0, 20)
        found, _ = asked(server, ledger, calls, budget=Budget(calls=1000))
        check_whole(server, ledger, calls, found)


def test_a_budget_of_money_is_never_overdrawn_and_nearly_used_up(tmp_path):
    calls, prices = calls_of(200), Prices(1000, 5000)
    with FailingServer({"stall": 0.02, "busy": 0.1}) as server, Ledger(tmp_path / "l.sqlite") as ledger:
        found, _ = asked(server, ledger, calls, budget=Budget(money=3.0, prices=prices), timeout_s=1)
        spent = ledger.spent("r")
        cost = prices.cost(spent.prompt_tokens, spent.completion_tokens)
        dearest = prices.cost(calls[0].most_prompt_tokens, calls[0].max_tokens)
        assert 3.0 - dearest - 0.1 <= cost <= 3.0
        assert found.over_budget > 0


def test_calls_that_never_work_are_told_and_do_not_stop_the_others(tmp_path):
    calls = calls_of(30)
    bad = calls[7].messages[-1].content

    class Refusing(FailingServer):
        def trouble(self, prompt):
            return {bad: "400"}.get(prompt, "")

    with Refusing() as server, Ledger(tmp_path / "l.sqlite") as ledger:
        found, _ = asked(server, ledger, calls)
        assert list(found.failed) == [calls[7].key]
        assert "HTTP status 400" in found.failed[calls[7].key]
        assert found.new == 29
    with FailingServer({"500": 1.0}, most_troubles=99) as server, Ledger(tmp_path / "m.sqlite") as ledger:
        with pytest.raises(KomtError, match="12 calls in a row"):
            asked(server, ledger, calls, patience=Patience(first_pause_s=0.001, tries=3))
        assert ledger.endings("r").keys() == {"failed"}  # nothing under way was cut off


@pytest.mark.parametrize(
    ("status", "message"), [("401", "status 401"), ("402", "wants money"), ("404", "status 404")]
)
def test_what_no_waiting_cures_ends_the_run(tmp_path, status, message):
    with FailingServer({status: 1.0}) as server, Ledger(tmp_path / "l.sqlite") as ledger:
        with pytest.raises(ModelError, match=message):
            asked(server, ledger, calls_of(5), concurrency=1)
        assert server.tried.total() == 1


def test_where_nobody_is_the_run_ends_soon(tmp_path):
    with FailingServer({}) as server:
        pass
    with Ledger(tmp_path / "l.sqlite") as ledger, pytest.raises(KomtError, match="nothing answers at"):
        asked(server, ledger, calls_of(40))


def test_a_server_that_only_says_busy_is_left_alone_after_a_while(tmp_path):
    server, ledger = (
        FailingServer({"busy, seconds": 1.0}, most_troubles=10_000),
        Ledger(tmp_path / "l.sqlite"),
    )
    with server, ledger, pytest.raises(KomtError, match="has been busy"):
        asked(server, ledger, calls_of(3), patience=Patience(busy_s=0.3))


def test_a_field_that_the_server_minds_is_sent_otherwise(tmp_path):
    class Modern(FailingServer):
        def trouble(self, prompt):
            return "400" if "max_tokens" in self.seen[prompt][-1] else ""

    calls = calls_of(3)
    with Modern() as server, Ledger(tmp_path / "l.sqlite") as ledger:
        # In the words of OpenAI's newer models.
        server.words["400"] = "Unsupported parameter: 'max_tokens' is not supported with this model."
        found, _ = asked(server, ledger, calls, concurrency=1)
        assert found.new == 3
        bodies = [server.seen[call.messages[-1].content] for call in calls]
        assert [len(tries) for tries in bodies] == [2, 1, 1]
        assert all(tries[-1]["max_completion_tokens"] == 64 for tries in bodies)


def test_two_askers_at_once_share_the_work(tmp_path):
    calls = calls_of(120)
    path = tmp_path / "l.sqlite"

    async def go(server, ledgers):
        ways = [HttpTransport(server.address, "심사", judge="심사", at_once=8) for _ in ledgers]
        pairs = zip(ways, ledgers, strict=True)
        askers = [Asker(way, ledger, run="r", patience=QUICK) for way, ledger in pairs]
        try:
            return await asyncio.gather(*(asker.ask(calls) for asker in askers))
        finally:
            for way in ways:
                await way.close()

    with FailingServer({"busy": 0.05, "cut": 0.05}) as server, Ledger(path) as one, Ledger(path) as other:
        first, second = asyncio.run(go(server, (one, other)))
        assert first.new + second.new == 120
        assert min(first.new, second.new) > 0
        assert first.replies == second.replies
        check_whole(server, one, calls, first)


def test_a_reply_of_another_kind_is_kept_as_it_is(tmp_path):
    [call] = calls_of(1)

    class Way:
        judge, at_once = "심사", 4

        async def ask(self, call):
            return Reply("죄송합니다.\u2028\x00", cut=True)

        async def close(self):
            pass

    with Ledger(tmp_path / "l.sqlite") as ledger:
        found = asyncio.run(Asker(Way(), ledger, run="r").ask([call, call]))
        assert found.new == 1
        assert ledger.replies([call.key])[call.key] == Reply("죄송합니다.\u2028\x00", cut=True)
