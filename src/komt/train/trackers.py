"""Trackers through Accelerate (TensorBoard, Weights & Biases and others): they are told what the log is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from komt.errors import KomtError, UsageError, did_you_mean, need, one_line
from komt.recipe import Recipe
from komt.train.accelerator import make_accelerator
from komt.train.processes import by_main

# Accelerate's names of trackers, and the packages they need.
_PACKAGES = {
    "tensorboard": "tensorboard",
    "wandb": "wandb",
    "mlflow": "mlflow",
    "trackio": "trackio",
    "comet_ml": "comet_ml",
    "aim": "aim",
    "clearml": "clearml",
    "dvclive": "dvclive",
    "swanlab": "swanlab",
}


def tracked_accelerator(recipe: Recipe, out: Path) -> Accelerator:
    """The accelerator of a training, with the recipe's trackers.

    Args:
        recipe: `train.trackers` names them as Accelerate does, or as `register_tracker_class` was told.
        out: the run's `train` folder; what is logged to files goes to `out/trackers`.

    Raises:
        UsageError: an unknown tracker, or what DeepSpeed cannot divide.
        MissingExtra: a package is not installed.
    """
    names = recipe.train.trackers
    check_trackers(names)
    return make_accelerator(names, out / "trackers" if names else None, recipe)


def check_trackers(names: Sequence[str]) -> None:
    """Do nothing where all trackers are known and installed.

    Raises:
        UsageError: an unknown one. MissingExtra: its package is not installed.
    """
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS

    for name in names:
        if name not in LOGGER_TYPE_TO_CLASS:
            raise UsageError(
                f"no tracker '{name}'{did_you_mean(name, LOGGER_TYPE_TO_CLASS)}",
                where="train.trackers",
                cure=f"one of: {', '.join(sorted(LOGGER_TYPE_TO_CLASS))}",
            )
        if package := _PACKAGES.get(name):
            need(package, "track")


def start_trackers(accelerator: Accelerator, recipe: Recipe) -> None:
    """Open a run in each tracker, named after the recipe, with the settings that the weights depend on.

    Raises:
        KomtError: a tracker cannot be started (Weights & Biases without an account): in all processes.
    """
    if not recipe.train.trackers:
        return
    settings: dict[str, Any] = {"seed": recipe.seed}
    for part, values in recipe.model_dump(mode="json", include={"model", "pack", "train"}).items():
        settings |= _flat(part, values)
    # Else it would write into the folder that komt was called in.
    Path(accelerator.logging_dir).mkdir(parents=True, exist_ok=True)
    options = {
        "wandb": {"name": recipe.name, "dir": accelerator.logging_dir},
        "swanlab": {"name": recipe.name},
    }
    failed = ""
    try:
        accelerator.init_trackers("komt", config=settings, init_kwargs=options)
    except Exception as error:
        failed = one_line(error)
    if failed := by_main(lambda: failed):
        accelerator.trackers.clear()  # one that has not started cannot be closed
        raise KomtError(
            f"a tracker cannot be started: {failed}",
            where="train.trackers",
            cure="for wandb: `wandb login`, or WANDB_MODE=offline in the environment; or leave it out",
        )


def stop_trackers(accelerator: Accelerator) -> None:
    """Close them; not by `end_training`, which would part the processes too."""
    for tracker in accelerator.trackers:
        tracker.finish()
    accelerator.trackers.clear()


def _flat(name: str, value: Any) -> dict[str, Any]:
    """Nested settings as `train.lora.r` and so on; what is no number, text or truth value becomes text."""
    if isinstance(value, Mapping):
        return {key: one for part, own in value.items() for key, one in _flat(f"{name}.{part}", own).items()}
    return {name: value if isinstance(value, bool | int | float | str) else str(value)}
