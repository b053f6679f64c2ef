from __future__ import annotations

import json
from typing import Any


def squad(paragraphs: list[dict[str, Any]], title: str = "제목") -> str:
    """A SQuAD v1.1 file of one article."""
    return json.dumps(
        {"version": "1", "data": [{"title": title, "paragraphs": paragraphs}]}, ensure_ascii=False
    )


def question(id: str, text: str, answer: str, start: int) -> dict[str, Any]:
    return {"id": id, "question": text, "answers": [{"text": answer, "answer_start": start}]}
