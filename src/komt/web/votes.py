"""Votes as preference rows, `{prompt, chosen, rejected}` a line, in a file that only ever grows."""

from __future__ import annotations

import json
import os
from collections import Counter
from datetime import datetime, timezone
from pathlib import Path

from komt.files import locked


def append_vote(path: Path, prompt: str, answers: tuple[str, str], models: tuple[str, str]) -> None:
    """Add a row to the end of a file; rows that stand there are never touched.

    Args:
        path: JSON Lines; made where there is none. A last line without its end (of a writer that was killed)
            is ended first.
        prompt: what both models were asked.
        answers: the chosen and the rejected one.
        models: whose they are, in the same order.

    Raises:
        OSError: it cannot be written.
    """
    row = {
        "prompt": prompt,
        "chosen": answers[0],
        "rejected": answers[1],
        "chosen_model": models[0],
        "rejected_model": models[1],
        "time": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }
    line = json.dumps(row, ensure_ascii=False).encode() + b"\n"
    with locked(path), path.open("ab+") as file:
        if file.seek(0, os.SEEK_END):
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":
                line = b"\n" + line
        file.write(line)
        file.flush()
        os.fsync(file.fileno())


def tally(path: Path) -> dict[str, tuple[int, int]]:
    """How often each model was chosen and rejected, in all rows that say whose answers they hold."""
    won: Counter[str] = Counter()
    lost: Counter[str] = Counter()
    if path.is_file():
        with path.open(encoding="utf-8", errors="replace") as file:
            for line in file:
                try:
                    row = json.loads(line)
                    chosen, rejected = str(row["chosen_model"]), str(row["rejected_model"])
                except (ValueError, KeyError, TypeError):
                    continue
                won[chosen] += 1
                lost[rejected] += 1
    return {model: (won[model], lost[model]) for model in sorted({*won, *lost})}
