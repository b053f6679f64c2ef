"""Archives read where they lie: their members as contents, in natural order of the names."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from komt.errors import DataError
from komt.sources.archives import Skipped, is_archive
from komt.sources.patterns import split_of
from komt.sources.readers.content import Content
from komt.sources.unpack import Member, walk

__all__ = ["contents_of", "is_archive"]


def contents_of(path: Path, pattern: str = "") -> Iterator[Content]:
    """Every file in a file, folder or archive, at any depth; archives in it count as folders.

    Args:
        path: a file, a folder, an archive, or a part of a split archive.
        pattern: which files; see `komt.sources.patterns`. "" is all of them.

    Raises:
        DataError: no such place; a broken, locked, incomplete or unsafe archive; no file that fits.
    """
    scratch = _Scratch()
    top = path if path.is_dir() else path.parent
    names: list[str] = []
    fitting = False
    for member in walk(path, scratch.folder):
        if isinstance(member, Skipped) or member.archive:
            continue
        names.append(member.name)
        if not pattern or split_of(member.name, {"train": (pattern,)})[0]:
            fitting = True
            yield Content(top, member.name, _opener(member, scratch), member.size, name=member.name)
    if pattern and not fitting:
        more = f" and {len(names) - 8} more" if len(names) > 8 else ""
        raise DataError(
            f"no file in it fits '{pattern}'",
            where=str(path),
            cure=f"it holds: {', '.join(names[:8])}{more}" if names else "it holds nothing",
        )


class _Scratch:
    """A folder that goes with the last content which may need it."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="komt-"))
        weakref.finalize(self, shutil.rmtree, self.folder, ignore_errors=True)


def _opener(member: Member, scratch: _Scratch) -> Callable[[], BinaryIO]:
    def open_() -> BinaryIO:
        # Naming it here keeps the folder as long as the content.
        assert scratch
        return member.open()

    return open_
