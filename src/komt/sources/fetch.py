"""Fetch: the files of a source, from its repository or a mirror, into their places below KOMT_DATA."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote, urlsplit

from httpx2 import Client

from komt.errors import DataError, UsageError
from komt.sources.answers import Refused
from komt.sources.download import Download, Patience, Watch, download, new_client
from komt.sources.readers import hub
from komt.sources.source import Source, file_hash, place
from komt.sources.writing import alone, not_writable, refuse_read_only

_GITHUB = "https://raw.githubusercontent.com"
HUB = "hf:"
State = Literal["present", "fetched", "replaced"]


@dataclass(frozen=True)
class Fetched:
    """What became of one file.

    Attributes:
        state: it was `present` already, has been `fetched`, or has `replaced` another content.
        checked: the catalogue names its SHA-256, and it has it.
    """

    path: str
    place: Path
    state: State
    bytes: int
    sha256: str
    checked: bool
    url: str

    def as_json(self) -> dict[str, Any]:
        """The values, for a program."""
        return {**asdict(self), "place": str(self.place)}


@dataclass(frozen=True)
class Onlooker:
    """Who hears what happens: `begin(path)` returns the file's `watch(done, total)`; `tell(text)`."""

    begin: Callable[[str], Watch] = lambda path: lambda done, total: None
    tell: Callable[[str], None] = lambda text: None


def fetch(
    source: Source,
    *,
    mirror: str = "",
    force: bool = False,
    patience: Patience | None = None,
    onlooker: Onlooker | None = None,
) -> Iterator[Fetched]:
    """Get every file of a source that is not here, one after the other; a refused one after all others.

    Args:
        source: whose files.
        mirror: base address that holds FOLDER/PATH, instead of the repository.
        force: also what is here already; a file is replaced only once the new one is whole and right.
        patience: with the network.
        onlooker: is told of the progress.

    Raises:
        DataError: the source needs a login, is nobody's to fetch, or a file cannot be had; what to do.
        UsageError: the mirror is no address.
    """
    patience, onlooker = patience or Patience(), onlooker or Onlooker()
    yield from _hub_folders(source, force, onlooker)
    refused: list[Refused] = []
    with new_client(patience) as client:
        for path, sha in wanted(source).items():
            if not force and (found := here(source, path, sha)):
                yield _fetched(place(source, path), path, "present", found, sha)
                continue
            refuse_unfetchable(source, mirror)
            url, headers = address(source, path, mirror), _headers(source, mirror)
            job = Download(url, place(source, path), sha, headers, _refusals(source, mirror))
            try:
                with _alone(job.target, path, onlooker):
                    # Whoever held the lock may have fetched it.
                    found = "" if force else here(source, path, sha)
                    state = "present" if found else _replace(job, force, client, patience, path, onlooker)
                    yield _fetched(job.target, path, state, found or file_hash(job.target), sha, url)
            except Refused as error:
                refused.append(error)
    if refused:
        first, more = refused[0], f"; so for {len(refused) - 1} more of its files" if refused[1:] else ""
        raise DataError(f"{first.what}{more}", where=first.where, cure=first.cure) from first


def _replace(
    job: Download, force: bool, client: Client, patience: Patience, path: str, onlooker: Onlooker
) -> State:
    """Download a file into its place; what was there stays until the new one is whole."""
    before = file_hash(job.target) if job.target.is_file() else ""
    if force:
        job.forget()
    found = download(job, client, patience, onlooker.begin(path), onlooker.tell)
    return "replaced" if before not in {"", found} else "fetched"


def _hub_folders(source: Source, force: bool, onlooker: Onlooker) -> Iterator[Fetched]:
    """Save the datasets that the library `datasets` loads from the hub as folders."""
    for file in source.files:
        options = source.options(file)
        if not isinstance(options, hub.Options) or not options.dataset:
            continue
        target = place(source, file)
        state: State = "present" if target.is_dir() and not force else "fetched"
        if state == "fetched":
            onlooker.tell(f"{options.dataset}: loaded from the hub by the library datasets")
            with _alone(target, file.path, onlooker):
                hub.save(options, target)
        size = sum(item.stat().st_size for item in target.rglob("*") if item.is_file())
        yield Fetched(file.path, target, state, size, file_hash(target), False, options.dataset)


def here(source: Source, path: str, sha: str) -> str:
    """SHA-256 of a file of a source that is here and right, else ""."""
    target = place(source, path)
    found = file_hash(target) if target.is_file() else ""
    return found if found == (sha or found) else ""


