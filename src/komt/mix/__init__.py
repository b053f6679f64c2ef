"""Quality, mixture and build: from tasks to one folder of instruction data."""

from komt.mix.build import VERSION, build, read_examples, stage_key
from komt.mix.engine import Engine, engine_named
from komt.mix.fitting import Fit, fingerprint
from komt.mix.manifest import Manifest, TaskCounts, read_manifest
from komt.mix.named import MIXTURES, evaluation_tasks, training_tasks
from komt.mix.rendering import examples_of

__all__ = [
    "MIXTURES",
    "VERSION",
    "Engine",
    "Fit",
    "Manifest",
    "TaskCounts",
    "build",
    "engine_named",
    "evaluation_tasks",
    "examples_of",
    "fingerprint",
    "read_examples",
    "read_manifest",
    "stage_key",
    "training_tasks",
]
