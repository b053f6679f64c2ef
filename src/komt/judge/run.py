"""A judge's run: answers, calls, replies, a folder. What was paid for is in the ledger, whatever happens."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from komt.errors import UsageError
from komt.example import Message
from komt.files import hash_of, home
from komt.judge.ask import Asked, Asker, Patience
from komt.judge.budget import Budget, Prices
from komt.judge.call import Call
from komt.judge.folder import Row, judgement, pair_rows, score_rows, write_folder
from komt.judge.items import Answered
from komt.judge.judges import Opening, identity, open_transport, shown_name
from komt.judge.ledger import Ledger
from komt.judge.plan import Planned, Sampling, run_name
from komt.judge.questions import Question
from komt.progress import progress

# Shows progress: a title and a total in, a context with a function to call for each out.
Shown = Callable[[str, int], AbstractContextManager[Callable[[], None]]]
ANSWER_RUBRIC = "answer"


def default_ledger() -> Path:
    """Where judges' replies are kept when nothing else is said: one ledger for all runs."""
    return home() / "judge" / "ledger.sqlite"


@dataclass(frozen=True)
class Asking:
    """How calls are brought in.

    Attributes:
        ledger: where replies are kept.
        budget: the most that a run may take.
        concurrency: the most requests at a time; 0: as many as the model takes.
        patience: when to give up.
        shown: how progress is shown.
    """

    ledger: Ledger
    budget: Budget = field(default_factory=Budget)
    concurrency: int = 0
    patience: Patience = field(default_factory=Patience)
    shown: Shown = progress

    def bring(self, calls: Sequence[Call], opening: Opening, judge: str, run: str, title: str) -> Asked:
        """The replies to calls; the model is opened only where one is missing.

        Raises:
            UsageError, ModelError: the model cannot be opened. KomtError: it cannot be asked.
        """
        known = self.ledger.replies([call.key for call in calls])
        if all(call.key in known for call in calls):
            return Asked(replies=known)
        return asyncio.run(self._bring(calls, opening, judge, run, title))

    async def _bring(
        self, calls: Sequence[Call], opening: Opening, judge: str, run: str, title: str
    ) -> Asked:
        transport = open_transport(opening, judge)
        try:
            with self.shown(title, len({call.key for call in calls})) as advance:
                asker = Asker(
                    transport,
                    self.ledger,
                    run=run,
                    budget=self.budget,
                    concurrency=self.concurrency,
                    patience=self.patience,
                    on_reply=advance,
                )
                return await asker.ask(calls)
        finally:
            await transport.close()


def answers_of(
    questions: Sequence[Question], opening: Opening, asking: Asking, sampling: Sampling, *, name: str = ""
) -> list[Answered]:
    """A model's answers to questions, turn by turn; those the ledger has are not asked for again.

    Raises:
        UsageError: an answer is missing, with the reason.
    """
    model = identity(opening)
    answers: dict[str, list[str]] = {question.id: [] for question in questions}
    for turn in range(max(len(question.turns) for question in questions)):
        asked = [question for question in questions if len(question.turns) > turn]
        calls = {
            question.id: _answer_call(model, question, answers[question.id], sampling) for question in asked
        }
        run = hash_of([call.key for call in calls.values()])[:32]
        found = asking.bring(list(calls.values()), opening, model, run, f"answers, turn {turn + 1}")
        for question in asked:
            reply = found.replies.get(calls[question.id].key)
            if reply is None:
                why = found.failed.get(calls[question.id].key, "no reply")
                raise UsageError(
                    f"'{opening.model}' gave no answer to the question '{question.id}': {why}",
                    cure="the same command goes on with what is missing",
                )
            answers[question.id].append(reply.text.strip())
    shown = name or shown_name(opening, model)
    return [Answered(question, shown, tuple(answers[question.id])) for question in questions]


