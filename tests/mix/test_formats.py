from __future__ import annotations

import json
from pathlib import Path

from komt.example import Example, Message
from komt.mix.formats import write_alpaca


def test_alpaca_rows_hold_the_whole_prompt(tmp_path: Path) -> None:
    fields = dict.fromkeys(("id", "task", "family", "kind", "source", "licence", "origin", "split"), "")
    messages = (Message("user", "물음"), Message("assistant", "답", supervised=True))
    write_alpaca(tmp_path / "a.json", [Example(template="", group="", messages=messages, **fields)])
    assert json.loads((tmp_path / "a.json").read_text()) == [
        {"instruction": "물음", "input": "", "output": "답"}
    ]
