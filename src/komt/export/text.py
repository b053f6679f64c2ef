"""The Korean text that exported files are compared on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from komt.errors import ModelError

POSITIONS = 512

KOREAN_TEXT: str = yaml.safe_load((Path(__file__).parent / "text.yaml").read_text(encoding="utf-8"))["korean"]


def reference_ids(tokenizer: Any, positions: int = POSITIONS) -> list[int]:
    """The text's tokens, so many that each of `positions` places has a next one: positions + 1 ids.

    The tokenizer begins as it does with any text (with BOS, where it has that habit).

    Raises:
        ModelError: the text is shorter than that under this tokenizer.
    """
    ids = [int(token) for token in tokenizer(KOREAN_TEXT)["input_ids"]]
    if len(ids) <= positions:
        raise ModelError(
            f"the text of the gates has {len(ids):,} tokens under this tokenizer, and "
            f"{positions + 1:,} are needed"
        )
    return ids[: positions + 1]
