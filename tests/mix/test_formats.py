"""Each format is read by the loader of the programs it is for."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from komt.errors import UsageError
from komt.example import Example, Message, examples_table
from komt.mix import build, read_examples
from komt.mix.formats import parse_formats, write_formats
from komt.recipe import load_recipe
from komt.testing import tiny_model, tiny_tokenizer

ALL = ["chat", "alpaca", "sharegpt", "lm-eval"]
SMALL = ["data.tasks={sample.qa: {cap: 12}, sample.sentiment: {}, sample.translate_ko_en: {}}"]


def example(*turns: tuple[str, str, bool], number: int = 0, **more: Any) -> Example:
    fields = dict.fromkeys(("template", "group", "licence", "origin", "kind"), "")
    messages = tuple(Message(*turn) for turn in turns)
    known = {"task": "t.ask", "family": "closed_book_qa", "source": "t", "split": "test", **fields}
    return Example(id=f"t.ask:{number}", messages=messages, **{**known, **more})


ASK = (("user", "하나?", False), ("assistant", "둘", True))
FEW_SHOT = (
    ("system", "짧게 답하세요.", False),
    ("user", "1+1?", False),
    ("assistant", "2", False),
    ("user", "2+2?", False),
    ("assistant", "4", True),
)
TALK = (
    ("user", "안녕", False),
    ("assistant", "반가워.", True),
    ("user", "자?", False),
    ("assistant", "아니.", True),
)


def folder_of(tmp_path: Path, train: list[Example], held: list[Example]) -> Path:
    for name, examples in (("train", train), ("evaluate", held)):
        pq.write_table(examples_table(examples), tmp_path / f"{name}.parquet", row_group_size=2)
    return tmp_path


def lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_chat_and_sharegpt_keep_every_turn(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, [example(*ASK), example(*FEW_SHOT), example(*TALK)], [])
    write_formats(folder, ["chat", "sharegpt"])
    chat, sharegpt = lines(folder / "chat.jsonl"), lines(folder / "sharegpt.jsonl")
    assert chat[0] == {
        "messages": [{"role": "user", "content": "하나?"}, {"role": "assistant", "content": "둘"}]
    }
    assert [turn["role"] for turn in chat[1]["messages"]] == [role for role, _, _ in FEW_SHOT]
    assert [turn["from"] for turn in sharegpt[1]["conversations"]] == [
        "system",
        "human",
        "gpt",
        "human",
        "gpt",
    ]
    for one, other in zip(chat, sharegpt, strict=True):
        contents = [turn["content"] for turn in one["messages"]]
        assert contents == [turn["value"] for turn in other["conversations"]]


def test_alpaca_has_a_row_for_every_answer_that_is_trained_on(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, [example(*ASK), example(*FEW_SHOT), example(*TALK)], [])
    write_formats(folder, ["alpaca"])
    assert json.loads((folder / "alpaca.json").read_text(encoding="utf-8")) == [
        {"instruction": "하나?", "input": "", "output": "둘"},
        {"instruction": "짧게 답하세요.\n\n1+1?\n\n2\n\n2+2?", "input": "", "output": "4"},
        {"instruction": "안녕", "input": "", "output": "반가워."},
        {"instruction": "안녕\n\n반가워.\n\n자?", "input": "", "output": "아니."},
    ]


def test_no_example_is_an_empty_list(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, [], [])
    assert write_formats(folder, ALL) == [
        folder / name for name in ("chat.jsonl", "alpaca.json", "sharegpt.jsonl", "lm-eval")
    ]
    assert json.loads((folder / "alpaca.json").read_text()) == []
    assert (folder / "chat.jsonl").read_bytes() == b""
    assert not list((folder / "lm-eval").glob("*.yaml"))


def test_names_come_one_by_one_or_with_commas() -> None:
    assert parse_formats(["chat,alpaca", "chat", "lm-eval, parquet"]) == [
        "chat",
        "alpaca",
        "lm-eval",
        "parquet",
    ]
    assert parse_formats([]) == []
    with pytest.raises(UsageError, match="unknown format 'alpacca'; did you mean 'alpaca'"):
        parse_formats(["chat,alpacca"])


def test_rows_are_read_a_batch_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = folder_of(tmp_path, [example(*ASK, number=n) for n in range(50)], [])
    monkeypatch.setattr("komt.mix.formats._BATCH_ROWS", 8)
    seen: list[int] = []
    real = pq.ParquetFile.iter_batches

    def watched(self: pq.ParquetFile, *args: Any, **kwargs: Any) -> Iterator[pa.RecordBatch]:
        for batch in real(self, *args, **kwargs):
            seen.append(len(batch))
            yield batch

    monkeypatch.setattr(pq.ParquetFile, "iter_batches", watched)
    write_formats(folder, ["chat"])
    assert len(lines(folder / "chat.jsonl")) == sum(seen) == 50
    assert max(seen) <= 8


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small build of the sample in all formats."""
    folder = tmp_path_factory.mktemp("build") / "data"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KOMT_HOME", str(tmp_path_factory.mktemp("home")))
        build(load_recipe("sample", [*SMALL, "evaluate.tasks=[]"]), folder)
    write_formats(folder, ALL, {"sample.translate_ko_en": ["chrf"]})
    return folder


