"""Two judges, and a judge and people: how far they agree stands in every form of the report."""

import json

import pytest
from report_folders import write_judged

from komt.cli import main

VOTES = [
    {"prompt": "물음 0", "chosen": "a의 답 0", "rejected": "b의 답 0"},
    {"prompt": "물음 1", "chosen": "a의 답 1", "rejected": "b의 답 1"},
    {"prompt": "물음 2", "chosen": "b의 답 2", "rejected": "a의 답 2"},
]


@pytest.fixture
def words(tmp_path):
    pytest.importorskip("scipy")
    one = write_judged(tmp_path / "one", {"a": [4, 5, 3], "b": [1, 2, 1]}, judge="갑")
    two = write_judged(tmp_path / "two", {"a": [3, 5, 2], "b": [1, 1, 1]}, judge="을")
    votes = tmp_path / "votes.jsonl"
    votes.write_text("\n".join(json.dumps(vote, ensure_ascii=False) for vote in VOTES), encoding="utf-8")
    return ["report", str(one), str(two), "--votes", str(votes)]


@pytest.mark.parametrize("form", ["text", "md", "html"])
def test_agreement_between_judges_and_with_votes_is_shown(words, capsys, form):
    assert main([*words, "--format", form]) == 0
    said = capsys.readouterr().out.replace("&#39;", "'")
    assert "komt-0-5: 갑, 을: Spearman ρ = 0.9" in said
    assert "갑, 을: the first one's scores less the second's = 0.500" in said
    assert ": all judges: Krippendorff α = 0." in said
    assert "갑: agrees with people's votes 66.7%" in said


def test_agreement_is_there_for_programs(words, capsys):
    assert main([*words, "--json"]) == 0
    judges = json.loads(capsys.readouterr().out)["judges"]
    assert judges["between"][0]["scores"]["n"] == 6
    assert judges["votes"]["을"]["value"] == pytest.approx(2 / 3)


def test_votes_that_are_not_there_or_none_are_told(words, tmp_path, capsys):
    assert main([*words[:-1], str(tmp_path / "nowhere.jsonl")]) == 1
    assert "no such file" in capsys.readouterr().err
    (tmp_path / "votes.jsonl").write_text('{"prompt": 1}', encoding="utf-8")
    assert main(words) == 1
    assert "votes.jsonl, line 1" in capsys.readouterr().err
