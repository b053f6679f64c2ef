"""The ledger: every completed call of every judge, in one SQLite file, written once and never asked again.

Any number of processes may use one ledger at a time. A process holds a lock on a file of its own while it
lives, and the system lets go of that lock however the process ends: that is how others know that what it had
begun is theirs to begin anew. There is no time-out to guess.
"""

from __future__ import annotations

import json
import sqlite3
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal

from filelock import FileLock, Timeout

from komt.errors import DataError
from komt.files import locked
from komt.judge.call import Call, Reply

Ending = Literal["refused", "failed", "uncertain"]
Denial = Literal["completed", "taken", "over budget"]
_BUSY_S = 120.0
_VERSION = 1
_SCHEMA = """
CREATE TABLE IF NOT EXISTS calls (
  key TEXT PRIMARY KEY, judge TEXT NOT NULL, rubric TEXT NOT NULL, messages TEXT NOT NULL,
  answers TEXT NOT NULL, settings TEXT NOT NULL, repeat INTEGER NOT NULL, reply TEXT NOT NULL,
  cut INTEGER NOT NULL, prompt_tokens INTEGER, completion_tokens INTEGER, seconds REAL NOT NULL,
  completed REAL NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS attempts (
  id INTEGER PRIMARY KEY, key TEXT NOT NULL, run TEXT NOT NULL, owner TEXT NOT NULL, started REAL NOT NULL,
  ending TEXT, prompt_tokens INTEGER NOT NULL, completion_tokens INTEGER NOT NULL
);
CREATE UNIQUE INDEX IF NOT EXISTS one_at_a_time ON attempts (key) WHERE ending IS NULL;
CREATE INDEX IF NOT EXISTS of_a_run ON attempts (run);
"""


@dataclass(frozen=True)
class Spending:
    """What the attempts of a run took, or may have taken.

    Attributes:
        calls: requests that a provider may charge: answered, or broken off.
        prompt_tokens: theirs; where an attempt broke off, the most it can have been.
        completion_tokens: the same of the replies.
    """

    calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0


