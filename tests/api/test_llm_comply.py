"""The cases of llm-comply, format openai-chat, against a running server."""

from __future__ import annotations

from pathlib import Path

import llm_comply
import pytest
from api_client import Client
from llm_comply.config import ComplianceConfig
from llm_comply.result import TestStatus as Status
from llm_comply.runner import TestRunner as Runner
from llm_comply.schema import SpecLoader
from llm_comply.tests import get_tests

CASES = {case.id: case for case in get_tests("openai-chat")}
# Also listed in docs/serve.md.
LEFT_OUT = {
    "chat-tool-calling": "komt's template has no place for tools: the request is refused (400)",
    "chat-image-input": "komt's models read text: the request is refused (400)",
    "chat-reasoning-summary": "asks for an o-series model of OpenAI's; llm-comply itself skips it for others",
}


def run(client: Client, case: str):
    """What llm-comply finds, with the words of its warnings as faults."""
    config = ComplianceConfig(str(client.base_url).rstrip("/"), "any", client.model)
    specs = Path(llm_comply.__file__).parent / "specs" / "openai_chat.json"
    return Runner(config, list(CASES.values()), SpecLoader(str(specs))).run_one(CASES[case])


@pytest.mark.parametrize("case", [case for case in CASES if case not in LEFT_OUT])
def test_a_case_of_llm_comply_passes_without_a_warning(polite: Client, case: str):
    result = run(polite, case)
    assert (result.status, result.errors, result.warnings) == (Status.PASSED, [], [])


@pytest.mark.parametrize("case", ["chat-tool-calling", "chat-image-input"])
def test_what_is_left_out_is_refused_and_not_answered_wrongly(polite: Client, case: str):
    assert run(polite, case).errors[0].startswith("HTTP 400")


def test_what_is_left_out_is_told_in_the_guide():
    guide = (Path(__file__).parents[2] / "docs" / "serve.md").read_text(encoding="utf-8")
    assert set(LEFT_OUT) < set(CASES)
    assert all(f"`{case}`" in guide for case in CASES)
