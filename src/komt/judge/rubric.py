"""Rubrics: how a judge is asked, as data. One YAML file is one rubric, its name the file's."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from komt.encodings import read_text
from komt.errors import UsageError
from komt.example import Message
from komt.judge.items import Answered
from komt.registry import Registry
from komt.strict import Count, Part, Words, parse_part, read_yaml
from komt.tasks.jinja import fields_of, fill

FOLDER = Path(__file__).parent / "rubrics"
_KEYS = re.compile(r"^prompt:", re.MULTILINE)
_ONE = frozenset({"question", "answer", "points", "first_question", "first_answer"})
_TWO = frozenset(
    {"question", "answer_a", "answer_b", "points", "first_question", "first_answer_a", "first_answer_b"}
)
Order = Literal["", "ab", "ba"]


class Rubric(Part):
    """How a judge is asked about an answer.

    Attributes:
        title: what it measures, for people.
        kind: "score" for one answer, "pair" for the better of two.
        turn: which turn of the talk is judged: 1, or 2 with the first one shown.
        scale: lowest and highest score; none for pairs.
        max_new_tokens: the longest reply.
        system: what the judge is told before anything else, or "".
        prompt: sandboxed Jinja over `question`, `answer` (or `answer_a`, `answer_b`), `points` (a list, empty
            where the question has none) and, for the second turn, `first_question`, `first_answer` (or
            `first_answer_a`, `first_answer_b`).
        needs_points: whether questions without reference points are left out.
    """

    name: Words
    title: Words
    kind: Literal["score", "pair"]
    turn: Literal[1, 2] = 1
    scale: Annotated[tuple[float, float], Field()] | None = None
    max_new_tokens: Count = 512
    system: str = ""
    prompt: Words
    needs_points: bool = False

    @model_validator(mode="after")
    def _scale_and_fields_fit_the_kind(self) -> Rubric:
        if (self.kind == "score") != (self.scale is not None):
            raise ValueError("a rubric of the kind score has a scale, as [1, 10]; a pair has none")
        if self.scale and self.scale[0] >= self.scale[1]:
            raise ValueError("the scale's first number is the lowest score, the second one the highest")
        known, read = (_TWO if self.kind == "pair" else _ONE), fields_of(self.prompt)
        if unknown := read - known:
            raise ValueError(f"the prompt reads '{min(unknown)}'; it can read {', '.join(sorted(known))}")
        wanted = {"question", "answer"} if self.kind == "score" else {"question", "answer_a", "answer_b"}
        if missing := wanted - read:
            raise ValueError(f"the prompt does not show '{min(missing)}'")
        return self

    @property
    def low(self) -> float:
        """The lowest score."""
        return self.scale[0] if self.scale else 0.0

    @property
    def high(self) -> float:
        """The highest score."""
        return self.scale[1] if self.scale else 0.0

    @cached_property
    def shows_points(self) -> bool:
        """Whether the judge sees reference points."""
        return "points" in fields_of(self.prompt)

    def fits(self, item: Answered) -> bool:
        """Whether an answer can be judged by it."""
        enough = len(item.answers) >= self.turn and len(item.question.turns) >= self.turn
        return enough and not (self.needs_points and not item.points(self.turn))

    def messages(
        self, item: Answered, other: Answered | None = None, order: Order = ""
    ) -> tuple[Message, ...]:
        """The prompt for an answer, or for two.

        Args:
            item: what is judged.
            other: the other model's answer, for pairs.
            order: "ab" shows `item` first, "ba" the other one.
        """
        question, turn = item.question, self.turn - 1
        values: dict[str, Any] = {
            "question": question.turns[turn],
            "points": list(item.points(self.turn)),
            "first_question": question.turns[0],
        }
        if other is None:
            values |= {"answer": item.answers[turn], "first_answer": item.answers[0]}
        else:
            first, second = (item, other) if order != "ba" else (other, item)
            values |= {"answer_a": first.answers[turn], "answer_b": second.answers[turn]}
            values |= {"first_answer_a": first.answers[0], "first_answer_b": second.answers[0]}
        text = fill(self.prompt, values, f"the rubric '{self.name}', question {question.id}").strip()
        system = (Message("system", self.system.strip()),) if self.system.strip() else ()
        return (*system, Message("user", text))


def read_rubric_file(path: Path) -> Rubric:
    """A rubric from its YAML file.

    Raises:
        UsageError: all mistakes of the file at once.
    """
    what = f"the rubric '{path.stem}'"
    rubric = parse_part(Rubric, {"name": path.stem, **read_yaml(path, what)}, str(path), what)
    if rubric.name != path.stem:
        raise UsageError(
            f"the rubric calls itself '{rubric.name}'", where=str(path), cure=f"name: {path.stem}"
        )
    return rubric


RUBRICS: Registry[Rubric] = Registry("rubric", "komt.rubrics")
RUBRICS.add_folder(FOLDER, read_rubric_file)


def load_rubrics(names: Iterable[str]) -> list[Rubric]:
    """Rubrics by name, or by the path of a YAML file of one's own.

    Raises:
        UsageError: unknown name, a mistake in a file, or two of one name.
    """
    found: dict[str, Rubric] = {}
    for name in names:
        rubric = (
            read_rubric_file(Path(name).expanduser())
            if name.endswith((".yaml", ".yml"))
            else RUBRICS.get(name)
        )
        if rubric.name in found:
            raise UsageError(f"the rubric '{rubric.name}' is named twice")
        found[rubric.name] = rubric
    return list(found.values())


def add_folder_beside(folder: Path) -> None:
    """Register `rubrics/*.yaml` of a folder, instead of those of the last one.

    Raises:
        KomtError: one has the name of another rubric.
    """
    found = [path for path in sorted((folder / "rubrics").glob("*.yaml")) if path.parent.resolve() != FOLDER]
    RUBRICS.set_beside([path for path in found if _KEYS.search(read_text(path))], read_rubric_file)
