"""Training examples in the shapes other programs read."""

from __future__ import annotations

from pathlib import Path

from komt.example import Example
from komt.files import write_json


def write_alpaca(path: Path, examples: list[Example]) -> None:
    """A JSON list of {instruction, input, output}; the whole prompt is the instruction."""
    rows = [
        {
            "instruction": "\n\n".join(message.content for message in example.prompt),
            "input": "",
            "output": example.messages[-1].content,
        }
        for example in examples
    ]
    write_json(path, rows)
