"""Where tables are printed: as wide as the terminal; what is no terminal takes any width."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

_FILE_WIDTH = 500


def table_console() -> Console:
    """Standard output; in a file or a pipe with room for whole lines."""
    from rich.console import Console

    return Console() if sys.stdout.isatty() else Console(width=_FILE_WIDTH)
