"""Options of every reader that change values: fill, unescape, decimals; and line ends."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from komt.errors import DataError
from komt.sources.readers import READERS, ReaderOptions, Row


def read(path: Path, format: str = "csv", **options: Any) -> list[dict[str, Any]]:
    reader = READERS.get(format)
    return [item.values for item in reader.read(path, reader.options(**options)) if isinstance(item, Row)]


def test_a_file_of_one_kind_gets_a_field_that_says_so(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("q,a\n어디,여기\n언제,지금\n")
    assert [row["domain"] for row in read(path, fill={"domain": "travel"})] == ["travel", "travel"]


def test_html_entities_become_characters_where_asked(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("ko,en\n끝&#8212;\u00a0시작,R&amp;D &#8212; AT&T\n&amp;amp;,x\n")
    assert read(path, unescape=["ko"]) == [
        {"ko": "끝— 시작", "en": "R&amp;D &#8212; AT&T"},
        {"ko": "&amp;", "en": "x"},
    ]


def test_scores_get_so_many_decimals_and_other_texts_stay(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("score\n3\n2.33333\n4.75\n없음\n")
    assert [row["score"] for row in read(path, decimals={"score": 1})] == ["3.0", "2.3", "4.8", "없음"]
    with pytest.raises(DataError, match="decimals names 'scroe', which no row has; did you mean 'score'"):
        read(path, decimals={"scroe": 1})


def test_line_ends_inside_values_are_line_feeds(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"a": "하나\\r\\n둘\\r셋\\r\\n", "b": ["넷\\r\\n다섯"]}\n{"a": "하나", "b": []}\n')
    assert read(path, "jsonl") == [{"a": "하나\n둘\n셋", "b": ["넷\n다섯"]}, {"a": "하나", "b": []}]


def test_a_text_is_not_split_at_nothing() -> None:
    with pytest.raises(ValidationError, match="at least 1 character"):
        ReaderOptions(split={"a": ""})