@pytest.mark.parametrize("name", ["train.parquet", "chat.jsonl", "alpaca.json", "sharegpt.jsonl"])
def test_datasets_loads_every_file(data: Path, tmp_path: Path, name: str) -> None:
    datasets = pytest.importorskip("datasets", reason="datasets is not installed")
    kind = "parquet" if name.endswith("parquet") else "json"
    loaded = datasets.load_dataset(kind, data_files=str(data / name), split="train", cache_dir=str(tmp_path))
    examples = read_examples(data / "train.parquet")
    assert len(loaded) == len(examples) > 50
    first = {
        "train.parquet": lambda row: Example.from_record(row).messages[-1].content,
        "chat.jsonl": lambda row: row["messages"][-1]["content"],
        "alpaca.json": lambda row: row["output"],
        "sharegpt.jsonl": lambda row: row["conversations"][-1]["value"],
    }[name]
    assert [first(row) for row in loaded] == [item.messages[-1].content for item in examples]


CHATML = "{% for m in messages %}<{{ m.role }}>{{ m.content }}<eos>{% endfor %}"


@pytest.mark.parametrize("name", ["chat.jsonl", "alpaca.json"])
def test_trl_prepares_the_same_tokens(data: Path, tmp_path: Path, name: str) -> None:
    datasets = pytest.importorskip("datasets", reason="datasets is not installed")
    trl = pytest.importorskip("trl", reason="trl is not installed")
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = CHATML
    rows = datasets.load_dataset("json", data_files=str(data / name), split="train", cache_dir=str(tmp_path))
    trainer = trl.SFTTrainer(
        model=tiny_model("llama", len(tokenizer)),
        args=trl.SFTConfig(
            output_dir=str(tmp_path),
            max_length=None,
            report_to="none",
            use_cpu=True,
            disable_tqdm=True,
            bf16=False,
        ),
        train_dataset=rows,
        processing_class=tokenizer,
        formatting_func=_as_one_text if name == "alpaca.json" else None,
    )
    examples = read_examples(data / "train.parquet")
    assert len(trainer.train_dataset) == len(examples)
    for row, item in zip(trainer.train_dataset, examples, strict=True):
        user, assistant = (message.content for message in item.messages)
        text = f"<user>{user}<eos><assistant>{assistant}<eos>"
        if name == "alpaca.json":
            text = f"{user}\n\n{assistant}<eos>"
        assert tokenizer.decode(row["input_ids"]) == text


def _as_one_text(row: dict[str, str]) -> str:
    return f"{row['instruction']}\n\n{row['output']}"


def test_tasks_of_lm_eval_score_right_answers_as_right(data: Path) -> None:
    pytest.importorskip("lm_eval", reason="lm_eval is not installed")
    results = _lm_eval(data / "lm-eval", right=True)
    assert set(results) == {"komt_sample_qa", "komt_sample_sentiment", "komt_sample_translate_ko_en"}
    assert results["komt_sample_sentiment"]["acc,none"] == 1.0
    assert results["komt_sample_qa"]["exact_match,trimmed"] == 1.0
    assert results["komt_sample_translate_ko_en"]["exact_match,trimmed"] == 1.0
    assert results["komt_sample_translate_ko_en"]["chrf,trimmed"] == pytest.approx(100.0)


