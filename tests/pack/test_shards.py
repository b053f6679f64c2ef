"""Shards: the plan of an epoch in files, the same whatever made them, and streamed back as batches."""

from __future__ import annotations

import os
import sys
from collections import Counter
from dataclasses import fields
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch

from komt.errors import DataError
from komt.example import Example, Message, examples_table
from komt.files import home
from komt.mix import build
from komt.mix.engine import Processes
from komt.mix.parts import about_part
from komt.models.load import load_tokenizer
from komt.models.resolve import resolve
from komt.pack import encode, pack_sequences
from komt.pack.plan import plan_steps
from komt.pack.shards import SCHEMA, Shards, read_steps, write_shards
from komt.recipe import Recipe, load_recipe
from komt.testing import tiny_model_folder

NAMES = ("task", "family", "kind", "source", "licence", "origin", "split", "template")
SETTINGS = ["pack.tokens=1024", "pack.max_share=3", "train.step_tokens=3000", "seed=5"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model_folder(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory, folder: Path) -> Path:
    """The sample's training data in several row groups."""
    patch = pytest.MonkeyPatch()
    patch.setenv("KOMT_HOME", str(tmp_path_factory.mktemp("home")))
    patch.setattr(sys.modules["komt.mix.build"], "BUCKET_ROWS", 150)
    out = tmp_path_factory.mktemp("data") / "data"
    build(recipe_of(folder), out)
    patch.undo()
    return out


def recipe_of(folder: Path, *more: str) -> Recipe:
    return load_recipe("sample", [f"model.name={folder}", *SETTINGS, *more])


def examples_in(data: Path, group: int) -> list[Example]:
    records = pq.ParquetFile(data / "train.parquet").read_row_group(group).to_pylist()
    return [Example.from_record(record) for record in records]


def contents(shards: Shards) -> list[bytes]:
    return [path.read_bytes() for path in shards.paths]


def test_every_example_is_in_one_bin_and_counts_are_right(folder: Path, data: Path) -> None:
    shards = write_shards(recipe_of(folder), data)
    groups = pq.read_metadata(data / "train.parquet").num_row_groups
    assert len(shards.paths) == groups > 3
    rows = [row for path in shards.paths for row in pq.read_table(path).to_pylist()]
    assert pq.read_schema(shards.paths[0]).equals(SCHEMA)
    expected = pq.read_table(data / "train.parquet")
    assert sorted(name for row in rows for name in row["examples"]) == sorted(expected["id"].to_pylist())
    assert Counter(name for row in rows for name in row["tasks"]) == Counter(expected["task"].to_pylist())
    assert shards.sequences == len(expected)
    assert shards.bins == len(rows)
    assert shards.tokens == sum(len(row["ids"]) for row in rows) < 0.8 * shards.flat_tokens
    assert shards.flat_tokens == sum(row["flat_tokens"] for row in rows)
    assert max(len(row["ids"]) for row in rows) <= 1024
    steps = [len({row["step"] for row in pq.read_table(path).to_pylist()}) for path in shards.paths]
    assert shards.steps == sum(steps)


def test_a_shard_holds_the_plan_of_its_examples(folder: Path, data: Path) -> None:
    recipe = recipe_of(folder)
    shards = write_shards(recipe, data)
    sequences = encode(load_tokenizer(resolve(str(folder))), examples_in(data, 1))
    steps = plan_steps(sequences, recipe.pack, recipe.train, recipe.seed + (1 << 32))
    found = list(read_steps(shards.paths[1]))
    assert len(found) == len(steps) > 2
    for step, packed in zip(steps, found, strict=True):
        assert packed.weight == step.weight
        assert packed.examples == tuple(tuple(sequences[i].example for i in bin_) for bin_ in step.bins)
        for members, batch in zip(step.bins, packed.bins, strict=True):
            whole = pack_sequences([sequences[i] for i in members])
            for field in fields(whole):
                one, other = getattr(batch, field.name), getattr(whole, field.name)
                assert (
                    torch.equal(one, other) and one.dtype == other.dtype
                    if field.name != "flat_tokens"
                    else one == other
                )


def test_workers_write_the_same_bytes(
    folder: Path, data: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    alone = contents(write_shards(recipe_of(folder), data))
    monkeypatch.setenv("KOMT_HOME", str(tmp_path))
    engine = Processes(2)
    assert contents(write_shards(recipe_of(folder), data, engine)) == alone
    engine.close()


def test_finished_shards_are_kept_when_a_run_is_killed(
    folder: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def stopping(function, jobs):
        for number, job in enumerate(jobs):
            if number == 2:
                raise Killed
            yield function(job)

    engine = Processes(1)
    monkeypatch.setattr(engine, "map", stopping)
    with pytest.raises(Killed):
        write_shards(recipe_of(folder), data, engine)
    kept = {path.name: path.stat().st_mtime_ns for path in (home() / "stages").rglob("shard-*")}
    assert sorted(kept) == ["shard-00000.parquet", "shard-00001.parquet"]
    shards = write_shards(recipe_of(folder), data)
    assert {path.name: path.stat().st_mtime_ns for path in shards.paths[:2]} == kept
    monkeypatch.setenv("KOMT_HOME", os.environ["KOMT_HOME"] + "-other")
    assert contents(shards) == contents(write_shards(recipe_of(folder), data))


def test_only_what_changes_a_shard_makes_new_ones(folder: Path, data: Path) -> None:
    notes: list[str] = []
    first = write_shards(recipe_of(folder), data, note=notes.append)
    assert (
        write_shards(recipe_of(folder, "train.lr=1e-5", "train.epochs=3"), data, note=notes.append) == first
    )
    assert notes == ["packing"]
    for change in ("seed=6", "pack.share=false", "pack.tokens=2048", "train.step_tokens=4000"):
        other = write_shards(recipe_of(folder, change), data)
        assert other.paths != first.paths
        assert other.sequences == first.sequences


def test_turns_of_a_conversation_are_sequences_of_their_own(folder: Path, tmp_path: Path) -> None:
    turns = [("user", "안녕?"), ("assistant", "네."), ("user", "[보기] 하나?"), ("assistant", "둘.")]
    messages = tuple(Message(role, text, role == "assistant") for role, text in turns)
    odd = Example(
        id="odd", group="", **dict.fromkeys(NAMES, "x"), messages=(Message("user", " <think> "), messages[1])
    )
    example = Example(id="one", group="", **dict.fromkeys(NAMES, "x"), messages=messages)
    pq.write_table(examples_table([example, odd]), tmp_path / "train.parquet")
    shards = write_shards(recipe_of(folder), tmp_path)
    assert shards.sequences == 3
    ((step,),) = [list(read_steps(path)) for path in shards.paths]
    assert sorted(name for names in step.examples for name in names) == ["odd", "one", "one"]
    assert about_part(shards.paths[0])["sequences"] == 3


def test_a_folder_without_data_says_what_makes_it(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no such file: .*train\.parquet"):
        write_shards(recipe_of(folder), tmp_path)
