"""The catalogue of models: one YAML per model under `catalog/`; the file's name is the model's name."""

from __future__ import annotations

from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from komt.errors import KomtError
from komt.registry import Registry

_HERE = Path(__file__).parent


class Probe(BaseModel):
    """A text and the token ids that the model's tokenizer makes of it, BOS included."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    text: str
    ids: tuple[int, ...]


class Embedded(BaseModel):
    """Weights that come as pip packages: GGUF chunks, joined in the order of `chunks`.

    Attributes:
        package: what a person installs; it depends on the chunk packages.
        chunks: distributions, each holding one file named `….partNN`.
        sha256: of the joined GGUF file.
        probe: checked after conversion.
        terms: shown once, when the model is first converted.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    package: str
    chunks: tuple[str, ...]
    sha256: str
    probe: Probe
    terms: str


class Entry(BaseModel):
    """One model of the catalogue.

    Attributes:
        hub: repository on the hub, `org/name`; for an embedded model, where it came from.
        template: file under `templates/` with the chat template the model was trained on, or "".
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    title: str
    parameters: int
    licence: str
    licence_url: str
    hub: str
    template: str = ""
    embedded: Embedded | None = None

    @property
    def template_text(self) -> str:
        """The chat template of the catalogue, or ""."""
        return (_HERE / "templates" / self.template).read_text(encoding="utf-8") if self.template else ""


def load_entry(path: Path) -> Entry:
    """Read one catalogue file.

    Raises:
        KomtError: a key is unknown, missing or of the wrong kind.
    """
    try:
        return Entry.model_validate({"name": path.stem, **yaml.safe_load(path.read_text(encoding="utf-8"))})
    except ValidationError as error:
        raise KomtError(f"the catalogue file is wrong: {error}", where=str(path)) from error


CATALOG: Registry[Entry] = Registry("model", "komt.models")
CATALOG.add_folder(_HERE / "catalog", load_entry)
