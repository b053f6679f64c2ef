"""Do answers end? Greedy answers to a few short questions, by the settings a folder itself carries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from komt.example import Example, Message
from komt.mix import examples_of, read_examples
from komt.models.quiet import quiet
from komt.pack.encode import prompt_ids
from komt.pack.probe import device_of
from komt.tasks import load_task

PROMPTS = 8
_SAMPLE_TASK = "sample.qa"
_LEAST_NEW_TOKENS, _MOST_NEW_TOKENS = 32, 128


@dataclass(frozen=True, slots=True)
class Asked:
    """Questions and how long their answers may be.

    Attributes:
        messages: a conversation each, without its answer.
        new_tokens: four times the longest answer that the data holds for them, 32 to 128.
        origin: where they come from, for people.
    """

    messages: tuple[tuple[Message, ...], ...]
    new_tokens: int
    origin: str


def questions(data: Path | None, tokenizer: Any) -> Asked:
    """The shortest-answered examples of a run's data, task by task; without a run, of the bundled sample.

    Args:
        data: a run's data folder, or None.
        tokenizer: counts the answers' tokens.
    """
    found: list[Example] = []
    if data is not None:
        for path in (data / "evaluate.parquet", data / "train.parquet"):
            if not found and path.is_file():
                found = [one for one in read_examples(path) if _answer(one)]
    origin = "the run's data" if found else "the bundled sample"
    found = found or [one for one in examples_of(load_task(_SAMPLE_TASK), "test", 0) if _answer(one)]
    chosen = _spread(found)
    longest = max(len(tokenizer(_answer(one))["input_ids"]) for one in chosen)
    new_tokens = min(max(4 * longest, _LEAST_NEW_TOKENS), _MOST_NEW_TOKENS)
    return Asked(tuple(one.messages[:-1] for one in chosen), new_tokens, origin)


def _answer(example: Example) -> str:
    last = example.messages[-1]
    return last.content if last.role == "assistant" and len(example.messages) > 1 else ""


def _spread(examples: Sequence[Example]) -> list[Example]:
    """PROMPTS of them, tasks in turn, within a task the shortest answers first (ties by id)."""
    tasks: dict[str, list[Example]] = {}
    for one in sorted(examples, key=lambda one: (len(_answer(one)), one.id)):
        tasks.setdefault(one.task, []).append(one)
    rounds = max(map(len, tasks.values()))
    turns = [rows[i] for i in range(rounds) for rows in tasks.values() if i < len(rows)]
    return turns[:PROMPTS]


def ended(model: Any, tokenizer: Any, asked: Asked, ends: Sequence[int] | None = None) -> int:
    """How many greedy answers end by an end token within the limit.

    Args:
        model: anything with `generate`.
        tokenizer: renders the prompts.
        asked: what is asked.
        ends: end tokens; None takes those of the model's own generation settings, as other programs do.
    """
    import torch

    prompts = [prompt_ids(tokenizer, messages) for messages in asked.messages]
    width = max(map(len, prompts))
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else 0
    device = device_of(model)
    ids = torch.tensor([[pad] * (width - len(one)) + one for one in prompts], device=device)
    mask = torch.tensor([[0] * (width - len(one)) + [1] * len(one) for one in prompts], device=device)
    own = {} if ends is None else {"eos_token_id": list(ends)}
    with torch.no_grad(), quiet():
        output = model.generate(
            input_ids=ids,
            attention_mask=mask,
            do_sample=False,
            max_new_tokens=asked.new_tokens,
            pad_token_id=pad,
            **own,
        )
    known = model.generation_config.eos_token_id if ends is None else list(ends)
    stops = torch.tensor(known if isinstance(known, list) else [known], device=device)
    return int(torch.isin(output[:, width:], stops).any(-1).sum())
