"""What a model is called outside this machine: its base, its licence, and never a path."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from komt import __version__
from komt.models.catalog import CATALOG
from komt.models.check import read_json
from komt.models.hub import HUB_ID
from komt.models.place import Place

NOTICES = ("LICENSE", "LICENCE", "NOTICE", "USE_POLICY", "USE-POLICY")


@dataclass(frozen=True, slots=True)
class Licence:
    """A licence as the hub names it.

    Attributes:
        name: as the source of the thing words it, or "".
        id: the hub's identifier; "other" where it has none, "unknown" where nothing is stated.
        url: where it stands, or "".
        open: whether anyone may hand the thing on; False where that is not known.
        notice: text that goes with every copy, or "".
    """

    name: str
    id: str
    url: str = ""
    open: bool = False
    notice: str = ""


@dataclass(frozen=True, slots=True)
class Base:
    """The model that a tuned one came from, or the model itself where nothing was tuned.

    Attributes:
        name: catalogue name, hub id, or the last name of its folder.
        hub: its id on the hub, or "".
        revision: hub commit, catalogue checksum, or hash of its files.
        licence: the base's.
        packaged: its weights came as a GGUF file in packages, so they are rounded copies of the hub's.
    """

    name: str
    hub: str
    revision: str
    licence: Licence
    packaged: bool = False


def licence_named(name: str, url: str = "") -> Licence:
    """A licence by the words someone wrote; exact words only: "MIT (for experiments only)" is not MIT."""
    words = " ".join(name.split())
    if not words:
        return Licence("", "unknown", url)
    table = _licences()
    key = words.casefold().replace(" ", "-")
    for identifier, about in table.items():
        known = {identifier, *(alias.casefold().replace(" ", "-") for alias in about.get("names", ()))}
        if key in known:
            found = url or str(about.get("url", ""))
            return Licence(words, identifier, found, bool(about.get("open")), str(about.get("notice", "")))
    return Licence(words, "other", url)


@lru_cache(maxsize=1)
def _licences() -> dict[str, dict[str, Any]]:
    path = Path(__file__).parent / "card_text" / "licences.yaml"
    return dict(yaml.safe_load(path.read_text(encoding="utf-8")))


def is_tuned(place: Place) -> bool:
    """Whether a model was trained from another by komt, or is an adapter."""
    told = _told(place.folder)
    return place.adapter is not None or bool(told.get("tuned") or told.get("base"))


def base_of(place: Place) -> Base:
    """The base of a tuned model; of any other, the model itself."""
    told = _told(place.folder) if place.adapter is None else {}
    named = str(told.get("base") or told.get("base_name") or place.base or place.folder)
    revision = str(told.get("base_revision") or place.base_revision)
    if named in CATALOG:
        entry = CATALOG.get(named)
        licence = licence_named(entry.licence, entry.licence_url)
        return Base(named, entry.hub, revision, licence, packaged=entry.embedded is not None)
    hub = named if HUB_ID.fullmatch(named) and not Path(named).is_dir() else ""
    return Base(hub or Path(named).name, hub, revision, licence_named(place.licence))


def notice_of(place: Place) -> str:
    """The notice that the base's licence wants with every copy, or ""."""
    return base_of(place).licence.notice


def about(place: Place) -> dict[str, Any]:
    """What an exported folder's komt.json says: `base` where others can find it by that, else `base_name`."""
    base, tuned = base_of(place), is_tuned(place)
    public = base.name in CATALOG or bool(base.hub)
    return {
        "tuned": tuned,
        **({"base" if public else "base_name": base.name} if tuned else {}),
        "base_revision": base.revision,
        "licence": base.licence.name,
        "komt": __version__,
    }


def _told(folder: Path) -> dict[str, Any]:
    path = folder / "komt.json"
    return read_json(path) if path.is_file() else {}
