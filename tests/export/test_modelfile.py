"""Modelfiles for Ollama: their Go template against the model's own chat template."""

import json
from pathlib import Path

import pytest
from go_template import execute

from komt.example import Message
from komt.export.modelfile import conversations, go_template, modelfile, turns_of, write_modelfiles
from komt.models.template import KOMT_TEMPLATE, render
from komt.testing import tiny_gguf, tiny_tokenizer

TEMPLATES = Path(__file__).parents[2] / "src/komt/models/templates"
CHATML = """{% for m in messages -%}
<|im_start|>{{ m['role'] + '\n' + m['content'] }}<|im_end|>
{% endfor -%}
{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"""
QWEN3 = """{% for m in messages -%}
<|im_start|>{{ m['role'] + '\n' }}
{%- if m['role'] == 'assistant' and loop.last %}{{ '<think>\n\n</think>\n\n' }}{% endif -%}
{{ m['content'] }}<|im_end|>
{% endfor -%}
{% if add_generation_prompt %}{{ '<|im_start|>assistant\n<think>\n\n</think>\n\n' }}{% endif %}"""
GEMMA3 = """{{ bos_token }}
{%- if messages[0]['role'] == 'system' -%}
{%- set first = messages[0]['content'] + '\n\n' -%}{%- set rest = messages[1:] -%}
{%- else -%}{%- set first = '' -%}{%- set rest = messages -%}{%- endif -%}
{%- for m in rest -%}
{%- set odd = loop.index0 % 2 == 1 -%}
{%- if (m['role'] == 'user') == odd %}{{ raise_exception('roles must alternate') }}{% endif -%}
{%- set role = 'model' if m['role'] == 'assistant' else m['role'] -%}
{{ '<start_of_turn>' + role + '\n' + (first if loop.first else '') }}
{{- m['content'] | trim + '<end_of_turn>\n' }}
{%- endfor -%}
{%- if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"""
LLAMA3 = """{%- for m in messages -%}
{%- set head = '<|start_header_id|>' + m['role'] + '<|end_header_id|>\n\n' -%}
{{ bos_token if loop.first }}{{ head + m['content'] | trim + '<|eot_id|>' }}
{%- endfor -%}
{%- if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"""
LLAMA2 = """{%- if messages[0]['role'] == 'system' -%}
{%- set rest = messages[1:] -%}{%- set system = '<<SYS>>\n' + messages[0]['content'] + '\n<</SYS>>\n\n' -%}
{%- else -%}{%- set rest = messages -%}{%- set system = '' -%}{%- endif -%}
{%- for m in rest -%}
{%- set content = (system if loop.first else '') + m['content'] -%}
{%- if m['role'] == 'user' %}{{ bos_token + '[INST] ' + content + ' [/INST]' }}
{%- else %}{{ ' ' + content + ' ' + eos_token }}{% endif -%}
{%- endfor -%}"""
FAMILIES = {
    "komt": KOMT_TEMPLATE,
    "inst": (TEMPLATES / "inst.jinja").read_text(encoding="utf-8"),
    "response": (TEMPLATES / "response.jinja").read_text(encoding="utf-8"),
    "chatml": CHATML,
    "gemma3": GEMMA3,
    "llama3": LLAMA3,
    "llama2": LLAMA2,
    "qwen3, not thinking": QWEN3,
}


def tokenizer_with(template):
    tokenizer = tiny_tokenizer()
    tokenizer.add_special_tokens(
        {"additional_special_tokens": ["<|im_end|>", "<end_of_turn>", "<|eot_id|>", "<|im_start|>"]}
    )
    tokenizer.chat_template = template
    return tokenizer


def data(talk):
    """What Ollama gives to a template."""
    return {
        "Messages": [{"Role": message.role, "Content": message.content} for message in talk],
        "System": "\n\n".join(message.content for message in talk if message.role == "system"),
    }


@pytest.mark.parametrize("family", FAMILIES)
def test_the_go_template_renders_as_the_models_own(family):
    tokenizer = tokenizer_with(FAMILIES[family])
    turns = turns_of(tokenizer)
    assert turns is not None
    assert turns.system is not None
    text = go_template(turns)
    talks = conversations(system=True)
    assert len(talks) == 8
    for talk in talks:
        wanted = render(tokenizer, talk, answering=True).removeprefix("<bos>")
        assert execute(text, data(talk)) == wanted


def test_komts_template_written_for_ollama():
    turns = turns_of(tokenizer_with(KOMT_TEMPLATE))
    assert go_template(turns) == (
        '{{ range $i, $m := .Messages }}{{ if eq $m.Role "assistant" }}{{ $m.Content }}<eos>'
        '{{ else if eq $m.Role "system" }}{{ $m.Content }}\n\n'
        '{{ else if eq $m.Role "user" }}### instruction: {{ $m.Content }}\n\n### Response:\n'
        "{{ end }}{{ end }}"
    )


def test_a_template_that_looks_into_messages_is_left_out_and_said_so(tmp_path):
    tokenizer = tokenizer_with(
        "{% for m in messages %}{{ m['content'] | upper }}"
        "{{ eos_token if m['role'] == 'assistant' }}{% endfor %}"
    )
    assert turns_of(tokenizer) is None
    text = modelfile(tiny_gguf(tmp_path / "작은-F16.gguf"), tokenizer)
    assert "\nTEMPLATE" not in text
    assert "# No TEMPLATE:" in text
    assert 'PARAMETER stop "<eos>"' in text


def test_a_template_without_system_turns_is_expressed_without():
    turns = turns_of(
        tokenizer_with(
            "{% for m in messages %}"
            "{% if m['role'] == 'system' %}{{ raise_exception('no system') }}{% endif %}"
            "{{ m['content'] }}{{ '\n' if m['role'] == 'user' else eos_token }}{% endfor %}"
        )
    )
    assert turns.system is None
    assert execute(go_template(turns), data([Message("system", "규칙"), Message("user", "물음")])) == "물음\n"


def test_a_modelfile_beside_each_file(tmp_path):
    tokenizer = tokenizer_with(KOMT_TEMPLATE)
    tokenizer.save_pretrained(tmp_path / "merged")
    config = {"model_type": "mistral", "sliding_window": 2048, "max_position_embeddings": 4096}
    (tmp_path / "merged" / "config.json").write_text(json.dumps(config))
    files = [tiny_gguf(tmp_path / f"작은-{form}.gguf") for form in ("Q4_K_M", "F16")]
    written = write_modelfiles(
        tmp_path / "merged", files, licence="CC0, https://creativecommons.org", system='"존댓말"로 답하세요.'
    )
    assert [path.name for path in written] == ["Modelfile", "Modelfile.F16"]
    lines = written[0].read_text(encoding="utf-8").splitlines()
    assert "FROM ./작은-Q4_K_M.gguf" in lines
    assert "FROM ./작은-F16.gguf" in written[1].read_text(encoding="utf-8").splitlines()
    assert "PARAMETER num_ctx 2048" in lines  # llama.cpp does not know the window
    assert 'SYSTEM """"존댓말"로 답하세요."""' in lines
    assert 'LICENSE "CC0, https://creativecommons.org"' in lines
    # The tiny file says that nobody puts a BOS before a text: the template must.
    assert 'TEMPLATE """<bos>{{ range $i, $m := .Messages }}' in "\n".join(lines)
