"""Place: where a model lies, and what it is."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from komt.files import hash_of, sha256


@dataclass(frozen=True)
class Place:
    """Where a model lies.

    Attributes:
        name: what the user said.
        kind: "base", or "adapter" for a base with an adapter on it.
        folder: the base model's folder.
        adapter: the adapter's folder, or None.
        licence: as the catalogue, komt.json or the model card says, or "".
        base: how the base is named in `komt.json`: catalogue name, hub id or absolute folder.
        commit: hub commit or catalogue checksum of the base, or "" (its files are hashed when asked).
        template: chat template that the catalogue prescribes, or "".
        remote_code: whether the model's own Python code may run.
    """

    name: str
    kind: str
    folder: Path
    adapter: Path | None
    licence: str
    base: str = ""
    commit: str = ""
    template: str = ""
    remote_code: bool = False

    @cached_property
    def base_revision(self) -> str:
        """Hub commit, catalogue checksum, or hash of the base folder's files."""
        return self.commit or _content_hash(self.folder)

    @cached_property
    def revision(self) -> str:
        """Changes whenever base or adapter do: hash of both; for a base alone its own revision."""
        if self.adapter is None:
            return self.base_revision
        return hash_of([self.base_revision, _content_hash(self.adapter)])


def _content_hash(folder: Path) -> str:
    """Hash of the files that decide what a model answers: weights, configuration, tokenizer, template."""
    parts = [
        (path.name, sha256(path))
        for path in sorted(folder.iterdir())
        if path.suffix in {".safetensors", ".json", ".jinja", ".model"} and path.name != "komt.json"
    ]
    return hash_of(parts)
