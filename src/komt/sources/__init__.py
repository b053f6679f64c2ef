"""Where rows come from. ADD A SOURCE: one YAML in `catalog/` (and a reader only for a new format)."""

from komt.sources.beside import add_folder_beside, own_source
from komt.sources.read import (
    RESPLIT,
    divided_split,
    read_rows,
    read_splits,
    redivided,
    share_of,
    train_missing,
)
from komt.sources.readers import READERS, Rejected
from komt.sources.source import (
    SOURCES,
    Source,
    SourceFile,
    checked_place,
    file_hash,
    load_source,
    place,
    present,
    shown_paths,
)

__all__ = [
    "READERS",
    "RESPLIT",
    "SOURCES",
    "Rejected",
    "Source",
    "SourceFile",
    "add_folder_beside",
    "checked_place",
    "divided_split",
    "file_hash",
    "load_source",
    "own_source",
    "place",
    "present",
    "read_rows",
    "read_splits",
    "redivided",
    "share_of",
    "shown_paths",
    "train_missing",
]
