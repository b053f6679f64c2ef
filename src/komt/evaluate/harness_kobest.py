"""KoBEST in lm-evaluation-harness without the hub: its own task files over the rows of komt's sources."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from komt.errors import need
from komt.sources import Rejected, load_source, present, read_rows

Row = dict[str, Any]
# The harness's names for the splits of the sources.
_SPLITS = {"train": "train", "validation": "dev", "test": "test"}
# Rows as `skt/kobest_v1` on the hub holds them, from those of the sources.
_COLUMNS: dict[str, Callable[[Row], Row]] = {
    "boolq": lambda row: {
        "paragraph": row["context"],
        "question": row["question"],
        "label": int(row["label"] == "True"),
    },
    "copa": lambda row: {
        "premise": row["premise"],
        "question": row["ask"],
        "alternative_1": row["choice1"],
        "alternative_2": row["choice2"],
        "label": int(row["label"]) - 1,
    },
    "hellaswag": lambda row: {
        "context": row["context"],
        **{f"ending_{n}": row[f"ending{n}"] for n in range(1, 5)},
        "label": int(row["label"]),
    },
    "sentineg": lambda row: {"sentence": row["sentence"], "label": int(row["label"])},
    "wic": lambda row: {
        "word": row["word"],
        "context_1": row["sentence1"],
        "context_2": row["sentence2"],
        "label": int(row["label"] == "True"),
    },
}


def write_kobest(folder: Path) -> list[str]:
    """Write the KoBEST tasks whose rows are here, for the harness's `include_path`.

    Each includes the installed harness's own file and replaces where its rows come from, nothing else.

    Returns:
        Names of the tasks written; with all five, also that of their group.

    Raises:
        MissingExtra: lm_eval is not installed. DataError: a file of rows is broken.
    """
    lm_eval = need("lm_eval", extra="eval")
    own = Path(str(lm_eval.__file__)).parent / "tasks" / "kobest"
    written = []
    for name, columns in _COLUMNS.items():
        source = load_source(f"kobest-{name}")
        if not present(source):
            continue
        files = {split: folder / f"{name}.{split}.jsonl" for split in _SPLITS}
        for split, path in files.items():
            rows = (row for row in read_rows(source, _SPLITS[split]) if not isinstance(row, Rejected))
            lines = [json.dumps(columns(row), ensure_ascii=False) for row in rows]
            path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        task = {
            "include": str(own / f"kobest_{name}.yaml"),
            "task": f"kobest_{name}",
            "dataset_path": "json",
            "dataset_kwargs": {
                "data_files": {split: str(path) for split, path in files.items()},
                "cache_dir": str(folder / "cache"),
            },
        }
        _write_yaml(folder / f"kobest_{name}.yaml", task)
        written.append(f"kobest_{name}")
    if len(written) == len(_COLUMNS):
        group = yaml.safe_load((own / "_kobest.yaml").read_text(encoding="utf-8"))
        _write_yaml(folder / "_kobest.yaml", group)
        written.append("kobest")
    return written


def _write_yaml(path: Path, values: Row) -> None:
    path.write_text(yaml.safe_dump(values, allow_unicode=True, sort_keys=False), encoding="utf-8")