def wanted(source: Source) -> dict[str, str]:
    """Path -> SHA-256 ("" where unknown) of every file that the source reads, each once."""
    found: dict[str, str] = {}
    for file in source.files:
        if isinstance(source.options(file), hub.Options):
            continue
        for path, sha in file.paths:
            found[path] = found.get(path) or sha
    return found


def refuse_unfetchable(source: Source, mirror: str = "") -> None:
    """Do nothing for a source whose files can be fetched.

    Raises:
        DataError: bundled; behind a login (page, terms, import command); or without a repository.
        UsageError: the mirror is no address.
    """
    if source.bundled:
        raise DataError(
            f"the files of '{source.name}' come with komt: they are not fetched", cure="install komt again"
        )
    if mirror and (urlsplit(mirror).scheme not in {"http", "https"} or not urlsplit(mirror).netloc):
        raise UsageError(
            f"not an address: {mirror}",
            cure="--mirror takes http://… or https://…; files on a disk: komt sources import NAME PATH",
        )
    if mirror:
        return
    if source.login:
        terms = f"\n  its terms: {source.terms}" if source.terms else ""
        raise DataError(
            f"'{source.name}' ({source.title}) is given out only to people who log in{terms}",
            where=source.login,
            cure="log in there, accept the terms, download it, then:\n"
            f"    komt sources import {source.name} PATH\n"
            "    PATH: the folder, zip, tar or *.zip.part0 that you got, as it is",
        )
    if not source.repository or any(Path(path).is_absolute() for path in wanted(source)):
        raise DataError(
            f"'{source.name}' names no repository that its files could be fetched from",
            cure=f"komt sources import {source.name} PATH, or --mirror URL",
        )


def address(source: Source, path: str, mirror: str = "") -> str:
    """Where a file of a source is fetched from."""
    if mirror:
        return f"{mirror.rstrip('/')}/{quote(f'{source.folder or source.name}/{path}')}"
    if source.repository.startswith(HUB):
        from huggingface_hub import hf_hub_url

        name = source.repository.removeprefix(HUB)
        return str(hf_hub_url(name, path, repo_type="dataset", revision=source.revision or None))
    if source.repository.startswith(("http://", "https://")):
        return f"{source.repository.rstrip('/')}/{quote(path)}"
    return f"{_GITHUB}/{source.repository}/{source.revision or 'HEAD'}/{quote(path)}"


def _headers(source: Source, mirror: str) -> Mapping[str, str]:
    """The hub's token where a person has one; it goes to the hub only."""
    if mirror or not source.repository.startswith(HUB):
        return {}
    from huggingface_hub import get_token

    token = get_token()
    return {"Authorization": f"Bearer {token}"} if token else {}


def _refusals(source: Source, mirror: str) -> Callable[[int, str], tuple[str, str] | None]:
    """What a refusal means, by where the file was asked for."""
    name, by_hand = source.repository, f"get it by hand and: komt sources import {source.name} PATH"

    def explain(status: int, url: str) -> tuple[str, str] | None:
        if mirror:
            cure = "the address is MIRROR/FOLDER/PATH, as komt sources show prints folder and path"
            return ("the mirror has no such file", cure) if status == 404 else None
        if name.startswith(HUB) and status in {401, 403}:
            page = f"https://huggingface.co/datasets/{name.removeprefix(HUB)}"
            return "the hub gives it only to people who have accepted its terms", (
                f"accept them at {page}, then: hf auth login"
            )
        if status == 404:
            where = f"commit {source.revision}" if source.revision else "its main branch"
            return f"the repository {name} has no such file in {where}", (
                f"it may have been moved or withdrawn; use --mirror URL, or {by_hand}"
            )
        if status in {401, 403, 451}:
            return f"the repository {name} does not give this file to you", f"use --mirror URL, or {by_hand}"
        return None

    return explain


@contextlib.contextmanager
def _alone(target: Path, path: str, onlooker: Onlooker) -> Iterator[None]:
    """Nobody else fetches this file meanwhile.

    Raises:
        DataError: it or its folder cannot be written to, or no lock can be made.
    """
    refuse_read_only(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise not_writable(target.parent, error) from error
    waiting = f"{path}: another komt is fetching it; waiting until it has finished"
    with alone(target, lambda: onlooker.tell(waiting)):
        yield


def _fetched(target: Path, path: str, state: State, found: str, sha: str, url: str = "") -> Fetched:
    return Fetched(path, target, state, target.stat().st_size, found, bool(sha), url)
