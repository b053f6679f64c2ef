"""The project's own Korean texts, for files in the shapes of AI Hub's and KISTI's sets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

# Name in a download -> content.
Files = dict[str, bytes]
TEXTS: dict[str, list[Any]] = yaml.safe_load(
    Path(__file__).with_name("aihub_texts.yaml").read_text(encoding="utf-8")
)


def to_json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()
