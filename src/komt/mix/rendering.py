"""The first stage: the rows of a split become examples in part files, with all that later stages compare."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from komt.example import Example, examples_table
from komt.mix.duplicates import hashes, normal_form, words_of_all
from komt.mix.filters import Checked, check
from komt.mix.minhash import BANDS, band_hashes
from komt.mix.parts import write_part
from komt.recipe import QualityPart
from komt.sources import Rejected, Source, read_rows
from komt.tasks import Task, UnusableRow, input_text, render, with_derived

Row = dict[str, Any]
CHUNK_ROWS, CHUNK_CHARACTERS = 8192, 1 << 23
_as_json = json.JSONEncoder(ensure_ascii=False, default=str).encode
# Of so many rows one is measured.
_MEASURED = 32
REJECTS = pa.schema([(name, pa.string()) for name in ("task", "split", "stage", "reason", "where", "row")])


@dataclass(frozen=True, slots=True)
class Work:
    """A split of a task that is to be rendered; `quality` is None where rows are taken as they are."""

    task: Task
    source: Source
    split: str
    seed: int
    quality: QualityPart | None


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some rows of a source, and what is made of them: each work with the part file it fills."""

    rows: Sequence[Row | Rejected]
    works: tuple[tuple[Work, Path], ...]


@dataclass
class _Made:
    """What becomes of the rows of a chunk in one task."""

    examples: list[Example] = field(default_factory=list)
    inputs: list[str] = field(default_factory=list)
    rejects: list[dict[str, str]] = field(default_factory=list)
    cleaned: dict[str, int] = field(default_factory=dict)


def chunks_of(
    rows: Iterable[tuple[str, Row | Rejected]],
) -> Iterator[tuple[str, int, list[Row | Rejected]]]:
    """Rows of several splits in lists of one split, each with its number there, from 1.

    A list holds CHUNK_ROWS rows, or fewer long ones: about CHUNK_CHARACTERS in all.
    """
    open_: dict[str, list[Row | Rejected]] = {}
    numbers, sizes = Counter[str](), Counter[str]()
    for split, row in rows:
        chunk = open_.setdefault(split, [])
        if not len(chunk) % _MEASURED:
            sizes[split] += _MEASURED * len(repr(row))
        chunk.append(row)
        if len(chunk) >= CHUNK_ROWS or sizes[split] >= CHUNK_CHARACTERS:
            numbers[split] += 1
            sizes[split] = 0
            yield split, numbers[split], open_.pop(split)
    for split, chunk in open_.items():
        yield split, numbers[split] + 1, chunk


def rejects_of(part: Path) -> Path:
    """The file with the rejects of a part; a part without any has none."""
    return part.with_name(part.name.replace("part-", "rejects-"))


def render_chunk(chunk: Chunk) -> None:
    """Write the part files of a chunk that are not there yet."""
    for work, path in chunk.works:
        if not path.is_file():
            made = _render(work, chunk.rows)
            about = {"read": len(chunk.rows), "rejected": _counted(made.rejects), "cleaned": made.cleaned}
            if made.rejects:
                write_part(rejects_of(path), pa.Table.from_pylist(made.rejects, schema=REJECTS), {})
            write_part(path, _table(made, work), about)


def _render(work: Work, rows: Sequence[Row | Rejected]) -> _Made:
    made = _Made()
    task = work.task
    for row in rows:
        if isinstance(row, Rejected):
            made.rejects.append(_reject(work, "source", row.reason, row.where, row.row))
            continue
        derived = with_derived(task, row)
        try:
            example = render(task, derived, work.seed, split=work.split, source=work.source)
        except UnusableRow as error:
            made.rejects.append(_reject(work, "filter", error.reason, str(row["id"]), row))
            continue
        asked = input_text(task, derived)
        if work.quality:
            checked = _check(example, asked, work.quality)
            for what in checked.cleanings:
                made.cleaned[what] = made.cleaned.get(what, 0) + 1
            if checked.reason:
                made.rejects.append(_reject(work, "filter", checked.reason, str(row["id"]), row))
                continue
            example = _mended(example, checked)
            if example.rejected and example.rejected == example.chosen:
                made.rejects.append(_reject(work, "filter", "identical_answers", str(row["id"]), row))
                continue
        made.examples.append(example)
        made.inputs.append(asked)
    return made


def _check(example: Example, asked: str, quality: QualityPart) -> Checked:
    """What the filters say of an example; the places that it points to go along."""
    places: list[tuple[int, int]] = []
    if at := example.evidence:
        places += [(at.message, at.start), (at.message, at.end)]
    if span := example.metadata.get("passage"):
        places += [(span[0], span[1]), (span[0], span[2])]
    return check(
        [message.content for message in example.messages],
        example.family,
        example.kind,
        bool(example.choices),
        quality,
        asked=asked,
        others=_others(example),
        places=places,
    )


