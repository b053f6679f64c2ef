"""An exported folder to the hub: terms first, then every file by name, then huggingface_hub's upload."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from komt.errors import KomtError, UsageError
from komt.export.card import SourceFacts
from komt.export.identity import licence_named
from komt.models.hub import HUB_ID


class PushError(KomtError):
    """The hub was not reached, or did not take the files; they lie where they were exported."""


@dataclass(frozen=True, slots=True)
class Term:
    """Why a person must look before publishing: a source, and what binds its data."""

    source: str
    reason: str


def terms_of(sources: Sequence[SourceFacts], *, tuned: bool, known: bool) -> list[Term]:
    """The terms that bar or restrict handing on the data that a model was trained on.

    Args:
        sources: of the training data.
        tuned: whether it was trained at all.
        known: whether what it was trained on is known.
    """
    if tuned and not known:
        return [Term("training data", "unknown: no run folder with a manifest lies beside the model")]
    terms = []
    for source in sources:
        if source.terms:
            terms.append(Term(source.name, source.terms))
        elif source.licence == "own":
            terms.append(Term(source.name, "own data: its terms are known to its owner alone"))
        elif not licence_named(source.licence).open:
            terms.append(Term(source.name, f"not openly licensed: {source.licence or 'no licence stated'}"))
    return terms


def check_repository(name: str) -> None:
    """Do nothing where a name is of the form ORG/NAME.

    Raises:
        UsageError: it is not.
    """
    if not HUB_ID.fullmatch(name):
        raise UsageError(
            f"--push {name}: not of the form ORG/NAME", cure="for example --push my-team/my-model"
        )


def check_acknowledged(terms: Sequence[Term], acknowledged: bool) -> None:
    """Do nothing where no term stands against publishing, or a person has answered for it.

    Raises:
        UsageError: with each term.
    """
    if terms and not acknowledged:
        lines = "\n".join(f"  - {term.source}: {term.reason}" for term in terms)
        raise UsageError(
            f"the data this model was trained on is under terms that restrict handing it on\n{lines}",
            cure="read the terms; if they allow publishing the model, add --acknowledge-terms "
            "(--dry-run shows the files without sending any)",
        )


def files_of(folder: Path) -> list[tuple[str, int]]:
    """Every file of a folder: path below it, with size in bytes."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return [(path.relative_to(folder).as_posix(), path.stat().st_size) for path in paths]


def check_reachable() -> str:
    """Who the hub says this person is.

    Raises:
        PushError: offline, not logged in, or refused; nothing was sent.
    """
    from huggingface_hub import HfApi, constants

    if constants.HF_HUB_OFFLINE:
        raise PushError("HF_HUB_OFFLINE is set: nothing was sent", cure="unset it to push")
    try:
        return str(HfApi().whoami()["name"])
    except Exception as error:
        raise _explain(error, "") from error


def upload(folder: Path, repository: str) -> str:
    """Send a folder to a repository of the hub, which is made, private, where it is not there; its address.

    Raises:
        PushError: not reached or refused; what to do.
    """
    from huggingface_hub import HfApi

    api = HfApi()
    try:
        address = api.create_repo(repository, private=True, exist_ok=True)
        api.upload_folder(repo_id=repository, folder_path=folder, commit_message="Exported with komt")
    except Exception as error:
        raise _explain(error, f"the files lie in {folder}; later: hf upload {repository} {folder}") from error
    return str(address)


def _explain(error: Exception, later: str) -> PushError:
    from huggingface_hub import constants, errors

    rest = f"\n  {later}" if later else ""
    status = getattr(getattr(error, "response", None), "status_code", None)
    if isinstance(error, errors.LocalTokenNotFoundError) or status == 401:
        return PushError(f"you are not logged in to the hub: nothing was sent{rest}", cure="hf auth login")
    if status == 403:
        return PushError(
            f"the hub does not let you write there{rest}",
            cure="use an ORG you belong to, and a token with the right to write",
        )
    if status is not None:
        first = next(iter(str(error).splitlines()), "")
        return PushError(f"the hub refused (HTTP status {status}): {first}{rest}", cure="try again later")
    return PushError(
        f"the hub cannot be reached at {constants.ENDPOINT}: {type(error).__name__}{rest}",
        cure="check the network, or copy the folder to a machine that has one",
    )
