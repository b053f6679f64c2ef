"""Recipe: one strict, typed description of a model from data to report. Unknown keys fail, all at once."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from yaml.constructor import ConstructorError

from komt.errors import UsageError, did_you_mean
from komt.files import read_text

Bits = Literal[4, 8, 16, 32]
Kind = Literal["plain", "options", "closed_book", "passage_first", "instruction_first", "inverted"]
Rate = Annotated[float, Field(gt=0, le=1)]
Count = Annotated[int, Field(gt=0)]
Words = Annotated[str, Field(min_length=1)]
P = TypeVar("P", bound=BaseModel)
# Of a wrong value; a longer one is not repeated.
_SHOWN_CHARACTERS = 80


class Part(BaseModel):
    """Base of every part: strict and immutable."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=(), allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _numbers_without_dot(cls, value: Any) -> Any:
        # YAML 1.1 reads 5e-4 (no dot) as a string; a recipe's author meant the number.
        if isinstance(value, str) and re.fullmatch(r"[+-]?\d+(\.\d*)?[eE][+-]?\d+", value):
            return float(value)
        return value


class ModelPart(Part):
    """Which base model, and in how many bits its frozen weights are held."""

    name: Words = "gemma-3-270m"
    bits: Bits = 16
    remote_code: bool = False


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
    """Own data, inline: a table whose columns fill the two templates."""

    path: Words
    prompt: Words
    answer: Words
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


class DataPart(Part):
    """What the instruction data is made of.

    Tasks are named one by one, or by mixtures, which `komt tasks list --mixtures` shows. `hold_out` names
    families that are never trained on; `kinds` gives the share that is kept of a kind of template;
    `missing: skip` goes on without the sources that are not here, and says so.
    """

    tasks: dict[str, TaskPart] = {}
    mixtures: dict[str, MixturePart] = {}
    files: tuple[FilePart, ...] = ()
    hold_out: tuple[str, ...] = ()
    origins: tuple[Literal["native", "translated", "generated"], ...] = ("native", "translated", "generated")
    sources: dict[str, SourcePart] = {}
    source_cap: Count | None = None
    mixing: MixingPart | None = None
    kinds: dict[Kind, Rate] = {}
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


class PackPart(Part):
    """Trie packing: tokens a bin holds, and how many examples of one passage a step may hold."""

    tokens: Annotated[int, Field(ge=16)] = 2048
    max_share: Count = 12
    share: bool = True


class LoraPart(Part):
    """LoRA as published: rank, scale, dropout, and which layers ("all-linear" or their names)."""

    r: Count = 8
    alpha: Count = 32
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.05
    targets: str | tuple[str, ...] = "all-linear"


class TrainPart(Part):
    """One epoch's settings; `step_tokens` counts the tokens of one optimiser step's examples, unshared."""

    method: Literal["lora", "full"] = "lora"
    lora: LoraPart = LoraPart()
    epochs: Annotated[float, Field(gt=0)] = 1.0
    lr: Annotated[float, Field(gt=0, lt=1)] = 5.0e-4
    step_tokens: Annotated[int, Field(ge=16)] = 8192
    step_examples: Count | None = None
    warmup: Annotated[float, Field(ge=0, lt=1)] = 0.05
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    clip: Annotated[float, Field(gt=0)] = 1.0
    save_steps: Count = 50
    keep: Count = 2
    gradient_checkpointing: bool = False


class EvaluatePart(Part):
    """Which tasks are scored, on how many rows of their evaluation split, against which references."""

    tasks: tuple[str, ...] = ()
    limit: Count | None = 200
    compare: tuple[Literal["base", "base-5shot"], ...] = ("base", "base-5shot")
    shot_limit: Count | None = None
    max_new_tokens: Count = 32
    batch_tokens: Annotated[int, Field(ge=64)] = 8192


class Recipe(Part):
    """A whole recipe; see the design's example."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9가-힣][A-Za-z0-9가-힣._-]*$")]
    seed: Annotated[int, Field(ge=0)] = 0
    model: ModelPart = ModelPart()
    data: DataPart
    pack: PackPart = PackPart()
    train: TrainPart = TrainPart()
    evaluate: EvaluatePart = EvaluatePart()

    def as_yaml(self) -> str:
        """The resolved recipe, every default written out."""
        return yaml.safe_dump(self.model_dump(mode="json"), allow_unicode=True, sort_keys=False)


class _UniqueKeys(yaml.SafeLoader):
    """YAML in which a key that is given twice is an error, not a silent loss of the first."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise ConstructorError(None, None, f"the key '{key}' is given twice", key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


SHIPPED = Path(__file__).parent / "recipes"


def shipped_recipes() -> list[str]:
    """Names of the recipes that komt ships."""
    return sorted(path.stem for path in SHIPPED.glob("*.yaml"))


