"""How the page's events reach the server.

Gradio sends the results of queued events through one connection for each visitor, closes it when none is
left, and does not open it again for an event that was asked for while it was being closed: its result never
comes. So only answers, which come in pieces, are queued; everything else is a request of its own.
"""

from __future__ import annotations

from typing import Any

_QUIET: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
AT_ONCE: dict[str, Any] = {**_QUIET, "queue": False}
IN_PIECES: dict[str, Any] = {**_QUIET, "concurrency_limit": None}
