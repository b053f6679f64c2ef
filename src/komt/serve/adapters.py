"""LoRA adapters by name over one base model: switched, never merged."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from komt.errors import ModelError, did_you_mean, one_line
from komt.models.check import check_weights
from komt.models.quiet import quiet

_DEFAULT = "default"


class Adapters:
    """The adapters of a model, one of them (or none) in use.

    Attributes:
        names: of those that were added by name.
        model: with all of them; a PeftModel from the first adapter on.
    """

    def __init__(self, model: Any) -> None:
        self.model = model
        self.names: tuple[str, ...] = ()
        self._inner: dict[str, str] = {"": ""}
        self._used: str | None = None
        self._has_default = hasattr(model, "peft_config")
        if self._has_default:
            self._inner[_DEFAULT] = str(model.active_adapters[0])

    def add(self, name: str, folder: Path) -> None:
        """Load an adapter's folder under a name.

        Raises:
            ModelError: the name is taken, or the files do not fit the model.
        """
        from peft import PeftModel

        if name in self.names:
            raise ModelError(f"the adapter name '{name}' is given twice", where=str(folder))
        check_weights(folder, "adapter_model")
        inner = f"komt_{len(self.names)}"  # PEFT takes no dots in a name
        try:
            with quiet():
                if hasattr(self.model, "peft_config"):
                    self.model.load_adapter(str(folder), inner, is_trainable=False)
                else:
                    self.model = PeftModel.from_pretrained(self.model, str(folder), adapter_name=inner)
        except Exception as error:
            raise ModelError(
                f"the adapter '{name}' does not fit the model: {one_line(error)}",
                where=str(folder),
                cure="give an adapter that was trained on this base model",
            ) from error
        self.model.eval()
        self.names, self._inner[_key(name)] = (*self.names, name), inner
        self._used = None

    def key(self, name: str | None) -> str:
        """What `use` takes for a request's adapter: None is the default one, "" the bare base.

        Raises:
            ModelError: there is no such adapter.
        """
        if not name:
            return _DEFAULT if name is None and self._has_default else ""
        if name not in self.names:
            raise ModelError(
                f"no adapter '{name}'{did_you_mean(name, self.names)}",
                cure=f"adapters here: {_list(self.names)}",
            )
        return _key(name)

    def use(self, key: str) -> None:
        """Switch the model to an adapter by its key."""
        if key == self._used or not hasattr(self.model, "peft_config"):
            return
        self._used = None
        if key:
            self.model.base_model.enable_adapter_layers()
            self.model.set_adapter(self._inner[key], inference_mode=True)
        else:
            self.model.base_model.disable_adapter_layers()
        self._used = key


def _key(name: str) -> str:
    return f"={name}"


def _list(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"
