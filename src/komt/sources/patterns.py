"""Patterns: which files of a download belong to which split, by their names.

`*` and `?` stand for letters of a name, `**/` for folders; all else, `[라벨]` too, is literal. A pattern fits
at any depth; case does not matter, nor a number before a folder's name (`1.Training`). One that opens with
`!` keeps files out.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from functools import lru_cache

_NUMBER = r"(?:\d+[._ -]*)?"


def split_of(path: str, patterns: Mapping[str, tuple[str, ...]]) -> tuple[str, str]:
    """The split that a file belongs to, and "" for why; or "" and why it belongs to none.

    Of several splits the one whose pattern begins deepest in the path wins, then the longer pattern: a folder
    Validation below one called Training is what it says itself.
    """
    path = unicodedata.normalize("NFC", path).casefold()
    best, found = (-1, -1), ""
    for split, globs in patterns.items():
        wanted = [glob for glob in globs if not glob.startswith("!")]
        fits = [(match.start("own"), len(glob)) for glob in wanted if (match := _regex(glob).fullmatch(path))]
        if fits and max(fits) > best:
            best, found = max(fits), split
    if not found:
        return "", "no pattern names it"
    for glob in patterns[found]:
        if glob.startswith("!") and _regex(glob[1:]).fullmatch(path):
            return "", f"kept out by {glob}"
    return found, ""


def kept_out(folder: str, patterns: Mapping[str, tuple[str, ...]]) -> str:
    """Why nothing below a folder (or in an archive) can belong to any split, or ""."""
    path = unicodedata.normalize("NFC", folder).casefold() + "/-"
    reasons = [
        next(
            (g for g in globs if g.startswith("!") and g.endswith("/**") and _regex(g[1:]).fullmatch(path)),
            "",
        )
        for globs in patterns.values()
    ]
    return f"kept out by {reasons[0]}" if reasons and all(reasons) else ""


def by_name(patterns: tuple[str, ...]) -> tuple[str, ...]:
    """The patterns without their folders, for files whose split a person has said."""
    return tuple(glob if glob.startswith("!") else glob.rpartition("/")[2] for glob in patterns)


@lru_cache(maxsize=1024)
def _regex(glob: str) -> re.Pattern[str]:
    parts = unicodedata.normalize("NFC", glob).casefold().split("/")
    folders = ["(?:[^/]+/)*" if part == "**" else f"{_NUMBER}{_part(part)}/" for part in parts[:-1]]
    last = ".*" if parts[-1] == "**" else _part(parts[-1])
    return re.compile(rf"(?:.*/)?(?P<own>{''.join(folders)}{last})", re.DOTALL)


def _part(part: str) -> str:
    return re.escape(part).replace(r"\*", "[^/]*").replace(r"\?", "[^/]")
