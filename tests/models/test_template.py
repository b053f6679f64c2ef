"""The chat template: komt's own to the letter, the published models' form, others' end tokens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import komt.models
from komt.errors import ModelError
from komt.example import Message
from komt.models.template import KOMT_TEMPLATE, end_text, end_token_id, ensure_template, render
from komt.testing import tiny_tokenizer

TALK = (
    Message("system", " 짧게 답하세요. "),
    Message("user", " 수도는? "),
    Message("assistant", " 서울\n"),
    Message("user", "강은?"),
)
CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
LLAMA3 = (
    "{{ bos_token }}{% for m in messages %}<|start_header_id|>{{ m.role }}<|end_header_id|>\n\n"
    "{{ m.content | trim }}<|eot_id|>{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)


def tokenizer_with(template: str | None, specials: tuple[str, ...] = ()) -> Any:
    tokenizer = tiny_tokenizer()
    tokenizer.add_special_tokens({"additional_special_tokens": list(specials)})
    tokenizer.chat_template = template
    return tokenizer


def shipped(name: str) -> str:
    return (Path(komt.models.__file__).parent / "templates" / name).read_text(encoding="utf-8")


def test_komts_own_template_to_the_letter() -> None:
    tokenizer = tokenizer_with(None)
    assert ensure_template(tokenizer)
    assert tokenizer.chat_template == KOMT_TEMPLATE
    assert render(tokenizer, TALK, answering=True) == (
        "<bos>짧게 답하세요.\n\n### instruction: 수도는?\n\n### Response:\n서울<eos>"
        "### instruction: 강은?\n\n### Response:\n"
    )
    assert end_text(tokenizer) == "<eos>"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (
            "response.jinja",
            "### instruction: 수도는?\n\n### Response:서울<eos>### instruction: 강은?\n\n### Response:",
        ),
        ("inst.jinja", "[INST]수도는? [/INST]서울<eos>[INST]강은? [/INST]"),
    ],
)
def test_the_form_of_the_published_models(name: str, text: str) -> None:
    tokenizer = tokenizer_with(shipped(name))
    assert render(tokenizer, TALK[1:], answering=True) == "<bos>" + text
    assert end_token_id(tokenizer) == 1


def test_a_model_keeps_its_template() -> None:
    tokenizer = tokenizer_with(CHATML)
    assert not ensure_template(tokenizer)
    assert tokenizer.chat_template == CHATML


def test_end_token_of_a_chatml_template() -> None:
    tokenizer = tokenizer_with(CHATML, ("<|im_start|>", "<|im_end|>"))
    assert end_text(tokenizer) == "<|im_end|>"
    assert end_token_id(tokenizer) == tokenizer.convert_tokens_to_ids("<|im_end|>") != tokenizer.eos_token_id


def test_end_token_of_a_llama_3_template() -> None:
    tokenizer = tokenizer_with(LLAMA3, ("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"))
    assert end_text(tokenizer) == "<|eot_id|>"


def test_the_longest_of_several_end_tokens() -> None:
    template = "{% for m in messages %}{{ m.content }}<|end|><|end|>2{% endfor %}"
    assert end_text(tokenizer_with(template, ("<|end|>", "<|end|><|end|>2"))) == "<|end|><|end|>2"


def test_a_template_without_an_end_is_refused() -> None:
    with pytest.raises(ModelError, match=r"ends an answer with '\\n', which is no special token"):
        end_text(tokenizer_with("{% for m in messages %}{{ m.content }}\n{% endfor %}"))


def test_a_template_that_refuses_says_what_to_check() -> None:
    tokenizer = tokenizer_with("{{ raise_exception('roles must alternate') }}")
    with pytest.raises(ModelError, match="roles must alternate") as caught:
        render(tokenizer, TALK, answering=True)
    assert "order of roles" in str(caught.value)


def test_a_tokenizer_without_an_end_token_is_refused() -> None:
    tokenizer = tokenizer_with(None)
    tokenizer.eos_token = None
    with pytest.raises(ModelError, match="no end token"):
        ensure_template(tokenizer)
