"""Which events of the page go through Gradio's queue."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

pytest.importorskip("gradio")
from komt.web.app import _page
from komt.web.runs import Runs
from komt.web.text import Words


def test_only_answers_that_come_in_pieces_are_queued(tmp_path: Path) -> None:
    page = _page(Words("ko"), None, Runs(tmp_path / "runs"), tmp_path / "votes.jsonl", "")
    events = [event for event in page.fns.values() if event.fn is not None]
    queued = {event.fn.__name__ for event in events if event.queue}
    assert queued == {event.fn.__name__ for event in events if inspect.isasyncgenfunction(event.fn)}
    assert {"send", "again", "edit", "example"} <= queued
    assert {"opened", "refresh", "chosen"} <= {event.fn.__name__ for event in events} - queued
