"""What a server's answer says of a file: which part of which version it is, or why it is none."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn

from komt.errors import DataError

if TYPE_CHECKING:
    import httpx2

_AGAIN = {408, 425, 429, 500, 502, 503, 504, 520, 521, 522, 523, 524}
_LFS = b"version https://git-lfs.github.com/spec/"
_PAGE = re.compile(rb"\s*<(!doctype\s+html|html[\s>])", re.IGNORECASE)


class Refused(DataError):
    """The server answers, and does not give this file; it may well give others."""


class Again(Exception):
    """This try failed; another may succeed."""

    def __init__(self, why: str, after_s: float = 0.0) -> None:
        super().__init__(why)
        self.after_s = after_s


def goes_on(answer: httpx2.Response, have: int, state: dict[str, Any]) -> bool:
    """Whether a 206 is the rest of the same file: servers exist that do not know If-Range."""
    found = re.match(r"bytes (\d+)-\d+/(\d+|\*)", answer.headers.get("content-range", ""))
    same = not state["version"] or version(answer) == state["version"]
    return bool(found and int(found[1]) == have and same) and total(answer, have) == state.get("total")


def version(answer: httpx2.Response) -> str:
    """A strong ETag, else the date of change, else "" (a weak ETag does not stand for the same bytes)."""
    tag = answer.headers.get("etag", "")
    return tag if tag.startswith('"') else answer.headers.get("last-modified", "")


def packed(answer: httpx2.Response, name: str) -> bool:
    """Whether the bytes are compressed on the way (a .gz file's own compression is no such thing)."""
    encoding = answer.headers.get("content-encoding", "identity")
    return encoding != "identity" and not name.endswith(".gz")


def total(answer: httpx2.Response, start: int) -> int:
    """Bytes of the whole file, or 0 where the server does not say."""
    if found := re.match(r"bytes \d+-\d+/(\d+)", answer.headers.get("content-range", "")):
        return int(found[1])
    length = answer.headers.get("content-length", "")
    return start + int(length) if length.isdecimal() else 0


def refuse(answer: httpx2.Response, words_for: Callable[[int, str], tuple[str, str] | None]) -> NoReturn:
    """Say why an answer is no file; `words_for` a status and an address are what, and how to mend it.

    Raises:
        Again: another try may succeed.
        Refused: it will not.
    """
    status, url = answer.status_code, str(answer.url)
    after = answer.headers.get("retry-after", "")
    if status in _AGAIN or (status == 403 and after):  # GitHub's limit on requests is a 403 with a time
        raise Again(
            f"the server answered with HTTP status {status}", float(after) if after.isdecimal() else 0
        )
    words = words_for(status, url)
    general = {
        401: ("the server wants a login for this file", "log in there and download it"),
        403: ("the server does not give this file to you", "open the address in a browser, or use --mirror"),
        404: ("the server has no such file", "it may have moved; look for it there, or use --mirror"),
    }
    what, cure = words or general.get(status, ("the server refused the file", "try --mirror"))
    raise Refused(f"{what} (HTTP status {status})", where=url, cure=cure)


def refuse_stand_in(head: bytes, name: str, where: str) -> None:
    """Do nothing, but for the first bytes of what stands where the file should be.

    Raises:
        DataError: a pointer of Git LFS, or a web page.
    """
    if head.startswith(_LFS):
        raise DataError(
            "this is only a pointer to the file (Git LFS), not its content",
            where=where,
            cure="get it with `git lfs pull` in a clone, then: komt sources import NAME PATH",
        )
    if _PAGE.match(head) and not name.endswith((".html", ".htm")):
        raise DataError(
            "this is a web page instead of the file",
            where=where,
            cure="open the address in a browser: it may ask to log in; then: komt sources import NAME PATH",
        )