class Ledger:
    """Completed calls by key, and the attempts that led to them.

    An attempt is written down before its request goes out, so that even one that a kill -9 cut off is known,
    and counts as money that may have been spent.
    """

    def __init__(self, path: Path) -> None:
        """Open a ledger, or begin one.

        Raises:
            DataError: the file is no ledger, or one of a later komt.
        """
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._owner = uuid.uuid4().hex
        self._locks = path.parent / f"{path.name}.owners"
        self._locks.mkdir(exist_ok=True)
        self._lock = FileLock(str(self._locks / self._owner))
        self._lock.acquire()
        try:
            # SQLite takes the whole file for a moment when a ledger begins to keep its log (WAL) and when its
            # last user leaves; others are then told at once that it is locked, however long they may wait.
            with locked(path):
                self._connection = self._open()
        except BaseException:
            self._release()
            raise

    def _open(self) -> sqlite3.Connection:
        if self.path.is_dir():
            raise DataError(
                f"the ledger is a folder: {self.path}", cure="name a file in it, such as ledger.sqlite"
            )
        connection = sqlite3.connect(
            self.path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False
        )
        try:
            # WAL: readers and one writer at a time. FULL: what is paid for outlives a power cut, too.
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=FULL")
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            if version not in {0, _VERSION}:
                raise DataError(
                    f"a ledger of version {version}, which this komt does not know",
                    where=str(self.path),
                    cure="update komt, or name another file with --ledger",
                )
            connection.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} PRAGMA user_version={_VERSION}; COMMIT;")
        except sqlite3.DatabaseError as error:
            connection.close()
            raise DataError(
                f"the ledger cannot be used: {error}",
                where=str(self.path),
                cure="name another file with --ledger; of a damaged one `sqlite3 FILE .recover` saves rows",
            ) from error
        except BaseException:
            connection.close()
            raise
        return connection

    def __enter__(self) -> Ledger:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; what this process had begun is free for others."""
        with locked(self.path):
            self._connection.close()
        self._release()

    def _release(self) -> None:
        self._lock.release()
        (self._locks / self._owner).unlink(missing_ok=True)

    def replies(self, keys: Sequence[str]) -> dict[str, Reply]:
        """The completed ones of some calls."""
        found: dict[str, Reply] = {}
        for start in range(0, len(keys), 500):
            part = keys[start : start + 500]
            rows = self._connection.execute(
                "SELECT key, reply, cut, prompt_tokens, completion_tokens, seconds FROM calls "
                f"WHERE key IN ({','.join('?' * len(part))})",
                part,
            )
            for key, text, cut, prompt, completion, seconds in rows:
                found[key] = Reply(text, bool(cut), prompt, completion, seconds)
        return found

    def claim(self, call: Call, run: str, allows: Callable[[Spending], bool] | None = None) -> int | Denial:
        """Begin an attempt, unless the call is completed, another living process is at it, or it is too dear.

        Args:
            call: what will be asked.
            run: whose budget it is on.
            allows: whether the run may go on after what it spent up to now. It is asked within the same
                transaction, so that several processes together keep to one budget.

        Returns:
            The attempt's number, or why there is none.
        """
        with self._writing() as connection:
            if connection.execute("SELECT 1 FROM calls WHERE key = ?", (call.key,)).fetchone():
                return "completed"
            row = connection.execute(
                "SELECT id, owner FROM attempts WHERE key = ? AND ending IS NULL", (call.key,)
            ).fetchone()
            if row:
                if self._lives(row[1]):
                    return "taken"
                connection.execute("UPDATE attempts SET ending = 'uncertain' WHERE id = ?", (row[0],))
            if allows and not allows(self.spent(run)):
                return "over budget"
            added = connection.execute(
                "INSERT INTO attempts (key, run, owner, started, prompt_tokens, completion_tokens) "
                "VALUES (?,?,?,?,?,?)",
                (call.key, run, self._owner, time.time(), call.most_prompt_tokens, call.max_tokens),
            )
            return int(added.lastrowid or 0)

    def complete(self, attempt: int, call: Call, reply: Reply) -> None:
        """Write a reply down, for good.

        Raises:
            sqlite3.IntegrityError: the call was completed before; `claim` does not let that happen.
        """
        with self._writing() as connection:
            connection.execute(
                "INSERT INTO calls VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?)",
                (
                    call.key,
                    call.judge,
                    call.rubric,
                    _json([message.as_chat() for message in call.messages]),
                    _json(call.answers),
                    _json(dict(call.settings)),
                    call.repeat,
                    reply.text,
                    reply.cut,
                    reply.prompt_tokens,
                    reply.completion_tokens,
                    reply.seconds,
                    time.time(),
                ),
            )
            connection.execute(
                "UPDATE attempts SET ending = 'done', prompt_tokens = coalesce(?, prompt_tokens), "
                "completion_tokens = coalesce(?, completion_tokens) WHERE id = ?",
                (reply.prompt_tokens, reply.completion_tokens, attempt),
            )

    def give_up(self, attempt: int, ending: Ending) -> None:
        """End an attempt without a reply.

        Args:
            attempt: its number.
            ending: "refused" and "failed" cost nothing; "uncertain" may have been computed and charged.
        """
        with self._writing() as connection:
            connection.execute("UPDATE attempts SET ending = ? WHERE id = ?", (ending, attempt))

    def spent(self, run: str) -> Spending:
        """What a run's attempts took up to now, in all processes, those that were killed included."""
        row = self._connection.execute(
            "SELECT count(*), coalesce(sum(prompt_tokens), 0), coalesce(sum(completion_tokens), 0) "
            "FROM attempts WHERE run = ? AND (ending IN ('done', 'uncertain') OR ending IS NULL)",
            (run,),
        ).fetchone()
        return Spending(*row)

    def habits(self, judge: str) -> tuple[int, int, int, int]:
        """Of a judge's calls with known tokens: how many, characters and tokens in, tokens out."""
        row = self._connection.execute(
            "SELECT count(*), coalesce(sum(length(messages)), 0), coalesce(sum(prompt_tokens), 0), "
            "coalesce(sum(completion_tokens), 0) FROM calls WHERE judge = ? AND prompt_tokens IS NOT NULL "
            "AND completion_tokens IS NOT NULL",
            (judge,),
        ).fetchone()
        return int(row[0]), int(row[1]), int(row[2]), int(row[3])

    def endings(self, run: str) -> dict[str, int]:
        """How many attempts of a run ended how; "open": not yet, or with their process."""
        rows = self._connection.execute(
            "SELECT coalesce(ending, 'open'), count(*) FROM attempts WHERE run = ? GROUP BY 1", (run,)
        )
        return dict(rows.fetchall())

    def _lives(self, owner: str) -> bool:
        """Whether the process that began something is still there: then it holds its lock."""
        if owner == self._owner:
            return True
        file = self._locks / owner
        if not file.exists():
            return False
        lock = FileLock(str(file))
        try:
            lock.acquire(timeout=0)
        except Timeout:
            return True
        file.unlink(missing_ok=True)
        lock.release()
        return False

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction that holds the right to write from its beginning."""
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
            except BaseException:
                with suppress(sqlite3.OperationalError):  # a full disk has rolled it back already
                    self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")
        except sqlite3.OperationalError as error:
            raise DataError(
                f"the ledger cannot be written: {error}",
                where=str(self.path),
                cure="see to the disk, or to the program that holds the file; the same command goes on",
            ) from error


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def unique(calls: Iterable[Call]) -> list[Call]:
    """Calls of different keys, in their order."""
    return list({call.key: call for call in calls}.values())
