"""Ollama Modelfiles: a GGUF file with the model's chat template as a Go template, its end, and its settings.

Formats: https://github.com/ollama/ollama/blob/main/docs/modelfile.md and docs/template.md there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from komt.errors import ModelError
from komt.example import Message
from komt.export.gguf_convert import ignored_window
from komt.files import write_atomic
from komt.models.gguf_header import read_header
from komt.models.template import end_text, render

# How the published komt models were shown; Ollama's own defaults are other ones.
SAMPLING: Mapping[str, float] = {"temperature": 0.8, "top_p": 0.8, "top_k": 100}
_MOST_CONTEXT_TOKENS = 8192
_MARKS = tuple(f"\u00a7{letter}\u00a7" for letter in "SABCD")
_TEXTS = (
    ("고양이는 왜 물을 싫어하나요?", "털이 젖으면 몸이 무거워지기 때문입니다."),
    (
        '다음 글을 읽고 답하세요.\n\n  둘째 줄\n\n\n{{ 괄호 }} "따옴표" \\ 🙂',
        "| 가 | 나 |\n|---|---|\n| 1 | 2 |",
    ),
    ("### instruction: 무엇?\n\n### Response:", "大韓民國 <b>굵게</b> %d"),
    ("마지막 물음", "끝"),
)


@dataclass(frozen=True, slots=True)
class Turns:
    """What a template writes around turns, where it does no more than frame them.

    Attributes:
        system: before and after a system message, or None where the template takes none.
        first, after_system, later: before a user message at the beginning, after the system message, and
            after an answer.
        asked: after a user message that is answered in the conversation; last: after the last one.
        end: after an answer.
    """

    system: tuple[str, str] | None
    first: str
    after_system: str
    later: str
    asked: str
    last: str
    end: str

    def text(self, messages: Sequence[Message]) -> str:
        """A conversation that ends in a user message, framed."""
        parts = []
        for i, message in enumerate(messages):
            if message.role == "system":
                assert self.system is not None
                parts += [self.system[0], message.content, self.system[1]]
            elif message.role == "assistant":
                parts += [message.content, self.end]
            else:
                before = self.later
                if i == 0 or messages[i - 1].role == "system":
                    before = self.first if i == 0 else self.after_system
                parts += [before, message.content, self.last if i + 1 == len(messages) else self.asked]
        return "".join(parts)


def turns_of(tokenizer: Any) -> Turns | None:
    """The template's frame around turns, or None where it does more than frame them.

    It is found by rendering marks, and then tried on conversations of several lengths and kinds. A BOS that
    the template begins with is left out: whoever encodes the text puts it there.
    """
    system, one, answer, two, again = (_MARKS[i] for i in range(5))
    bos = tokenizer.bos_token or ""
    talk = [Message("user", one), Message("assistant", answer), Message("user", two)]
    long = [*talk, Message("assistant", again)]
    try:
        text = render(tokenizer, talk, answering=True).removeprefix(bos)
        first, asked, after, last = _between(text, one, answer, two)
        whole = render(tokenizer, long, answering=False).removeprefix(bos)
        end = _between(whole, one, answer, two, again)[4]
    except (ModelError, ValueError):
        return None
    # What follows an answer is its end, and then what begins the next question.
    end = _common(end, after)
    later = after[len(end) :]
    head = None
    after_system = first
    try:
        text = render(tokenizer, [Message("system", system), *talk], answering=True).removeprefix(bos)
        before, middle, _, _, _ = _between(text, system, one, answer, two)
        # Where the middle ends in what begins a conversation, the system message is a turn of its own.
        own = len(first) > 0 and middle.endswith(first)
        head = (before, middle.removesuffix(first) if own else middle)
        after_system = first if own else ""
    except (ModelError, ValueError):
        pass
    turns = Turns(head, first, after_system, later, asked, last, end)
    return turns if _holds(turns, tokenizer) else None


def _between(text: str, *marks: str) -> list[str]:
    """What stands before, between and after marks that each stand once and in this order."""
    parts = []
    for mark in marks:
        before, found, text = text.partition(mark)
        if not found or mark in text:
            raise ValueError(mark)
        parts.append(before)
    return [*parts, text]


def _common(one: str, other: str) -> str:
    count = next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), None)
    return one[: min(len(one), len(other)) if count is None else count]


def conversations(system: bool) -> list[list[Message]]:
    """Conversations of one to four questions, with a system message and without."""
    talks = []
    for turns in range(1, len(_TEXTS) + 1):
        talk = []
        for i in range(turns):
            talk.append(Message("user", _TEXTS[(turns + i) % len(_TEXTS)][0]))
            if i + 1 < turns:
                talk.append(Message("assistant", _TEXTS[(turns + i) % len(_TEXTS)][1]))
        talks.append(talk)
        if system:
            talks.append([Message("system", "존댓말로\n짧게 답하세요."), *talk])
    return talks


def _holds(turns: Turns, tokenizer: Any) -> bool:
    bos = tokenizer.bos_token or ""
    return all(
        render(tokenizer, talk, answering=True).removeprefix(bos) == turns.text(talk)
        for talk in conversations(turns.system is not None)
    )


def go_template(turns: Turns, begin: str = "") -> str:
    """Turns as a Go template over `.Messages`, as Ollama fills it in.

    Args:
        turns: what to write around them.
        begin: what the whole begins with: a BOS, for models that are not given one by themselves.
    """
    last = "{{ if eq (len (slice $.Messages $i)) 1 }}" + turns.last + "{{ else }}" + turns.asked + "{{ end }}"
    user = _user_prefix(turns) + "{{ $m.Content }}" + (turns.last if turns.asked == turns.last else last)
    branches = ['{{ if eq $m.Role "assistant" }}{{ $m.Content }}' + turns.end]
    if turns.system:
        branches.append(
            '{{ else if eq $m.Role "system" }}' + turns.system[0] + "{{ $m.Content }}" + turns.system[1]
        )
    branches.append('{{ else if eq $m.Role "user" }}' + user)
    return begin + "{{ range $i, $m := .Messages }}" + "".join(branches) + "{{ end }}{{ end }}"


def _user_prefix(turns: Turns) -> str:
    if turns.first == turns.after_system == turns.later:
        return turns.first
    first = turns.first
    rest = turns.later
    if turns.system and turns.after_system != turns.later:
        rest = (
            "{{ if and $.System (eq $i 1) }}" + turns.after_system + "{{ else }}" + turns.later + "{{ end }}"
        )
    return "{{ if eq $i 0 }}" + first + "{{ else }}" + rest + "{{ end }}"


def modelfile(
    file: Path,
    tokenizer: Any,
    *,
    licence: str = "",
    system: str = "",
    most_tokens: int = _MOST_CONTEXT_TOKENS,
) -> str:
    """The text of a Modelfile that lies beside a GGUF file.

    Args:
        file: the GGUF file.
        tokenizer: of the model, with its chat template.
        licence: its text, or its name and address.
        system: a system message for every conversation.
        most_tokens: the longest context to ask Ollama for.
    """
    header = read_header(file)
    context = min(header.context_tokens or most_tokens, most_tokens)
    lines = [f"# ollama create {file.stem.lower()} -f <this file>", f"FROM ./{file.name}"]
    lines += _template_lines(tokenizer, bool(header.values.get("tokenizer.ggml.add_bos_token", True)))
    lines.append(f"PARAMETER stop {_quoted(end_text(tokenizer))}")
    lines.append(f"PARAMETER num_ctx {context}")
    lines += [f"PARAMETER {name} {value:g}" for name, value in SAMPLING.items()]
    if system:
        lines.append(f"SYSTEM {_quoted(system)}")
    if licence:
        lines.append(f"LICENSE {_quoted(licence)}")
    return "\n".join(lines) + "\n"


def _template_lines(tokenizer: Any, adds_bos: bool) -> list[str]:
    turns = turns_of(tokenizer)
    bos = tokenizer.bos_token or ""
    begins = bool(bos) and render(tokenizer, [Message("user", "가")], answering=True).startswith(bos)
    text = go_template(turns, bos if begins and not adds_bos else "") if turns else ""
    parts = [] if turns is None else [*(turns.system or ()), turns.first, turns.last, turns.asked, turns.end]
    if turns is None or '"""' in text or any("{{" in part for part in parts):
        return [
            "# No TEMPLATE: the model's chat template does more than frame turns, and Go's template language",
            "# cannot say the same. Ollama takes a template that it knows from the GGUF file; check what it",
            "# sends (ollama show --template), or use llama.cpp, which runs the model's own template.",
        ]
    notes = []
    if _trims(tokenizer):
        notes.append(
            "# Equal to the model's chat template; white space around a message is not trimmed here."
        )
    if turns.system is None:
        notes.append("# The model's chat template takes no system message: one is left out.")
    return [*notes, f"TEMPLATE {_quoted(text)}"]


def _trims(tokenizer: Any) -> bool:
    plain, spaced = (render(tokenizer, [Message("user", text)], answering=True) for text in ("가", " 가 "))
    return plain == spaced


def _quoted(text: str) -> str:
    return f'"""{text}"""' if "\n" in text or '"' in text else f'"{text}"'


def write_modelfiles(
    merged: Path, files: Sequence[Path], *, licence: str = "", system: str = ""
) -> list[Path]:
    """Write a Modelfile beside each GGUF file: `Modelfile` for the first, `Modelfile.Q8_0` for others.

    Args:
        merged: the folder that the files were made from: its tokenizer and template.
        files: as `export_gguf` gives them.
        licence: text, or name and address, of the model's licence.
        system: a system message for every conversation.
    """
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(merged, local_files_only=True)
    most = min(_MOST_CONTEXT_TOKENS, ignored_window(merged) or _MOST_CONTEXT_TOKENS)
    written = []
    for i, file in enumerate(files):
        form = file.stem.rpartition("-")[2]
        target = file.parent / ("Modelfile" if i == 0 else f"Modelfile.{form}")
        text = modelfile(file, tokenizer, licence=licence, system=system, most_tokens=most)
        write_atomic(target, text)
        written.append(target)
    return written