def load_recipe(name_or_path: str, overrides: list[str] | None = None) -> Recipe:
    """A shipped recipe's name or a path, with `key.sub=value` overrides (values are YAML).

    Paths in `data.files` are resolved against the recipe's own folder; `data.beside` is that folder where it
    has sources/*.yaml or tasks/*.yaml.

    Raises:
        UsageError: all mistakes at once, each with its key.
    """
    path = _recipe_path(name_or_path)
    try:
        values = yaml.load(read_text(path), _UniqueKeys)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        raise UsageError(
            f"the recipe is not valid YAML: {_first_line(error)}", where=f"{path}{line}"
        ) from error
    if not isinstance(values, dict):
        raise UsageError("the recipe is not a mapping of keys to values", where=str(path))
    for override in overrides or []:
        _override(values, override)
    recipe = parse_recipe(values, str(path))
    files = tuple(
        part.model_copy(update={"path": str((path.parent / Path(part.path).expanduser()).resolve())})
        for part in recipe.data.files
    )
    data = recipe.data.model_copy(update={"files": files, "beside": _folder_beside(path, recipe.data.beside)})
    return recipe.model_copy(update={"data": data})


def _folder_beside(path: Path, given: str) -> str:
    """The folder with a recipe's own sources and tasks, or ""."""
    folder = (path.parent / Path(given).expanduser()).resolve()
    own = any(any((folder / name).glob("*.yaml")) for name in ("sources", "tasks"))
    if given and not own:
        raise UsageError(f"data.beside: no sources/*.yaml and no tasks/*.yaml in {folder}", where=str(path))
    return str(folder) if own else ""


def parse_recipe(values: dict[str, Any], where: str) -> Recipe:
    """Check a recipe given as plain values.

    Raises:
        UsageError: all mistakes at once.
    """
    return parse_part(Recipe, values, where, "the recipe")


def parse_part(part: type[P], values: Any, where: str, what: str) -> P:
    """Check plain values against a typed part; `what` is its name in the error, as "the recipe".

    Raises:
        UsageError: all mistakes at once, each with its key.
    """
    try:
        return part.model_validate(values)
    except ValidationError as error:
        lines = [_explain(dict(item), part) for item in error.errors()]
        count = f"{len(lines)} mistakes" if len(lines) > 1 else "a mistake"
        raise UsageError(
            f"{count} in {what}:\n" + "\n".join(f"  - {x}" for x in lines), where=where
        ) from error


def _recipe_path(name_or_path: str) -> Path:
    path = Path(name_or_path).expanduser()
    if path.suffix in {".yaml", ".yml"} or path.is_file():
        if not path.is_file():
            raise UsageError(f"no such recipe file: {path}")
        return path
    shipped = SHIPPED / f"{name_or_path}.yaml"
    if not shipped.is_file():
        known = shipped_recipes()
        raise UsageError(
            f"no recipe '{name_or_path}'{did_you_mean(name_or_path, known)}",
            cure=f"give the path of a YAML file, or one of the shipped recipes: {', '.join(known)}",
        )
    return shipped


def _override(values: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise UsageError(f"'{override}' is not of the form key=value", cure="for example train.lr=1e-4")
    parts = _split_key(values, key)
    node = values
    for part in parts[:-1]:
        node = node.setdefault(part, {})
        if not isinstance(node, dict):
            raise UsageError(f"'{key}' goes through '{part}', which holds a value, not keys")
    try:
        node[parts[-1]] = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UsageError(f"the value in '{override}' is not valid YAML: {_first_line(error)}") from error


def _split_key(values: dict[str, Any], key: str) -> list[str]:
    """Split at dots, but keep task names, which hold dots themselves (data.tasks.korquad.qa.cap)."""
    if key.startswith("data.tasks."):
        rest = key.removeprefix("data.tasks.")
        field = next((f for f in TaskPart.model_fields if rest.endswith(f".{f}")), "")
        return ["data", "tasks", rest.removesuffix(f".{field}"), field] if field else ["data", "tasks", rest]
    return key.split(".")


def _first_line(error: Exception) -> str:
    return str(getattr(error, "problem", None) or error).splitlines()[0]


def _explain(item: dict[str, Any], part: type[BaseModel]) -> str:
    """One pydantic error as a sentence with the key in front."""
    location = [str(part) for part in item["loc"]]
    key = ".".join(location)
    if item["type"] == "extra_forbidden":
        return f"{key}: unknown key{did_you_mean(location[-1], _fields_at(part, location[:-1]))}"
    if item["type"] == "missing":
        return f"{key}: missing"
    message = str(item["msg"]).removeprefix("Value error, ")
    message = f"{key}: {message[0].lower()}{message[1:]}" if key else message
    given = repr(item["input"])
    return f"{message} (given: {given})" if key and len(given) <= _SHOWN_CHARACTERS else message


def _fields_at(part: type[BaseModel], location: list[str]) -> list[str]:
    """Names of the keys that are allowed at a place below a part."""
    for name in location:
        field = part.model_fields.get(name)
        found = _parts_in(field.annotation) if field else []
        if found:
            part = found[0]
    return list(part.model_fields)


def _parts_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [part for argument in get_args(annotation) for part in _parts_in(argument)]