def _answer_call(model: str, question: Question, before: Sequence[str], sampling: Sampling) -> Call:
    talk: list[Message] = []
    for asked, answer in zip(question.turns, before, strict=False):
        talk += [Message("user", asked), Message("assistant", answer)]
    talk.append(Message("user", question.turns[len(before)]))
    return Call(model, ANSWER_RUBRIC, tuple(talk), (), sampling.settings(1024, 0))


@dataclass(frozen=True)
class Judged:
    """What a run found out.

    Attributes:
        judgements: lines of judgements.jsonl, in the plan's order.
        scores: rows of scores.json.
        about: what judge.json says.
        missing: why calls have no reply, with how many; empty where all have one.
    """

    judgements: list[Row]
    scores: list[Row]
    about: dict[str, Any]
    missing: dict[str, int]


def judge_plan(
    planned: Sequence[Planned],
    opening: Opening,
    judge: str,
    asking: Asking,
    *,
    out: Path,
    split: str,
    limited: bool = False,
) -> Judged:
    """Bring in the replies to a plan and write the folder; where some are missing, with those that are there.

    Args:
        planned: what is to be found out.
        opening: the judge.
        judge: its `identity`.
        asking: how calls are brought in.
        out: the folder.
        split: what the questions are called.
        limited: whether they are only some of a set, which every score then says.

    Raises:
        KomtError: the judge cannot be opened or asked.
    """
    run, name = run_name(planned), shown_name(opening, judge)
    asked = asking.bring([one.call for one in planned], opening, judge, run, f"judging by {name}")
    prices = asking.budget.prices
    rows = _rows(planned, asked, name, prices)
    scales = {one.rubric.name: one.rubric.scale for one in planned if one.rubric.scale}
    missing = dict(Counter(asked.failed.values()))
    flags = ["limited"] if limited or missing else []
    scores = [{**row, "flags": flags} for row in (*score_rows(rows, scales, split), *pair_rows(rows, split))]
    about = _about(planned, asked, asking, run, rows) | {
        "judge": name,
        "ledger_name": judge,
        "questions": split,
    }
    items = list(dict.fromkeys(one for row in planned for one in (row.item, row.other) if one))
    write_folder(out, rows, scores, items, about)
    return Judged(rows, scores, about, missing)


def _rows(planned: Sequence[Planned], asked: Asked, judge: str, prices: Prices | None) -> list[Row]:
    """Lines of judgements.jsonl; of equal answers both orders are one call, which costs once."""
    rows: list[Row] = []
    seen: set[str] = set()
    for one in planned:
        if reply := asked.replies.get(one.call.key):
            row = judgement(one, reply, judge, prices)
            if one.call.key in seen:
                row |= {
                    "prompt_tokens": 0,
                    "completion_tokens": 0,
                    "cost": 0.0 if prices else None,
                    "seconds": 0.0,
                }
            seen.add(one.call.key)
            rows.append(row)
    return rows


def _about(
    planned: Sequence[Planned], asked: Asked, asking: Asking, run: str, rows: Sequence[Row]
) -> dict[str, Any]:
    """What judge.json says of how a run went."""
    spent, prices = asking.ledger.spent(run), asking.budget.prices
    return {
        "ledger": str(asking.ledger.path),
        "run": run,
        "rubrics": {one.rubric.name: hash_of(one.rubric.model_dump())[:16] for one in planned},
        "settings": dict(planned[0].call.settings),
        "calls": len({one.call.key for one in planned}),
        "new": asked.new,
        "missing": dict(Counter(asked.failed.values())),
        "waits": asked.waits,
        "retries": asked.retries,
        "unscored": dict(Counter(row["reason"] for row in rows if row["reason"])),
        "requests": spent.calls,
        "prompt_tokens": spent.prompt_tokens,
        "completion_tokens": spent.completion_tokens,
        "cost": prices.cost(spent.prompt_tokens, spent.completion_tokens) if prices else None,
        "seconds": round(sum(row["seconds"] for row in rows), 3),
    }
