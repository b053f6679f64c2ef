"""Recipe: one strict, typed description of a model from data to report. Unknown keys fail, all at once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, model_validator

from komt.errors import UsageError, did_you_mean
from komt.recipe_data import (
    DataPart,
    FewShotPart,
    FilePart,
    Kind,
    MixingPart,
    MixturePart,
    QualityPart,
    Rate,
    SourcePart,
    TaskPart,
)
from komt.recipe_train import GeneratePart, HeldOutPart, LoraPart, Optim, StopPart, Supervise
from komt.strict import Count, Part, Words, parse_part, read_yaml, yaml_value

__all__ = [
    "SHIPPED",
    "Bits",
    "Count",
    "DataPart",
    "EvaluatePart",
    "FewShotPart",
    "FilePart",
    "GeneratePart",
    "HeldOutPart",
    "Kind",
    "LoraPart",
    "MixingPart",
    "MixturePart",
    "ModelPart",
    "PackPart",
    "Part",
    "PreferencePart",
    "QualityPart",
    "Rate",
    "Recipe",
    "SourcePart",
    "StopPart",
    "Supervise",
    "TaskPart",
    "TrainPart",
    "Words",
    "load_recipe",
    "parse_part",
    "parse_recipe",
    "shipped_recipes",
]

Bits = Literal[4, 8, 16, 32]


class ModelPart(Part):
    """Which base model, and in how many bits its frozen weights are held."""

    name: Words = "gemma-3-270m"
    bits: Bits = 16
    remote_code: bool = False


class PackPart(Part):
    """Trie packing: tokens a bin holds, and how many examples of one passage a step may hold."""

    tokens: Annotated[int, Field(ge=16)] = 2048
    max_share: Count = 12
    share: bool = True


_VARIANTS = ("dora", "init", "modules_to_save", "plus_ratio", "rslora")


class PreferencePart(Part):
    """Of the objectives dpo and ipo: see `komt.train.preference`."""

    beta: Annotated[float, Field(gt=0)] = 0.1
    sft: Annotated[float, Field(ge=0)] = 0.0
    length_normalised: bool = False
    label_smoothing: Annotated[float, Field(ge=0, lt=0.5)] = 0.0


class TrainPart(Part):
    """One epoch's settings; `step_tokens` counts the tokens of one optimiser step's examples, unshared.

    Of preference pairs (dpo and ipo) `step_examples` counts pairs, and `step_tokens` their prompts once.
    """

    method: Literal["lora", "full"] = "lora"
    objective: Literal["sft", "dpo", "ipo"] = "sft"
    preference: PreferencePart = PreferencePart()
    lora: LoraPart = LoraPart()
    epochs: Annotated[float, Field(gt=0)] = 1.0
    lr: Annotated[float, Field(gt=0, lt=1)] = 5.0e-4
    step_tokens: Annotated[int, Field(ge=16)] = 8192
    step_examples: Count | None = None
    warmup: Annotated[float, Field(ge=0, lt=1)] = 0.05
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    optim: Optim = "adamw"
    clip: Annotated[float, Field(gt=0)] = 1.0
    save_steps: Count = 50
    keep: Count = 2
    keep_best: bool = False
    gradient_checkpointing: bool = False
    supervise: Supervise = "answers"
    held_out: HeldOutPart | None = None
    generate: GeneratePart | None = None
    stop: StopPart | None = None
    trackers: tuple[Words, ...] = ()
    unsupervised: Literal["error", "skip"] = "error"

    @model_validator(mode="after")
    def _parts_go_together(self) -> TrainPart:
        if self.stop and not self.held_out:
            raise ValueError("stop goes by the held-out examples: give held_out too")
        if self.objective != "sft" and self.supervise != "answers":
            raise ValueError(f"objective {self.objective} learns from pairs of answers: leave out supervise")
        if self.objective == "ipo" and self.preference.label_smoothing:
            raise ValueError(
                "label_smoothing is for dpo: with objective ipo it would do nothing, leave it out"
            )
        changed = sorted(self.lora.model_fields_set & set(_VARIANTS)) if self.method == "full" else []
        if used := [name for name in changed if getattr(self.lora, name) != getattr(LoraPart(), name)]:
            raise ValueError(f"method full trains every weight, without LoRA: leave out lora.{used[0]}")
        return self


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
    values = read_yaml(path, "the recipe")
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
        below = node.setdefault(part, {})
        if parts[0] == "data" and part in {"tasks", "mixtures"} and isinstance(below, list):
            # Names without settings: [korquad.qa].
            below = node[part] = {str(name): {} for name in below}
        if below is None:
            below = node[part] = {}
        if not isinstance(below, dict):
            raise UsageError(f"'{key}' goes through '{part}', which holds a value, not keys")
        node = below
    node[parts[-1]] = yaml_value(text, f"the value in '{override}'")


def _split_key(values: dict[str, Any], key: str) -> list[str]:
    """Split at dots, but keep task names, which hold dots themselves (data.tasks.korquad.qa.cap)."""
    if not key.startswith("data.tasks."):
        return key.split(".")
    rest = key.removeprefix("data.tasks.")
    name, _, field = rest.rpartition(".")
    data = values.get("data")
    known = (data.get("tasks") if isinstance(data, dict) else None) or ()
    # A misspelt field is told as one, not taken for a part of the task's name.
    if rest not in known and (name in known or did_you_mean(field, TaskPart.model_fields)):
        return ["data", "tasks", name, field]
    return ["data", "tasks", rest]