def test_tasks_of_lm_eval_score_wrong_answers_as_wrong(data: Path, tmp_path: Path) -> None:
    pytest.importorskip("lm_eval", reason="lm_eval is not installed")
    moved = (data / "lm-eval").rename(tmp_path / "elsewhere")
    try:
        results = _lm_eval(moved, right=False)
    finally:
        moved.rename(data / "lm-eval")
    assert results["komt_sample_sentiment"]["acc,none"] == 0.0
    assert results["komt_sample_qa"]["exact_match,trimmed"] == 0.0
    assert results["komt_sample_translate_ko_en"]["chrf,trimmed"] < 1.0


def _lm_eval(folder: Path, right: bool) -> dict[str, Any]:
    """Scores of a model that reads the answers of the rows, and gives them or their opposite."""
    from lm_eval import simple_evaluate
    from lm_eval.api.model import LM
    from lm_eval.tasks import TaskManager

    class Oracle(LM):
        def loglikelihood(self, requests: Any, **_: Any) -> list[tuple[float, bool]]:
            def is_right(request: Any) -> bool:
                return request.args[1] == "\n" + request.doc["choices"][request.doc["answer_index"]]

            return [(-float(is_right(request) != right), True) for request in requests]

        def generate_until(self, requests: Any, **_: Any) -> list[str]:
            # An answer as base models give it: a line end first.
            return [f"\n{request.doc['references'][-1] if right else '§§'} " for request in requests]

        def loglikelihood_rolling(self, requests: Any, **_: Any) -> list[float]:
            raise NotImplementedError

    manager = TaskManager(include_path=str(folder), include_defaults=False)
    found = simple_evaluate(model=Oracle(), tasks=["komt"], task_manager=manager, bootstrap_iters=0)
    return dict(found["results"])


def test_lm_eval_gets_the_number_or_letter_where_the_prompt_shows_one(tmp_path: Path) -> None:
    marks = {"choices": ("긍정", "부정"), "answer_index": 1, "references": ("B",)}
    held = [
        example(
            ("user", "A. 긍정\nB. 부정", False),
            ("assistant", "B", True),
            metadata={"marks": ["A", "B"]},
            **marks,
        ),
        example(("user", "긍정, 부정?", False), ("assistant", "부정", True), number=1, **marks),
        example(
            ("user", "부정인 글을 쓰세요.", False), ("assistant", "별로.\n\n정말.", True), number=2, **marks
        ),
    ]
    folder = folder_of(tmp_path, [], held)
    write_formats(folder, ["lm-eval"])
    assert [row["choices"] for row in lines(folder / "lm-eval" / "komt_t_ask.jsonl")] == [
        ["A", "B"],
        ["긍정", "부정"],
    ]
    # An inverted prompt of the task has choices, too, but its answer is a text: a task of its own.
    (row,) = lines(folder / "lm-eval" / "komt_t_ask_write.jsonl")
    assert row["answer"] == "별로.\n\n정말."
    assert "\n\n" not in yaml_of(folder / "lm-eval" / "komt_t_ask_write.yaml")["generation_kwargs"]["until"]


def yaml_of(path: Path) -> Any:
    import yaml

    return yaml.safe_load(path.read_text(encoding="utf-8"))


def test_lm_eval_names_differ_where_tasks_differ(tmp_path: Path) -> None:
    held = [replace(example(*ASK, number=n), task=task) for n, task in enumerate(["a.b", "a-b", "a_b"])]
    folder = folder_of(tmp_path, [], held)
    write_formats(folder, ["lm-eval"])
    files = sorted((folder / "lm-eval").glob("*.yaml"))
    assert {yaml_of(path)["task_alias"] for path in files} == {"a.b", "a-b", "a_b"}
    assert {yaml_of(path)["task"] for path in files} == {path.stem for path in files}
    assert all((folder / "lm-eval" / yaml_of(path)["dataset_kwargs"]["file"]).is_file() for path in files)
