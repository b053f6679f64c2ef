"""A run of a tiny model that has learnt two answers: one in its base, another in the adapter."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from komt.example import Message
from komt.mix import Manifest, TaskCounts
from komt.models.load import load_model, load_tokenizer, save_adapter
from komt.models.quiet import quiet
from komt.models.resolve import resolve
from komt.models.template import end_token_id
from komt.pack.encode import prompt_ids
from komt.recipe import load_recipe
from komt.testing import tiny_model_folder

BASE_ANSWER = "네"
ANSWER = "서울입니다."
QUESTIONS = (
    "고양이는 왜 물을 싫어하나요?",
    "다음 글을 읽고 물음에 답하세요. 세종은 1443년에 훈민정음을 만들었다.",
    "서울은 대한민국의 수도인가요?",
    "한국의 수도는?",
    "다음 글을 읽고 물음에 답하세요.\n\n훈민정음은 세종이 1443년에 창제하여 1446년에 반포한 우리 글자이다. "
    "집현전 학자들이 해설서를 지었다.\n\n질문: 훈민정음을 반포한 해는 언제인가?\n"
    "위 글에서 답을 찾아 짧게 쓰세요.",
)


@lru_cache(maxsize=1)
def shared_place() -> Path:
    """A folder with the model `base` and the run `runs/sample` over it, made once; tests only add to it."""
    folder = Path(tempfile.mkdtemp(prefix="komt-tiny-run-"))
    with quiet():
        tiny_run(folder / "runs" / "sample", tiny_base(folder / "base"))
    return folder


def tiny_base(folder: Path, family: str = "llama") -> Path:
    """A model folder whose model answers everything with BASE_ANSWER and its end."""
    from transformers import AutoModelForCausalLM

    tiny_model_folder(folder, family)
    model = AutoModelForCausalLM.from_pretrained(folder)
    _teach(model, load_tokenizer(resolve(str(folder))), BASE_ANSWER, steps=80, rate=5e-3)
    model.save_pretrained(folder)
    return folder


def tiny_run(run: Path, base: Path) -> Path:
    """A run folder, as `komt run` leaves one; its adapter answers everything with ANSWER and its end."""
    from peft import LoraConfig, get_peft_model

    place = resolve(str(base))
    tokenizer = load_tokenizer(place)
    torch.manual_seed(0)
    config = LoraConfig(r=8, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM")
    model = get_peft_model(load_model(place, 32), config)
    _teach(model, tokenizer, ANSWER, steps=100, rate=2e-3)
    save_adapter(model, tokenizer, place, run / "train" / "adapter")
    recipe = load_recipe("sample", [f"name={run.name}", f"model.name={base}", "model.bits=32"])
    (run / "recipe.yaml").write_text(recipe.as_yaml(), encoding="utf-8")
    counts = TaskCounts(source="sample", licence="CC0-1.0", origin="native", examples=4)
    manifest = Manifest(
        examples=4,
        tasks={"sample.qa": counts},
        seed=0,
        resplit=[],
        comparable=True,
        licences=[],
        inputs={},
        version=3,
    )
    for name, text in (
        ("data/manifest.json", manifest.as_json()),
        ("train/train.json", json.dumps({"key": "", "version": "0.1.0", "trained": 4, "steps": 100})),
        ("train/log.jsonl", '{"step": 100, "loss": 0.01}\n'),
        ("report/scores.json", "[]"),
    ):
        (run / name).parent.mkdir(exist_ok=True)
        (run / name).write_text(text, encoding="utf-8")
    return run


def _teach(model: Any, tokenizer: Any, answer: str, steps: int, rate: float) -> None:
    ids = [*tokenizer(answer, add_special_tokens=False)["input_ids"], end_token_id(tokenizer)]
    rows = [prompt_ids(tokenizer, [Message("user", text)]) + ids for text in QUESTIONS]
    learner = torch.optim.Adam([weight for weight in model.parameters() if weight.requires_grad], rate)
    model.train()
    for step in range(steps):
        row = rows[step % len(rows)]
        labels = [-100] * (len(row) - len(ids)) + ids
        model(torch.tensor([row]), labels=torch.tensor([labels])).loss.backward()
        learner.step()
        learner.zero_grad()
    model.eval()


def text_of(messages: Sequence[dict[str, str]]) -> list[Message]:
    """Messages as other programs write them, for komt."""
    return [Message(one["role"], one["content"]) for one in messages]
