"""Tiny trained models: adapters of each kind on each family, in the folders a run leaves."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
import torch

from komt.example import Message
from komt.mix import Manifest, TaskCounts
from komt.models.load import load_model, load_tokenizer, save_adapter, save_full
from komt.models.place import Place
from komt.models.resolve import resolve
from komt.pack.encode import prompt_ids
from komt.recipe import load_recipe
from komt.testing import tiny_model_folder

ANSWER = "네"
MakeRun = Callable[..., Path]


@pytest.fixture
def base(tmp_path: Path) -> Callable[..., Place]:
    """A tiny model of a family; `sharp` makes its choices clear, as a trained model's are."""

    def make(family: str = "llama", sharp: bool = True, tied: bool | None = None) -> Place:
        folder = tiny_model_folder(tmp_path / "base", family)
        if sharp or tied is not None:
            _rewrite(folder, sharp, tied)
        return resolve(str(folder))

    return make


def _rewrite(folder: Path, sharp: bool, tied: bool | None) -> None:
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder)
    if tied is not None:
        model.config.tie_word_embeddings = tied
        if tied:
            model.lm_head.weight = model.model.embed_tokens.weight
        else:
            model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight.detach().clone())
    if sharp:
        with torch.no_grad():
            for weight in {id(one): one for one in model.parameters() if one.ndim > 1}.values():
                weight.mul_(8)
    model.save_pretrained(folder)


@pytest.fixture
def adapted(tmp_path: Path) -> Callable[..., Place]:
    """An adapter with noise in its weights, saved as komt saves one."""

    def make(place: Place, folder: Path | None = None, **settings: Any) -> Place:
        from peft import LoraConfig, get_peft_model

        options = {"r": 4, "lora_alpha": 8, "target_modules": "all-linear", "task_type": "CAUSAL_LM"}
        model = get_peft_model(load_model(place, 32), LoraConfig(**{**options, **settings}))
        noise = torch.Generator().manual_seed(1)
        with torch.no_grad():
            for weight in model.parameters():
                if weight.requires_grad:
                    weight.add_(torch.randn(weight.shape, generator=noise) * 0.05)
        target = folder or tmp_path / "adapter"
        save_adapter(model, load_tokenizer(place), place, target)
        return resolve(str(target))

    return make


@lru_cache(maxsize=1)
def _ending_state() -> dict[str, torch.Tensor]:
    """Weights of a tiny Llama that answers everything with ANSWER and its end token."""
    from komt.models.template import end_token_id
    from komt.testing import tiny_model, tiny_tokenizer

    tokenizer = tiny_tokenizer()
    from komt.models.template import ensure_template

    ensure_template(tokenizer)
    model = tiny_model("llama", len(tokenizer))
    questions = (
        "한국의 수도는?",
        "고양이는 왜 물을 싫어하나요?",
        "다음 글을 읽고 답하세요. 서울은 수도이다.",
    )
    answer = [*tokenizer(ANSWER, add_special_tokens=False)["input_ids"], end_token_id(tokenizer)]
    rows = [prompt_ids(tokenizer, [Message("user", text)]) + answer for text in questions]
    steps = torch.optim.Adam(model.parameters(), 5e-3)
    for step in range(90):
        ids = rows[step % len(rows)]
        labels = [-100] * (len(ids) - len(answer)) + answer
        loss = model(torch.tensor([ids]), labels=torch.tensor([labels])).loss
        loss.backward()
        steps.step()
        steps.zero_grad()
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


@pytest.fixture
def ending(tmp_path: Path) -> Place:
    """A tiny Llama that ends its answers."""
    from transformers import AutoModelForCausalLM

    folder = tiny_model_folder(tmp_path / "base", "llama")
    model = AutoModelForCausalLM.from_pretrained(folder)
    model.load_state_dict(_ending_state())
    model.save_pretrained(folder)
    return resolve(str(folder))


@pytest.fixture
def run_folder(tmp_path: Path, adapted: Callable[..., Place]) -> MakeRun:
    """A run folder around a tiny adapter, with manifest and scores."""

    def make(
        place: Place,
        *,
        tasks: dict[str, dict[str, Any]] | None = None,
        terms: dict[str, str] | None = None,
        scores: list[dict[str, Any]] | None = None,
        resplit: tuple[str, ...] = (),
        overrides: tuple[str, ...] = (),
        full: bool = False,
    ) -> Path:
        run = tmp_path / "runs" / "tiny"
        if full:
            save_full(load_model(place, 32), load_tokenizer(place), place, run / "train" / "model")
            overrides = (*overrides, "train.method=full")
        else:
            adapted(place, run / "train" / "adapter", target_modules=["q_proj", "v_proj"])
        recipe = load_recipe("sample", ["name=tiny", f"model.name={place.folder}", *overrides])
        (run / "recipe.yaml").write_text(recipe.as_yaml(), encoding="utf-8")
        counts = {
            "sample.qa": {"source": "sample", "licence": "CC0-1.0", "origin": "native", "examples": 240}
        }
        manifest = Manifest(
            examples=240,
            tasks={name: TaskCounts(**values) for name, values in (tasks or counts).items()},
            seed=0,
            resplit=list(resplit),
            comparable=not resplit,
            licences=[],
            terms=terms or {},
            inputs={},
            version=3,
        )
        (run / "data").mkdir()
        (run / "data" / "manifest.json").write_text(manifest.as_json(), encoding="utf-8")
        (run / "train" / "train.json").write_text(
            json.dumps({"key": "", "version": "0.1.0", "trained": 240, "steps": 24}), encoding="utf-8"
        )
        (run / "train" / "log.jsonl").write_text('{"step": 24, "loss": 1.25}\n', encoding="utf-8")
        (run / "report").mkdir()
        (run / "report" / "scores.json").write_text(json.dumps(scores or []), encoding="utf-8")
        return run

    return make
