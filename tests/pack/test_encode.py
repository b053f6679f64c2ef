"""Examples to tokens: one BOS, the end token learned, the prompt exactly as serving gives it."""

import sys

import numpy as np
import pytest
from tokenizers.processors import TemplateProcessing

from komt.errors import ModelError
from komt.example import Example, Message
from komt.models.template import KOMT_TEMPLATE, end_text, end_token_id, ensure_template, frame_of
from komt.pack import encode, prompt_ids
from komt.pack.encode import encode_answers
from komt.testing import tiny_tokenizer

KINDS = pytest.mark.parametrize("kind", ["bytes", "metaspace"])

# As Qwen 3 does: thoughts of turns before the last question are left out.
CHATML = """
{%- set ns = namespace(last=-1) -%}
{%- for m in messages if m.role == 'user' -%}{%- set ns.last = messages.index(m) -%}{%- endfor -%}
{%- for m in messages -%}
{%- set content = m.content -%}
{%- if m.role == 'assistant' and loop.index0 < ns.last -%}
{%- set content = content.split('</think>')[-1].lstrip('\n') -%}
{%- endif -%}
{{- '<|im_start|>' + m.role + '\n' + content + '<|im_end|>\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\n' -}}{%- endif -%}
"""
LLAMA3 = """
{%- for m in messages -%}
{%- set turn = '<|start_header_id|>' + m.role + '<|end_header_id|>\n\n' + m.content | trim + '<|eot_id|>' -%}
{%- if loop.first -%}{{- bos_token -}}{%- endif -%}{{- turn -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|start_header_id|>assistant<|end_header_id|>\n\n' -}}{%- endif -%}
"""
TEMPLATES = {
    "komt": (KOMT_TEMPLATE, []),
    "chatml": (CHATML, ["<|im_start|>", "<|im_end|>"]),
    "llama3": (LLAMA3, ["<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]),
}
ALL = pytest.mark.parametrize("template", TEMPLATES)

ANSWERS = (
    "세종",
    "1443년에 만들었다.",
    "바다와 바람",
    "한강이 서울을 가로지른다",
    "고양이는 물을 싫어해요!",
    "42",
)


def tokenizer_of(template, kind="bytes", adds_bos=False):
    tokenizer = tiny_tokenizer(kind)
    text, specials = TEMPLATES[template]
    tokenizer.add_special_tokens({"additional_special_tokens": specials})
    tokenizer.chat_template = text
    if adds_bos:
        tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
            single="<bos> $A", special_tokens=[("<bos>", tokenizer.bos_token_id)]
        )
    return tokenizer


def example_of(*turns, last_only=False):
    """Turns by turns, the user first; assistant turns supervised (or the last alone)."""
    messages = tuple(
        Message("user", text)
        if i % 2 == 0
        else Message("assistant", text, supervised=not last_only or i == len(turns) - 1)
        for i, text in enumerate(turns)
    )
    names = ("id", "task", "family", "kind", "source", "licence", "origin", "split", "template", "group")
    return Example(**{name: name for name in names}, messages=messages)


def supervised(sequence):
    assert set(sequence.weights.tolist()) == {0.0, 1.0}
    return sequence.ids[sequence.weights > 0].tolist()


@KINDS
@ALL
@pytest.mark.parametrize("adds_bos", [True, False])
def test_a_sequence_has_one_bos_where_one_is_in_use(kind, template, adds_bos):
    tokenizer = tokenizer_of(template, kind, adds_bos)
    (sequence,) = encode(tokenizer, [example_of("제목을 붙이세요.", "바다와 바람")])
    used = adds_bos or template != "chatml"
    assert sequence.ids.tolist().count(tokenizer.bos_token_id) == used
    assert (sequence.ids[0] == tokenizer.bos_token_id) == used


@KINDS
@ALL
def test_a_tokenizer_without_bos_gets_none(kind, template):
    tokenizer = tokenizer_of(template, kind)
    tokenizer.bos_token = None
    if template == "llama3":
        tokenizer.chat_template = LLAMA3.replace("{{- bos_token -}}", "")
    (sequence,) = encode(tokenizer, [example_of("제목을 붙이세요.", "바다와 바람")])
    assert tokenizer.convert_tokens_to_ids("<bos>") == 2
    assert 2 not in sequence.ids.tolist()


def test_a_template_that_doubles_bos_is_refused():
    tokenizer = tokenizer_of("komt")
    tokenizer.chat_template = "{{ bos_token }}" + KOMT_TEMPLATE
    with pytest.raises(ModelError, match="BOS twice"):
        encode(tokenizer, [example_of("가", "나")])
    with pytest.raises(ModelError, match="BOS twice"):
        prompt_ids(tokenizer, [Message("user", "가")])


@KINDS
@ALL
@pytest.mark.parametrize("answer", ANSWERS)
def test_exactly_the_answer_and_its_end_token_are_supervised(kind, template, answer):
    tokenizer = tokenizer_of(template, kind)
    (sequence,) = encode(tokenizer, [example_of("세종은 무엇을 했나요?", answer)])
    learned = supervised(sequence)
    assert learned[-1] == end_token_id(tokenizer) == sequence.ids[-1]
    assert tokenizer.decode(learned) == answer + end_text(tokenizer)
    assert np.all(np.diff(sequence.weights) >= 0)  # nothing of the prompt, all of the answer


@KINDS
@ALL
@pytest.mark.parametrize("adds_bos", [True, False])
def test_training_sees_the_ids_that_serving_gives_later_turns_included(kind, template, adds_bos):
    tokenizer = tokenizer_of(template, kind, adds_bos)
    example = example_of("서울은?", "대한민국의 수도", " 한강은요? ", "서울을 가로지른다", "끝?", "네")
    sequences = encode(tokenizer, [example])
    assert len(sequences) == 3
    for turn, sequence in zip((1, 3, 5), sequences, strict=True):
        prompt = prompt_ids(tokenizer, example.messages[:turn])
        assert sequence.ids[: len(prompt)].tolist() == prompt
        assert sequence.ids[len(prompt) :].tolist() == supervised(sequence)
        answer = example.messages[turn].content
        assert tokenizer.decode(supervised(sequence)) == answer + end_text(tokenizer)


@KINDS
def test_earlier_answers_are_part_of_later_prompts(kind):
    tokenizer = tokenizer_of("komt", kind)
    first, second = encode(tokenizer, [example_of("가", "대한민국의 수도", "나", "부산은 항구")])
    assert second.ids[: len(first)].tolist() == first.ids.tolist()
    assert second.weights[: len(first)].sum() == 0


def test_thoughts_that_the_template_drops_from_history_are_learned_in_their_own_turn_only():
    tokenizer = tokenizer_of("chatml")
    example = example_of(
        "첫 질문", "<think>\n생각 하나\n</think>\n답 하나", "둘째 질문", "<think>\n생각 둘\n</think>\n답 둘"
    )
    first, second = (tokenizer.decode(sequence.ids) for sequence in encode(tokenizer, [example]))
    assert "<think>\n생각 하나\n</think>\n답 하나<|im_end|>" in first
    assert "생각 하나" not in second
    assert "<|im_start|>assistant\n답 하나<|im_end|>" in second
    assert second.endswith("<|im_start|>assistant\n<think>\n생각 둘\n</think>\n답 둘<|im_end|>")


@KINDS
@pytest.mark.parametrize("answer", [a for a in ANSWERS if not a.startswith("바다")])
def test_prompt_and_answer_apart_encode_as_they_do_together(kind, answer):
    # "바다와 바람" is left out: the tiny metaspace vocabulary has a token of newline and "바".
    tokenizer = tokenizer_of("komt", kind)
    (sequence,) = encode(tokenizer, [example_of("세종은 무엇을 했나요?", answer)])
    text = f"<bos>### instruction: 세종은 무엇을 했나요?\n\n### Response:\n{answer}<eos>"
    assert sequence.ids.tolist() == tokenizer(text, add_special_tokens=False).input_ids


def test_an_answer_has_no_dummy_space_and_loses_no_character():
    tokenizer = tokenizer_of("komt", "metaspace")
    joined = tokenizer("\n바다와 바람", add_special_tokens=False).input_ids
    assert joined[: len(tokenizer("\n", add_special_tokens=False).input_ids)] != tokenizer("\n").input_ids
    for text in (*ANSWERS, " 앞에 빈칸", "\n줄", "0", "0부터", ""):
        ids = encode_answers(tokenizer, [text])[0].tolist()
        tokens = tokenizer.convert_ids_to_tokens(ids)
        # As a continuation: decode behind a letter, whose dummy space the decoder strips.
        before = tokenizer("가", add_special_tokens=False).input_ids
        assert tokenizer.decode([*before, *ids]) == "가" + text
        assert not tokens or tokens[0].startswith("▁") == text.startswith(" ")


def test_unsupervised_turns_make_no_sequence():
    tokenizer = tokenizer_of("komt")
    assert len(encode(tokenizer, [example_of("가", "나", "다", "라", last_only=True)])) == 1
    assert encode(tokenizer, [example_of("가")]) == []
    assert encode(tokenizer, []) == []


def test_sequences_carry_example_task_and_group():
    tokenizer = tokenizer_of("komt")
    (sequence,) = encode(tokenizer, [example_of("가", "나")])
    assert (sequence.example, sequence.task, sequence.group) == ("id", "task", "group")
    assert (sequence.ids.dtype, sequence.weights.dtype) == (np.int32, np.float32)
    assert len(sequence) == len(sequence.ids) == len(sequence.weights)


def test_a_template_whose_answer_does_not_continue_its_prompt_is_refused():
    tokenizer = tokenizer_of("komt")
    tokenizer.chat_template = (
        "{% for m in messages %}[{{ m.role }}]{{ m.content }}{{ eos_token }}{% endfor %}"
        "{% if add_generation_prompt %}[answer]{% endif %}"
    )
    with pytest.raises(ModelError, match="otherwise than it prompts"):
        encode(tokenizer, [example_of("가", "나")])


def test_a_template_without_end_token_is_refused():
    tokenizer = tokenizer_of("komt")
    tokenizer.chat_template = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
    with pytest.raises(ModelError, match="no special token"):
        encode(tokenizer, [example_of("가", "나")])


def test_a_template_that_refuses_the_roles_says_so():
    tokenizer = tokenizer_of("komt")
    tokenizer.chat_template = (
        "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no system turn') }}{% endif %}"
        "{{ m.content }}{% if m.role == 'assistant' %}{{ eos_token }}{% endif %}{% endfor %}"
    )
    messages = (Message("system", "가"), Message("user", "나"), Message("assistant", "다", True))
    with pytest.raises(ModelError, match="no system turn"):
        encode(tokenizer, [Example(*[""] * 10, messages=messages)])


def test_a_tokenizer_without_template_gets_komts():
    tokenizer = tiny_tokenizer()
    assert ensure_template(tokenizer) is True
    assert tokenizer.chat_template == KOMT_TEMPLATE
    assert ensure_template(tokenizer) is False


@pytest.mark.parametrize("kind", ["bytes", "metaspace"])
def test_a_framed_question_is_encoded_as_the_template_renders_it(kind, monkeypatch):
    tokenizer = tiny_tokenizer(kind)
    ensure_template(tokenizer)
    texts = ["물음", " 물음 ", "<b>물음</b>", "[물음]", "줄\n\n줄", "끝."]
    examples = [
        Example(
            *["x"] * 9,
            group="",
            messages=(Message("user", user), Message("assistant", answer, supervised=True)),
        )
        for user in texts
        for answer in texts
    ]
    assert frame_of(tokenizer) is not None
    framed = encode(tokenizer, examples)
    monkeypatch.setattr(sys.modules["komt.pack.encode"], "frame_of", lambda tokenizer: None)
    for fast, slow in zip(framed, encode(tokenizer, examples), strict=True):
        assert fast.ids.tolist() == slow.ids.tolist()
        assert fast.weights.tolist() == slow.weights.tolist()


def test_a_template_that_changes_what_it_is_given_has_no_frame():
    tokenizer = tiny_tokenizer("bytes")
    ensure_template(tokenizer)
    assert frame_of(tokenizer) is not None
    tokenizer.chat_template = tokenizer.chat_template.replace(
        "message['content']", "message['content'] | upper"
    )
    assert frame_of(tokenizer) is None
