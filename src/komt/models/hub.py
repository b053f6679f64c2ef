"""Models on the Hugging Face hub: fetched into its cache, safetensors only, or one clear sentence why not."""

from __future__ import annotations

import re
from pathlib import Path

from komt.errors import ModelError

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_WANTED = ["*.safetensors", "*.json", "*.model", "*.jinja", "merges.txt", "vocab.txt", "README.md"]
# Subfolders and "consolidated" files repeat the weights in other forms.
_UNWANTED = ["*/*", "consolidated*"]


def fetch(name: str, remote_code: bool = False, *, configuration_only: bool = False) -> Path:
    """The folder of a hub model in the hub's cache, fetched when it is not there; HF_HUB_OFFLINE is heeded.

    Args:
        name: `org/name`.
        remote_code: also fetch the repository's Python files.
        configuration_only: without weights and tokenizer.

    Raises:
        ModelError: unreachable, not found, or not allowed: what to do in each case.
    """
    from huggingface_hub import errors, snapshot_download

    wanted = ["config.json"] if configuration_only else _WANTED
    wanted = [*wanted, "*.py"] if remote_code else wanted
    try:
        return Path(snapshot_download(name, allow_patterns=wanted, ignore_patterns=_UNWANTED))
    except errors.GatedRepoError as error:
        raise ModelError(
            f"the hub gives '{name}' only to people who have accepted its terms",
            cure=f"accept them at https://huggingface.co/{name}, then: hf auth login",
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise ModelError(
            f"there is no folder '{name}' here, and no model of that name on the hub (or it is private)",
            cure="check the spelling; for a private model: hf auth login",
        ) from error
    except (errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled, errors.HfHubHTTPError) as error:
        raise _explain(name, error) from error


def _explain(name: str, error: Exception) -> ModelError:
    """A refusal by status, or no connection: the library reports both as "not in the cache"."""
    response = getattr(error, "response", None) or getattr(error.__cause__, "response", None)
    if response is not None:
        allowed = response.status_code not in {401, 403}
        return ModelError(
            f"the hub refused '{name}' (HTTP status {response.status_code})",
            cure="try again later, or give a folder" if allowed else "hf auth login, or give a folder",
        )
    return ModelError(
        f"there is no folder '{name}' here, the hub cannot be reached, and its cache does not hold it",
        cure=f"on a machine with network: hf download {name} --local-dir {name.partition('/')[2]}; "
        "copy the folder here and give its path as the model",
    )
