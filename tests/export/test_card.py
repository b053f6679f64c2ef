"""Model cards: facts of the run in Korean and English; what is unknown is said to be; the code in it runs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml

from komt.export.card import name_of, sources_of, write_card
from komt.export.gates import Gate
from komt.export.merge import merge
from komt.export.run_facts import run_of
from komt.models.place import Place
from komt.models.resolve import resolve

Make = Callable[..., Place]
MakeRun = Callable[..., Path]
GATES = [Gate("merge in fp32: largest difference", True, "2e-5", "at most 1e-3")]


def card(place: Place, folder: Path, form: Any = "merged", **changed: Any) -> tuple[dict[str, Any], str]:
    options = {"run": run_of(place), "gates": GATES, "stored": "bf16", **changed}
    folder.mkdir(exist_ok=True)
    write_card(place, folder, form, **options)
    _, front, body = (folder / "README.md").read_text(encoding="utf-8").split("---\n", 2)
    return yaml.safe_load(front), body


def score(task: str, model: str = "tuned", **changed: Any) -> dict[str, Any]:
    row = {"model": model, "task": task, "split": "test", "shots": 0, "metric": "f1", "value": 0.5}
    row |= {"low": 0.4, "high": 0.6, "n": 80, "unscored": 0, "ended": 79, "comparable": True}
    return {**row, **changed}


@pytest.fixture
def told(base: Make, run_folder: MakeRun, tmp_path: Path) -> Callable[..., str]:
    """The card of a run with these scores, manifest and settings, without its header."""

    def tell(**options: Any) -> str:
        return card(resolve(str(run_folder(base(), **options))), tmp_path / "out")[1]

    return tell


def test_the_header_is_what_the_hub_reads(base: Make, run_folder: MakeRun, tmp_path: Path) -> None:
    place = replace(resolve(str(run_folder(base()))), base="gemma-3-270m")
    front, _ = card(place, tmp_path / "out")
    assert front == {
        "base_model": "google/gemma-3-270m",
        "base_model_relation": "finetune",
        "language": ["ko"],
        "library_name": "transformers",
        "license": "gemma",
        "pipeline_tag": "text-generation",
        "tags": ["komt", "korean", "instruction-tuning", "lora"],
    }
    front, _ = card(place, tmp_path / "out", "adapter")
    assert (front["base_model_relation"], front["library_name"]) == ("adapter", "peft")
    (tmp_path / "out" / "tiny-Q4_K_M.gguf").touch()
    front, body = card(place, tmp_path / "out", "gguf")
    assert (front["base_model_relation"], front["library_name"], front["tags"][-1]) == (
        "quantized",
        "gguf",
        "gguf",
    )
    assert "llama-server -m tiny-Q4_K_M.gguf" in body


def test_a_local_base_is_named_without_its_path(base: Make, run_folder: MakeRun, tmp_path: Path) -> None:
    place = resolve(str(run_folder(base())))
    front, body = card(place, tmp_path / "out")
    assert "base_model" not in front
    assert front["license"] == "unknown"
    assert str(tmp_path) not in body
    assert "| 라이선스 | 알 수 없음 |" in body
    assert "| licence | unknown |" in body


def test_a_licence_without_an_id_of_the_hub_is_other(base: Make, tmp_path: Path) -> None:
    front, _ = card(replace(base(), licence="Some House Licence v2"), tmp_path / "out")
    assert (front["license"], front["license_name"]) == ("other", "some-house-licence-v2")


def test_recipe_training_and_scores_are_told(told: Callable[..., str]) -> None:
    body = told(
        scores=[score("sample.qa", "base", value=0.1, low=0.05, high=0.15, ended=0), score("sample.qa")]
    )
    assert "| 방법 | LoRA (r=8, alpha=32, dropout=0.0) |" in body
    assert "| 학습한 예제 | 240개 |" in body
    assert "| last loss | 1.250 |" in body
    assert "| 과제 | 지표 | 기반 모델 | 이 모델 |\n|---|---|---:|---:|\n" in body
    assert "| sample.qa (test) | f1 | 0.100 [0.050, 0.150] (n=80) | 0.500 [0.400, 0.600] (n=80) |" in body
    assert "- sample.qa: 답 80개 가운데 79개가 끝 토큰으로 끝났습니다." in body
    assert "- sample.qa: 79 of 80 answers ended by the end token." in body
    assert "| merge in fp32: largest difference | 2e-5 | at most 1e-3 |" in body
    assert body.count("```yaml") == 1
    inside = yaml.safe_load(body.split("```yaml\n")[1].split("```")[0])
    assert (inside["name"], inside["model"]["name"]) == ("tiny", "base")


def test_terms_that_bar_handing_on_stand_in_both_languages(
    base: Make, run_folder: MakeRun, tmp_path: Path
) -> None:
    tasks = {
        "aihub-117.summary": {
            "source": "aihub-117", "licence": "AI Hub terms of use", "origin": "native", "examples": 90,
        },
        "koalpaca.answer": {
            "source": "koalpaca", "licence": "not stated", "origin": "generated", "examples": 10,
        },
        "sample.qa": {"source": "sample", "licence": "CC0-1.0", "origin": "native", "examples": 0},
    }  # fmt: skip
    place = resolve(str(run_folder(base(), tasks=tasks, terms={"aihub-117": "may not be handed on"})))
    assert [source.name for source in sources_of(run_of(place))] == ["aihub-117", "koalpaca"]
    _, body = card(place, tmp_path / "out")
    assert "- **aihub-117의 재배포 조건:** may not be handed on" in body
    assert "- **Redistribution of aihub-117:** may not be handed on" in body
    assert "**aihub-117의 이용 조건이 데이터의 재배포를 제한합니다.**" in body
    assert "aihub.or.kr/aihubdata" in body
    assert "모두 100개의 예제로 학습했습니다.\n이 가운데 10개는 다른 언어 모델이 만든 글입니다." in body
    assert "National Information Society Agency of Korea" in body
    assert "| koalpaca.answer | 10 | generated | not stated |" in body


def test_flags_of_the_scores_stand_beneath_them(told: Callable[..., str]) -> None:
    rows = [
        score("korquad.qa", comparable=False, limit=200),
        score("nsmc.sentiment", unscored=3, off_label=2, contaminated=7),
    ]
    body = told(scores=rows, resplit=("korquad",), overrides=("data.quality.contamination=keep",))
    for line in (
        "**공개된 결과와 비교할 수 없습니다**(korquad.qa)",
        "**Not comparable with published results** (korquad.qa)",
        "- nsmc.sentiment, this model: 3 answers could not be scored by f1.",
        "- nsmc.sentiment, 이 모델: 보기에 없는 답 2개는 오답으로 처리했습니다.",
        "- **nsmc.sentiment: 평가 문항 80개 가운데 7개가 학습 데이터에도 있습니다.**",
        "- **nsmc.sentiment: 7 of 80 evaluation rows are in the training data too:**",
        "- korquad.qa: 문항 전체가 아니라 최대 200개만 평가했습니다.",
        "- korquad.qa: not all rows were asked, but at most 200.",
        "**Training rows that hold evaluation rows were not left out:**",
    ):
        assert line in body


def test_scores_of_both_orders_and_of_choices_stand_in_rows_of_their_own(told: Callable[..., str]) -> None:
    rows = [score("korquad.qa", order=order) for order in ("passage_first", "instruction_first")]
    body = told(scores=[*rows, score("nsmc.sentiment", by="loglikelihood", order="")])
    for how in ("korquad.qa (test, passage first)", "korquad.qa (test, 지시 먼저)"):
        assert f"| {how} | f1 | 0.500" in body
    assert "| nsmc.sentiment (test, choices weighed by their probability) | f1 |" in body


def test_the_header_holds_the_tuned_models_scores_with_their_flags(
    base: Make, run_folder: MakeRun, tmp_path: Path
) -> None:
    from huggingface_hub import ModelCard

    rows = [
        score("sample.qa", "base"),
        score("sample.qa", flags=["limited"], limit=80),
        score("sample.qa", metric="exact_match", value=None, low=None, high=None, n=0),
        score("korquad.qa", order="passage_first", comparable=False, unscored=3),
    ]
    place = resolve(str(run_folder(base(), scores=rows)))
    card(place, tmp_path / "out")
    found = ModelCard.load(tmp_path / "out" / "README.md").data
    assert found.model_name == "tiny"
    assert [(one.dataset_name, one.metric_value, one.metric_name) for one in found.eval_results] == [
        ("sample.qa", 0.5, "f1 (not all rows were asked)"),
        (
            "korquad.qa",
            0.5,
            "f1 (not comparable with published results (official set redivided); 3 answers unscored)",
        ),
    ]
    assert found.eval_results[0].metric_args == {"low": 0.4, "high": 0.6, "n": 80, "unscored": 0, "shots": 0}
    assert found.eval_results[1].dataset_config == "korquad.qa passage_first"
    front, _ = card(place, tmp_path / "out", "gguf")
    assert "before quantisation" in front["model-index"][0]["results"][0]["metrics"][0]["name"]
    assert "model-index" not in card(base(), tmp_path / "bare")[0]


def test_an_adapter_without_its_run_says_that_nothing_is_known(
    base: Make, adapted: Make, tmp_path: Path
) -> None:
    _, body = card(adapted(base()), tmp_path / "out")
    assert "학습 데이터의 기록이 함께 있지 않아 출처와 이용 조건을 알 수 없습니다." in body
    assert "There is no record of the training data beside this model" in body
    assert "There is no record of scores for this model." in body


def test_an_untuned_model_is_not_called_tuned(base: Make, tmp_path: Path) -> None:
    front, body = card(base(), tmp_path / "out")
    assert "instruction-tuning" not in front["tags"]
    assert "nothing was trained" in body
    assert "### Training" not in body


def test_a_base_that_came_quantised_is_said_to_have(base: Make, run_folder: MakeRun, tmp_path: Path) -> None:
    place = replace(resolve(str(run_folder(base()))), base="gemma-3-270m")
    _, body = card(place, tmp_path / "out", "adapter")
    assert "4비트로 양자화된 GGUF(Q4_K_M)" in body
    assert "restored from a GGUF file quantised to 4 bits" in body


def test_files_are_named_after_recipe_or_model(base: Make, run_folder: MakeRun) -> None:
    place = resolve(str(run_folder(base())))
    assert name_of(place, run_of(place)) == "tiny"
    assert name_of(replace(place, name="org/My Model/"), None) == "My-Model"


@pytest.mark.parametrize("form", ["merged", "adapter"])
def test_the_python_in_a_card_answers(ending: Place, adapted: Make, form: Any, tmp_path: Path) -> None:
    from komt.export.adapter import write_adapter

    place = adapted(ending, lora_alpha=1)
    out = tmp_path / "work" / "adapter"
    (merge if form == "merged" else write_adapter)(place, out)
    (out.parent / "base").symlink_to(place.folder)
    _, body = card(place, out, form)
    code = re.findall(r"```python\n(.*?)```", body, re.DOTALL)[0]
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=out.parent,
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
    )
    assert done.stdout == "네\n"


def test_tables_are_whole(told: Callable[..., str]) -> None:
    body = told(scores=[score("sample.qa")])
    lines = body.splitlines()
    for before, line in pairwise(lines):
        if line.startswith("|") and before.startswith("|"):
            assert before.count("|") == line.count("|"), line
    assert "{{" not in body
    assert "None" not in body
