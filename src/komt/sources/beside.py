"""Beside: own sources, YAML files beside a recipe or in a plugin package, with paths relative to them."""

from __future__ import annotations

from pathlib import Path

from komt.sources.source import SOURCES, Source, SourceFile, read_source_file

_SOURCE_KEYS = ("reader", "files")


def own_source(path: Path) -> Source:
    """A source from a YAML file of one's own.

    Its files are looked for beside the YAML; where it names a repository or a login and a file is not there,
    below KOMT_DATA, as those of the catalogue.

    Raises:
        UsageError: all mistakes of the file at once.
    """
    source = read_source_file(path)
    fetched = bool(source.repository or source.login or source.bundled)
    return source.model_copy(
        update={"files": tuple(_beside(file, path.resolve().parent, fetched) for file in source.files)}
    )


def add_folder_beside(recipe: Path | str) -> None:
    """Register `sources/*.yaml` in the folder of a recipe, instead of those beside the last recipe.

    Args:
        recipe: path of the recipe, or of its folder; "" when there is none.

    Raises:
        KomtError: one has the name of a source that komt or a plugin has.
    """
    SOURCES.set_beside(yaml_beside(recipe, "sources"), own_source, _SOURCE_KEYS)


def yaml_beside(recipe: Path | str, folder: str) -> list[Path]:
    """YAML files in a folder beside a recipe, sorted."""
    if not str(recipe):
        return []
    path = Path(recipe).expanduser().resolve()
    found = sorted(((path if path.is_dir() else path.parent) / folder).glob("*.yaml"))
    return [yaml for yaml in found if yaml.is_file()]


def _beside(file: SourceFile, folder: Path, fetched: bool) -> SourceFile:
    def at(path: str) -> str:
        spot = (folder / Path(path).expanduser()).resolve()
        return path if fetched and not spot.exists() else str(spot)

    # The beside of an archive names its members.
    others = () if file.member else tuple(b.model_copy(update={"path": at(b.path)}) for b in file.beside)
    return file.model_copy(update={"path": at(file.path), "beside": others or file.beside})