def _others(example: Example) -> tuple[str, ...]:
    """Texts that are mended, not judged: further references, and the answer that was rejected."""
    return (*example.references, example.rejected) if example.rejected else example.references


def _mended(example: Example, checked: Checked) -> Example:
    if not checked.cleanings:
        return example
    messages = tuple(
        replace(message, content=text) for message, text in zip(example.messages, checked.texts, strict=True)
    )
    places = list(checked.places)
    evidence, metadata = example.evidence, dict(example.metadata)
    if evidence:
        (_, start), (_, end) = places[:2]
        evidence, places = replace(evidence, start=start, end=end), places[2:]
    if "passage" in metadata:
        metadata["passage"] = [metadata["passage"][0], places[0][1], places[1][1]]
    others = checked.others
    if example.rejected:
        others, rejected = others[:-1], others[-1]
        example = replace(example, chosen=messages[-1].content, rejected=rejected)
    references = tuple(dict.fromkeys(others))
    return replace(example, messages=messages, references=references, evidence=evidence, metadata=metadata)


def _reject(work: Work, stage: str, reason: str, where: str, row: Row) -> dict[str, str]:
    text = _as_json(row)
    values = (work.task.name, work.split, stage, reason, where, text)
    return dict(zip(REJECTS.names, values, strict=True))


def _counted(rejects: Iterable[dict[str, str]]) -> dict[str, dict[str, int]]:
    counts: dict[str, dict[str, int]] = {}
    for item in rejects:
        reasons = counts.setdefault(item["stage"], {})
        reasons[item["reason"]] = reasons.get(item["reason"], 0) + 1
    return counts


def _table(made: _Made, work: Work) -> pa.Table:
    """The examples, and by what they are compared.

    `asked`: hash of what is asked and the passage's id; `told`: of that, what kind of thing it is, and the
    answer; `order`: of the passage, or else of the example, in this seed; `input`: the words of what is
    asked; `form` and `bands`: what near-duplicates are found by, where they are looked for.
    """
    examples = made.examples
    inputs = words_of_all(made.inputs)
    forms = [text.replace(" ", "") for text in inputs]
    answers = [_answer(example) for example in examples]
    asked = [f"{example.group}\x1f{form}" for example, form in zip(examples, forms, strict=True)]
    told = [
        f"{scope_of(example)}\x1f{text}\x1f{answer}"
        for example, text, answer in zip(examples, asked, answers, strict=True)
    ]
    order = [f"{work.seed}\x1f{example.group or example.id}" for example in examples]
    columns = {
        "asked": pa.array(hashes(asked)),
        "told": pa.array(hashes(told)),
        "order": pa.array(hashes(order)),
        "input": pa.array(inputs, pa.string()),
    }
    if work.quality and work.quality.duplicates == "near":
        columns |= _near_columns(examples, forms, answers, work.quality)
    table = examples_table(examples)
    for name, column in columns.items():
        table = table.append_column(name, column)
    return table


def _near_columns(
    examples: Sequence[Example], forms: Sequence[str], answers: Sequence[str], quality: QualityPart
) -> dict[str, pa.Array]:
    """What near-duplicates are found by: what is asked, among rows of one passage with the same answer."""
    scopes = [
        f"{scope_of(example)}\x1f{example.group}\x1f{answer}"
        for example, answer in zip(examples, answers, strict=True)
    ]
    bands = band_hashes(forms, hashes(scopes), similarity=quality.similarity, shingle=quality.shingle)
    flat = pa.array(bands.reshape(-1))
    return {"form": pa.array(forms, pa.string()), "bands": pa.FixedSizeListArray.from_arrays(flat, BANDS)}


def scope_of(example: Example) -> str:
    """What kind of thing is asked: only rows of one kind are duplicates of each other.

    The ends of tasks' names say it, across sources: klue-nli.label and kornli.label ask the same kind of
    thing, klue-nli.label and klue-nli.hypothesis do not.
    """
    return f"{example.family}.{example.task.rpartition('.')[2]}"


def _answer(example: Example) -> str:
    """The answer as it is compared: the label, not what stands for it; both of a pair."""
    if example.answer_index is not None:
        return example.choices[example.answer_index]
    answer = normal_form(example.messages[-1].content)
    return f"{answer}\x1f{normal_form(example.rejected)}" if example.rejected else answer


def examples_of(task: Task, split: str, seed: int, *, resplit: bool = False) -> list[Example]:
    """The examples of a whole split of a task, in memory; rows that none can be made of are passed over."""
    work = Work(task, task.rows_from, split, seed, None)
    return _render(work, list(read_rows(work.source, split, resplit=resplit))).examples
