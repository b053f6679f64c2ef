"""A folder that the `datasets` library saved, or one of Parquet, JSON or CSV files as hubs hold them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from komt.errors import DataError, did_you_mean, need
from komt.files import staged_folder
from komt.sources.readers import Reader, ReaderOptions, Rejected, Row
from komt.sources.readers.content import Content
from komt.sources.readers.parquet import row_values


class Options(ReaderOptions):
    """Which dataset.

    Attributes:
        dataset: OWNER/NAME on the hub; `komt sources fetch` then saves it as the folder.
        config: name of its configuration.
        revision: its commit.
        part: its split, where it has several.
        label_names: numbers of classes become their names.
    """

    dataset: str = ""
    config: str = ""
    revision: str = ""
    part: str = ""
    label_names: bool = True


def read(content: Content, options: Options) -> Iterator[Row | Rejected]:
    """One row a row of a split, in its order. Nothing is downloaded.

    Raises:
        MissingExtra: the library is not installed.
        DataError: no dataset in the folder, or no such split.
    """
    datasets = need("datasets", "hub")
    data = _split(_loaded(datasets, content.path), content, options.part)
    classes = {
        name: list(feature.names)
        for name, feature in (data.features or {}).items()
        if options.label_names and isinstance(feature, datasets.ClassLabel)
    }
    for number, values in enumerate(data, start=1):
        yield Row(row_values(values, classes), f"{content.label}, row {number}")


def save(options: Options, folder: Path) -> None:
    """Download a dataset of the hub, and save it as a folder, whole or not at all.

    Raises:
        MissingExtra: the library is not installed.
        DataError: no such dataset, no network, or it needs a login.
    """
    datasets = need("datasets", "hub")
    try:
        data = datasets.load_dataset(
            options.dataset, options.config or None, revision=options.revision or None
        )
    except (OSError, ValueError, RuntimeError, datasets.exceptions.DatasetsError) as error:
        raise DataError(
            f"the dataset {options.dataset} cannot be had from the hub: {_first_line(error)}",
            where=f"https://huggingface.co/datasets/{options.dataset}",
            cure="is there a network, and is the name right? Elsewhere: datasets.load_dataset"
            f'("{options.dataset}").save_to_disk("data"); then put that folder at {folder}',
        ) from error
    with staged_folder(folder) as staged:
        data.save_to_disk(str(staged))


def _loaded(datasets: Any, folder: Path) -> Any:
    if not folder.is_dir():
        raise DataError(
            f"no folder of a dataset: {folder}",
            cure='where there is a network: datasets.load_dataset("OWNER/NAME").save_to_disk("data"), and put'
            " that folder there; for a single file declare format: parquet, jsonl or csv",
        )
    try:
        if any((folder / name).is_file() for name in ("dataset_dict.json", "state.json")):
            return datasets.load_from_disk(str(folder))
        # Streamed: nothing is copied into the library's own cache.
        return datasets.load_dataset(str(folder), streaming=True)
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        raise DataError(
            f"no dataset that the library `datasets` can read: {_first_line(error)}",
            where=str(folder),
            cure="the folder holds what save_to_disk wrote, or Parquet, JSON or CSV files",
        ) from error


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]


def _split(data: Any, content: Content, wanted: str) -> Any:
    if not isinstance(data, dict):
        return data
    if not wanted and len(data) == 1:
        return next(iter(data.values()))
    if wanted not in data:
        what = (
            f"no split '{wanted}'{did_you_mean(wanted, data)}" if wanted else "the dataset has several splits"
        )
        raise DataError(
            what, where=str(content), cure=f"declare the reader's `part`, one of: {', '.join(data)}"
        )
    return data[wanted]


READER = Reader(Options, read)
