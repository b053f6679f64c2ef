"""What a person calls a MODEL, to folders: catalogue name, folder (model, adapter, run) or hub id."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from komt.errors import ModelError, UsageError, did_you_mean
from komt.models.catalog import CATALOG
from komt.models.check import check_model_folder, check_weights, licence_of, read_json
from komt.models.embedded import converted_folder
from komt.models.hub import HUB_ID, fetch
from komt.models.place import Place

__all__ = ["Place", "resolve"]

_TAKES = (
    "a model is a catalogue name ({names}), a folder (model, adapter or run), or a hub id such as org/name"
)


def resolve(name: str, *, remote_code: bool = False) -> Place:
    """Find a model; an embedded one is converted, one on the hub fetched, when it is first asked for.

    Raises:
        UsageError: no such name, or a form that is not taken.
        ModelError: the folder holds no usable model, or the hub does not give it.
        MissingExtra: the packages of an embedded model are not installed.
    """
    if name in CATALOG:
        return _from_catalogue(name, remote_code)
    if re.match(r"https?://", name) or name.endswith(".gguf"):
        kind = "an address" if "://" in name else "a GGUF file"
        raise UsageError(f"'{name}' is {kind}, and this verb takes none", cure=_what_is_taken())
    path = Path(name).expanduser()
    if path.is_dir():
        return _from_folder(name, path.resolve(), remote_code)
    if path.exists():
        raise UsageError(f"'{name}' is a file", cure=f"give its folder: {path.parent}")
    if HUB_ID.fullmatch(name):
        return _from_hub(name, remote_code)
    raise UsageError(f"no model '{name}'{did_you_mean(name, CATALOG.names())}", cure=_what_is_taken())


def _what_is_taken() -> str:
    return _TAKES.format(names=", ".join(CATALOG.names()))


def _from_catalogue(name: str, remote_code: bool) -> Place:
    entry = CATALOG.get(name)
    if entry.embedded is None:
        return replace(_from_hub(entry.hub, remote_code), name=name, base=name, licence=entry.licence)
    folder = converted_folder(entry)
    return Place(name, "base", folder, None, entry.licence, base=name, commit=entry.embedded.sha256)


def _from_hub(name: str, remote_code: bool) -> Place:
    folder = fetch(name, remote_code)
    place = _from_folder(name, folder, remote_code)
    if place.adapter:
        return place
    return replace(place, base=name, commit=folder.name, template=_prescribed_template(name))


def _prescribed_template(hub_id: str) -> str:
    """What the catalogue says of a model on the hub, by whichever of its names it was asked for, or ""."""
    entries = map(CATALOG.get, CATALOG.names())
    return next((one.template_text for one in entries if one.hub == hub_id and one.embedded is None), "")


def _from_folder(name: str, folder: Path, remote_code: bool) -> Place:
    folder = _inside_run(folder)
    if (folder / "adapter_config.json").is_file():
        return _from_adapter(name, folder, remote_code)
    check_model_folder(folder)
    return Place(name, "base", folder, None, licence_of(folder), base=str(folder), remote_code=remote_code)


def _inside_run(folder: Path) -> Path:
    """The trained part of a run folder; any other folder as it is."""
    trained = [folder / "train" / part for part in ("adapter", "model") if (folder / "train" / part).is_dir()]
    if trained:
        return trained[0]
    if (folder / "recipe.yaml").is_file() and not (folder / "config.json").is_file():
        raise ModelError(
            "the run has no trained model yet",
            where=str(folder),
            cure=f"komt train {folder / 'recipe.yaml'}",
        )
    return folder


def _from_adapter(name: str, folder: Path, remote_code: bool) -> Place:
    config = read_json(folder / "adapter_config.json")
    check_weights(folder, "adapter_model")
    base, where = (
        config.get("base_model_name_or_path"),
        f"{folder}/adapter_config.json, base_model_name_or_path",
    )
    if (folder / "komt.json").is_file() and (named := read_json(folder / "komt.json").get("base")):
        base, where = named, f"{folder}/komt.json, base"
    if not base:
        raise ModelError("the adapter does not say which base model it belongs to", where=where)
    try:
        place = resolve(str(base), remote_code=remote_code)
    except (ModelError, UsageError) as error:
        raise ModelError(
            f"the adapter's base model '{base}' is not to be had: {error.what}", where=where, cure=error.cure
        ) from error
    if place.adapter:
        raise ModelError(f"the adapter's base '{base}' is itself an adapter", where=where)
    return replace(
        place, name=name, kind="adapter", adapter=folder, licence=licence_of(folder) or place.licence
    )
