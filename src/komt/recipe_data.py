"""The data part of a recipe: tasks and mixtures, own files, quality, sizes."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from komt.strict import Count, Part, Words

Kind = Literal["plain", "options", "closed_book", "passage_first", "instruction_first", "inverted"]
Rate = Annotated[float, Field(gt=0, le=1)]


class TaskPart(Part):
    """How much of a task: a share `rate` of it, at most `cap` examples; whole groups, seeded.

    `weight` multiplies its size where `data.mixing` sets the sizes; `count` fixes its size instead.
    """

    cap: Count | None = None
    rate: Rate = 1.0
    weight: Annotated[float, Field(gt=0)] = 1.0
    count: Count | None = None


class MixingPart(Part):
    """Sizes of the tasks: each in proportion to min(size, maximum) ** (1 / temperature).

    `examples` is their sum; by default that of min(size, maximum). No example is taken twice.
    """

    maximum: Count | None = None
    temperature: Annotated[float, Field(ge=1)] = 1.0
    examples: Count | None = None


class FewShotPart(Part):
    """A share `rate` of the examples shows up to `shots` solved ones before, within `tokens` in all."""

    rate: Annotated[float, Field(ge=0, le=1)] = 0.0
    shots: Count = 5
    tokens: Count = 1024


class SourcePart(Part):
    """The most examples that all tasks of a source give together."""

    cap: Count


class MixturePart(Part):
    """The most examples that all tasks of a mixture give together."""

    cap: Count | None = None


class FilePart(Part):
    """Own data, inline: a table whose columns fill the templates; with `rejected` its rows are pairs."""

    path: Words
    prompt: Words
    answer: Words
    rejected: str = ""
    name: str = ""
    format: Literal["", "csv", "tsv", "json", "jsonl"] = ""
    encoding: str = ""
    evaluate: Annotated[float, Field(ge=0, lt=1)] = 0.1
    metrics: tuple[str, ...] = ("exact_match", "f1")


class QualityPart(Part):
    """What is mended, masked or left out of training rows, and why.

    What is mended always: NFC, control and zero-width characters. Every other filter can be set to `keep`.

    Attributes:
        html: tags and entities taken out of a text (`clean`), or the row left out.
        mojibake: rows read in a wrong encoding; short_answer: empty or one-character answers that are no
            choice; repetition: texts that repeat themselves.
        min_hangul, max_hangul: bounds of the share of Hangul in the letters, but not in `any_language`
            families, whose texts are foreign or hold code by their nature.
        min_characters, max_characters: bounds of the length of what is asked.
        personal: resident numbers, phones, e-mail, cards: replaced by [전화번호] and its like, or left out.
        licences, not_licences: patterns as "CC BY*": what is allowed (empty: all), and what is not.
        duplicates: of equal rows, or of rows alike too, the first is kept; similarity: Jaccard similarity of
            character n-grams of `shingle` from which rows are alike.
        conflicts: rows that give one input several labels: reported, left out, or outvoted.
        contamination: rows that hold an evaluation row: the same text, or `ngram` words in a row.
    """

    html: Literal["clean", "drop", "keep"] = "clean"
    mojibake: Literal["drop", "keep"] = "drop"
    short_answer: Literal["drop", "keep"] = "drop"
    repetition: Literal["drop", "keep"] = "drop"
    min_hangul: Annotated[float, Field(ge=0, le=1)] = 0.1
    max_hangul: Annotated[float, Field(ge=0, le=1)] = 1.0
    any_language: tuple[str, ...] = ("translation", "instruction", "own")
    min_characters: Annotated[int, Field(ge=0)] = 1
    max_characters: Count = 50_000
    personal: Literal["mask", "drop", "keep"] = "mask"
    licences: tuple[str, ...] = ()
    not_licences: tuple[str, ...] = ()
    duplicates: Literal["near", "exact", "keep"] = "near"
    similarity: Annotated[float, Field(ge=0.5, le=1)] = 0.8
    shingle: Annotated[int, Field(ge=2, le=8)] = 3
    conflicts: Literal["report", "drop", "majority"] = "report"
    contamination: Literal["drop", "keep"] = "drop"
    ngram: Annotated[int, Field(ge=5, le=50)] = 13

    @model_validator(mode="after")
    def _bounds_leave_room(self) -> QualityPart:
        crossed = [
            f"min_{what} is {least}, but max_{what} is {most}: no row could pass"
            for what in ("hangul", "characters")
            if (least := getattr(self, f"min_{what}")) > (most := getattr(self, f"max_{what}"))
        ]
        if crossed:
            raise ValueError("; ".join(crossed))
        return self


class DataPart(Part):
    """What the instruction data is made of.

    Tasks are named one by one, or by mixtures, which `komt tasks list --mixtures` shows. `hold_out` names
    families that are never trained on; `kinds` gives the share that is kept of a kind of template;
    `missing: skip` goes on without the sources that are not here, and says so.
    """

    tasks: dict[str, TaskPart] = {}  # noqa: RUF012 (pydantic copies it)
    mixtures: dict[str, MixturePart] = {}  # noqa: RUF012 (pydantic copies it)
    files: tuple[FilePart, ...] = ()
    hold_out: tuple[str, ...] = ()
    origins: tuple[Literal["native", "translated", "generated"], ...] = ("native", "translated", "generated")
    sources: dict[str, SourcePart] = {}  # noqa: RUF012 (pydantic copies it)
    source_cap: Count | None = None
    mixing: MixingPart | None = None
    kinds: dict[Kind, Rate] = {}  # noqa: RUF012 (pydantic copies it)
    few_shot: FewShotPart = FewShotPart()
    missing: Literal["error", "skip"] = "error"
    over_long: Literal["shorten", "drop", "error"] = "shorten"
    quality: QualityPart = QualityPart()
    resplit: bool = False
    beside: str = ""

    @field_validator("tasks", "mixtures", mode="before")
    @classmethod
    def _empty_means_all(cls, value: Any) -> Any:
        if isinstance(value, list):
            return {name: {} for name in value}
        return {k: v or {} for k, v in value.items()} if isinstance(value, dict) else value
