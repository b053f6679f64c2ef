"""The record of what models have answered: a SQLite file that survives kill -9 and prunes itself."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from komt.files import home, locked

_DAY_S = 86_400.0
_KEPT_DAYS = 180.0
_KEPT_BYTES = 1 << 30
_AT_A_TIME = 500
_SCHEMA = """
CREATE TABLE IF NOT EXISTS answers (
    model TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL, made REAL NOT NULL, used REAL NOT NULL,
    PRIMARY KEY (model, key)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS answers_used ON answers (used);
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value REAL NOT NULL);
"""


class Record:
    """Answers by model and key. What `put` was given is on the disk when it returns.

    Several processes may use one file at the same time. A file that is broken is moved aside.

    Args:
        path: default: KOMT_HOME/evaluate/answers.sqlite.
        now: seconds since 1970.
    """

    def __init__(self, path: Path | None = None, *, now: Callable[[], float] = time.time) -> None:
        self.path = path or home() / "evaluate" / "answers.sqlite"
        self._now = now
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with locked(self.path):  # SQLite tells whoever comes while another opens or leaves: locked
            try:
                self._file = self._open()
            except sqlite3.DatabaseError as error:
                if isinstance(error, sqlite3.OperationalError):  # a full disk, or a file not to be written
                    raise
                self.path.replace(self.path.with_suffix(".broken"))
                self._file = self._open()
        self._prune_daily()

    def _open(self) -> sqlite3.Connection:
        file = sqlite3.connect(self.path, timeout=60, isolation_level=None)
        file.execute("PRAGMA auto_vacuum = INCREMENTAL")
        file.execute("PRAGMA journal_mode = WAL")
        file.execute("PRAGMA synchronous = FULL")
        file.executescript(_SCHEMA)
        return file

    def get(self, model: str, keys: Sequence[str], *, seconds: float = 0) -> dict[str, Any]:
        """The values of the keys that are known, each as `put` was given it.

        Args:
            model: whose answers.
            keys: what was asked.
            seconds: how old an answer may be; 0: any age.
        """
        oldest = self._now() - seconds if seconds else 0.0
        found: dict[str, Any] = {}
        for start in range(0, len(keys), _AT_A_TIME):
            asked = list(dict.fromkeys(keys[start : start + _AT_A_TIME]))
            marks = ", ".join("?" * len(asked))
            rows = self._file.execute(
                f"SELECT key, value FROM answers WHERE model = ? AND made >= ? AND key IN ({marks})",
                [model, oldest, *asked],
            )
            found |= {key: json.loads(value) for key, value in rows}
        with self._transaction():
            self._file.executemany(
                "UPDATE answers SET used = ? WHERE model = ? AND key = ?",
                [(self._now(), model, key) for key in found],
            )
        return found

    def put(self, model: str, values: Mapping[str, Any]) -> None:
        """Keep values (JSON) by key; older ones of the same key are replaced."""
        now = self._now()
        with self._transaction():
            self._file.executemany(
                "INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?, ?)",
                [(model, key, json.dumps(v, ensure_ascii=False), now, now) for key, v in values.items()],
            )

    def prune(self, *, days: float = _KEPT_DAYS, most_bytes: int = _KEPT_BYTES) -> int:
        """Remove what was not used for some days, then the longest unused until the rest is small enough.

        Returns:
            How many answers were removed.
        """
        before = self._count()
        with self._transaction():
            self._file.execute("DELETE FROM answers WHERE used < ?", [self._now() - days * _DAY_S])
            self._file.execute(
                "DELETE FROM answers WHERE (model, key) IN (SELECT model, key FROM (SELECT model, key, "
                "SUM(LENGTH(value) + 200) OVER (ORDER BY used DESC, model, key) AS bytes FROM answers) "
                "WHERE bytes > ?)",
                [most_bytes],
            )
        self._file.execute("PRAGMA incremental_vacuum")
        return before - self._count()

    def close(self) -> None:
        """Close the file."""
        with locked(self.path):
            self._file.close()

    def _count(self) -> int:
        return int(self._file.execute("SELECT COUNT(*) FROM answers").fetchone()[0])

    def _prune_daily(self) -> None:
        found = self._file.execute("SELECT value FROM facts WHERE name = 'pruned'").fetchone()
        if found is None or self._now() - found[0] > _DAY_S:
            self.prune()
            self._file.execute("INSERT OR REPLACE INTO facts VALUES ('pruned', ?)", [self._now()])

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        self._file.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._file.execute("ROLLBACK")
            raise
        self._file.execute("COMMIT")
