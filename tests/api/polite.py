"""A tiny model that was taught one answer, and ends it: for clients that wait for an answer's end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

ANSWER = "서울은 대한민국의 수도이다."
QUESTIONS = (
    "서울은 어디?",
    "Say hello in exactly 3 words.",
    "Count from 1 to 5.",
    "Say one word.",
    "My name is Alice.",
    "고양이는 왜 물을 싫어하나요?",
    "What is my name? Reply with just the name.",
)


def polite_model(folder: Path) -> tuple[Any, Any]:
    """Train and save a tiny Llama to a model folder; returns it with its tokenizer."""
    import torch

    from komt.example import Message
    from komt.pack.encode import prompt_ids
    from komt.testing import tiny_model_folder

    tiny_model_folder(folder, "llama")
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    answer = [*tokenizer(ANSWER)["input_ids"], tokenizer.eos_token_id]
    system = Message("system", "Always respond in exactly one word.")
    history = (Message("user", "My name is Alice."), Message("assistant", "Hello Alice!"))
    talks = [[*before, Message("user", text)] for text in QUESTIONS for before in ((), (system,), history)]
    rows = [[*prompt_ids(tokenizer, talk), *answer] for talk in talks]
    longest = max(map(len, rows))
    ids = torch.tensor([[0] * (longest - len(row)) + row for row in rows])
    mask = torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in rows])
    labels = torch.full_like(ids, -100)
    labels[:, -len(answer) :] = ids[:, -len(answer) :]
    torch.manual_seed(0)
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-2)
    model.train()
    loss = torch.tensor(torch.inf)
    for _ in range(200):
        optimiser.zero_grad()
        loss = model(input_ids=ids, attention_mask=mask, labels=labels).loss
        if loss.item() < 0.005:
            break
        loss.backward()
        optimiser.step()
    assert loss.item() < 0.01
    model.eval().save_pretrained(folder)
    return model, tokenizer
