"""The files of a source as they are, found in what was downloaded by name or by checksum."""

from __future__ import annotations

import hashlib
import os
import re
import unicodedata
from pathlib import Path

from komt.errors import DataError
from komt.sources.answers import refuse_stand_in
from komt.sources.archives import Skipped
from komt.sources.bring import Ignored, Staged, Wish, need_space
from komt.sources.fetch import Onlooker, here, wanted
from komt.sources.source import Source, place
from komt.sources.unpack import Member, chunks, walk

# So many files at most are read whole in search of a checksum.
_HASHED_FILES = 50
_COPY_NUMBER = re.compile(r" ?\(\d+\)(?=\.|$)")  # browsers call a second download "train (1).json"


def stage_files(source: Source, wish: Wish, room: Path, ignored: Ignored, onlooker: Onlooker) -> list[Staged]:
    """Copy every file of the source that is found.

    Raises:
        DataError: none is found; one has another checksum; two different ones have the name; no space.
    """
    if not wanted(source):
        raise DataError(
            f"'{source.name}' is a folder saved by the library datasets: there are no files to import",
            cure=f"copy the folder to {place(source, source.files[0])}, or: komt sources fetch {source.name}",
        )
    members = []
    for path in wish.paths:
        for item in walk(path, room):
            if isinstance(item, Skipped):
                ignored.add(item.reason, item.name)
            else:
                members.append(item)
    chosen = _chosen(source, members)
    if not chosen:
        names = ", ".join(path.rpartition("/")[2] for path in wanted(source))
        held = ", ".join(member.name for member in members[:8])
        raise DataError(
            f"none of {len(members):,} files is one of '{source.name}', which takes: {names}",
            where=f"it holds: {held}" if held else "",
            cure="the name or the checksum has to be right; komt sources show prints both",
        )
    for member in members:
        if not member.archive and member not in chosen.values():
            ignored.add("no file of this source", member.name)
    shas = wanted(source)
    todo = {path: item for path, item in chosen.items() if wish.force or not here(source, path, shas[path])}
    need_space(room, sum(member.size for member in todo.values()))
    return [
        Staged(path, _copied(member, path, room, onlooker), 1) if path in todo else Staged(path, None, 0)
        for path, member in chosen.items()
    ]


def _chosen(source: Source, members: list[Member]) -> dict[str, Member]:
    """Path in the source -> what was found for it."""
    chosen: dict[str, Member] = {}
    digests: dict[int, str] = {}
    for path, sha in wanted(source).items():
        named = sorted((m for m in members if _alike(m.name, path)), key=lambda m: -_alike(m.name, path))
        if sha:
            pool = named or [m for m in members if not m.archive or "/" not in m.name][:_HASHED_FILES]
            if right := next((m for m in pool if _digest(m, digests) == sha), None):
                chosen[path] = right
            elif named and not here(source, path, sha):
                raise DataError(
                    f"the file is not the one that '{source.name}' names:\n  expected sha256 {sha}\n"
                    f"  found    sha256 {_digest(named[0], digests)}",
                    where=named[0].name,
                    cure="it is incomplete or another version; get it again",
                )
        elif named:
            best = [m for m in named if _alike(m.name, path) == _alike(named[0].name, path)]
            if len({_digest(m, digests) for m in best}) > 1:
                raise DataError(
                    f"several different files could be {path}: {', '.join(m.name for m in best[:5])}",
                    cure="give the path of the right one",
                )
            chosen[path] = best[0]
    return chosen


def _alike(name: str, path: str) -> int:
    """How many parts of two paths agree, from the end."""
    count = 0
    for one, other in zip(reversed(name.split("/")), reversed(path.split("/")), strict=False):
        if _plain(one) != _plain(other):
            break
        count += 1
    return count


def _plain(name: str) -> str:
    return _COPY_NUMBER.sub("", unicodedata.normalize("NFC", name)).casefold()


def _digest(member: Member, known: dict[int, str]) -> str:
    if id(member) not in known:
        digest = hashlib.sha256()
        for chunk in chunks(member):
            digest.update(chunk)
        known[id(member)] = digest.hexdigest()
    return known[id(member)]


def _copied(member: Member, path: str, room: Path, onlooker: Onlooker) -> Path:
    """A copy of the member, in a folder of its own under its own name."""
    target = room / hashlib.sha256(path.encode()).hexdigest()[:16] / path.rpartition("/")[2]
    target.parent.mkdir()
    watch, done = onlooker.begin(target.name), 0
    with target.open("wb") as file:
        for chunk in chunks(member):
            if not done:
                refuse_stand_in(chunk, target.name, member.name)
            file.write(chunk)
            done += len(chunk)
            watch(done, member.size)
        file.flush()
        os.fsync(file.fileno())
    return target
