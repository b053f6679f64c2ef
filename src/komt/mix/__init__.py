"""Filters, mixture and build: from tasks to one folder of instruction data."""

from komt.mix.build import VERSION, build, evaluation_tasks, read_examples, stage_key, write_examples
from komt.mix.collect import fingerprint
from komt.mix.manifest import Manifest, TaskCounts, read_manifest

__all__ = [
    "VERSION",
    "Manifest",
    "TaskCounts",
    "build",
    "evaluation_tasks",
    "fingerprint",
    "read_examples",
    "read_manifest",
    "stage_key",
    "write_examples",
]
