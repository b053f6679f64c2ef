"""One file over HTTP: resumed where it stopped, tried again, checked, and in its place whole or not at all.

What has arrived is kept as `NAME.part`; `NAME.part.json` says which version of the server's file it is a part
of. A part is resumed only when the server confirms that version (RFC 9110: Range with If-Range).
"""

from __future__ import annotations

import errno
import json
import os
import random
import re
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2

from komt.errors import DataError
from komt.files import sha256

Watch = Callable[[int, int], None]
_AGAIN = {408, 425, 429, 500, 502, 503, 504, 520, 521, 522, 523, 524}
_LFS = b"version https://git-lfs.github.com/spec/"
_PAGE = re.compile(rb"\s*<(!doctype\s+html|html[\s>])", re.IGNORECASE)


@dataclass(frozen=True)
class Patience:
    """How long to wait, and how often to try.

    Attributes:
        tries: in a row without a new byte, before giving up.
        first_s, most_s: the pause after the first try, and the longest one; it doubles in between.
        silence_s: a connection over which nothing comes for so long has stalled.
        seed: of the jitter, so that many machines do not come back at once.
        sleep: waits so many seconds.
    """

    tries: int = 6
    first_s: float = 1.0
    most_s: float = 60.0
    silence_s: float = 60.0
    seed: int = 0
    sleep: Callable[[float], None] = time.sleep

    def pause(self, url: str, failed: int, asked_s: float = 0.0) -> float:
        """Seconds to wait after the failed try of that number (from 1); at least what the server asks for."""
        jitter = random.Random(f"{self.seed} {url} {failed}").uniform(0.5, 1.0)
        longest = min(self.first_s * 2.0 ** (failed - 1), self.most_s)
        return max(longest * jitter, min(asked_s, 2 * self.most_s))


@dataclass
class Download:
    """A file to get: where from, where to, and what it must be.

    Attributes:
        headers: sent with the request, and not to another host after a redirect.
        refused: what to say for an HTTP status: (status, url) -> (what, cure), or None for the general words.
    """

    url: str
    target: Path
    sha256: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    refused: Callable[[int, str], tuple[str, str] | None] = lambda status, url: None

    @property
    def part(self) -> Path:
        """Where the bytes that have arrived are kept."""
        return self.target.with_name(f"{self.target.name}.part")

    @property
    def state(self) -> Path:
        """Which version of the server's file the part belongs to."""
        return self.target.with_name(f"{self.target.name}.part.json")

    def forget(self) -> None:
        """Remove what has arrived."""
        self.part.unlink(missing_ok=True)
        self.state.unlink(missing_ok=True)


class Refused(DataError):
    """The server answers, and does not give this file; it may well give others."""


class _Again(Exception):
    """This try failed; another may succeed."""

    def __init__(self, why: str, after_s: float = 0.0) -> None:
        super().__init__(why)
        self.after_s = after_s


def new_client(patience: Patience) -> httpx2.Client:
    """A client that follows redirects, heeds proxies of the environment, and does not wait for ever."""
    timeout = httpx2.Timeout(patience.silence_s, connect=min(30.0, patience.silence_s))
    # No compression on the way: ranges and checksums are those of the file itself.
    headers = {"Accept-Encoding": "identity", "User-Agent": "komt"}
    return httpx2.Client(timeout=timeout, headers=headers, follow_redirects=True, max_redirects=10)


def download(
    job: Download,
    client: httpx2.Client,
    patience: Patience,
    watch: Watch = lambda done, total: None,
    tell: Callable[[str], None] = lambda text: None,
) -> str:
    """Get a file; returns its SHA-256.

    Args:
        job: what to get.
        client: of `new_client`.
        patience: how often to try.
        watch: is told of bytes as they arrive: how many of how many (0: unknown).
        tell: is told of tries that failed.

    Raises:
        DataError: refused, unreachable, no space, or never the right content; the part is kept where another
            try could go on from it.
    """
    failed, farthest, wrong = 0, _size(job.part), ""
    while True:
        try:
            _receive(job, client, watch)
            found = _checked(job, wrong)
            if found != job.sha256 and job.sha256:
                wrong = found
                raise _Again(f"its content is damaged (sha256 {found[:16]}…, expected {job.sha256[:16]}…)")
            job.part.replace(job.target)
            job.state.unlink(missing_ok=True)
            return found
        except (_Again, httpx2.TransportError) as error:
            if isinstance(error, (httpx2.UnsupportedProtocol, httpx2.LocalProtocolError)):
                raise _no_address(job.url, error) from error
            arrived = _size(job.part)
            failed = 1 if arrived > farthest else failed + 1
            farthest = max(arrived, farthest)
            if failed >= patience.tries:
                raise _given_up(job, error, failed) from error
            pause_s = patience.pause(job.url, failed, getattr(error, "after_s", 0.0))
            tell(f"{job.target.name}: {_why(error)}; trying again in {pause_s:.0f} s")
            patience.sleep(pause_s)
        except (httpx2.TooManyRedirects, httpx2.InvalidURL) as error:
            raise _no_address(job.url, error) from error
        except OSError as error:
            if error.errno in {errno.ENOSPC, errno.EDQUOT}:
                raise _full_disk(job) from error
            raise


def _receive(job: Download, client: httpx2.Client, watch: Watch) -> None:
    """One request: the rest of the file, or the whole of it."""
    have, state = _resumable(job)
    if have and have == state["total"]:
        return
    headers = dict(job.headers)
    if have:
        headers |= {"Range": f"bytes={have}-"} | ({"If-Range": state["version"]} if state["version"] else {})
    with client.stream("GET", job.url, headers=headers) as answer:
        if answer.status_code == 416:
            job.forget()
            raise _Again("the server's file is shorter than what had arrived of it")
        if answer.status_code not in {200, 206}:
            _refuse(job, answer)
        start = have if answer.status_code == 206 and _goes_on(answer, have, state) else 0
        if answer.status_code == 206 and start != have:
            job.forget()
            raise _Again("the server sent another part than the one asked for")
        # A server that compresses although asked not to: its length and version are those of other bytes.
        packed = _packed(job, answer)
        total = 0 if packed else _total(answer, start)
        _need_space(job, total - start)
        if not start:
            job.forget()
        version = {"version": "" if packed else _version(answer), "total": total, "url": job.url}
        job.state.write_text(json.dumps(version))
        # Pieces as they come: gathered into larger ones, the last would be lost when the connection is.
        _write(job, answer.iter_bytes() if packed else answer.iter_raw(), start, total, watch)


def _write(job: Download, chunks: Iterator[bytes], start: int, total: int, watch: Watch) -> None:
    done = start
    watch(done, total)
    with job.part.open("ab") as file:
        for chunk in chunks:
            file.write(chunk)
            done += len(chunk)
            watch(done, total)
        file.flush()
        os.fsync(file.fileno())
    if total and done != total:
        if done > total:
            job.forget()
        raise _Again(f"{done:,} bytes came where the server had announced {total:,}")


def _resumable(job: Download) -> tuple[int, dict[str, Any]]:
    """How many bytes are here, and of which version.

    Without a version, or from another address, only what a checksum will judge in the end is gone on with.
    """
    try:
        state = dict(json.loads(job.state.read_text()))
    except (OSError, ValueError, TypeError):
        return 0, {}
    if state.get("url") != job.url:
        state["version"] = ""
    usable = state.get("total") and (state.get("version") or job.sha256)
    return (_size(job.part), state) if usable else (0, {})


def _goes_on(answer: httpx2.Response, have: int, state: dict[str, Any]) -> bool:
    """Whether a 206 is the rest of the same file: servers exist that do not know If-Range."""
    found = re.match(r"bytes (\d+)-\d+/(\d+|\*)", answer.headers.get("content-range", ""))
    same = not state["version"] or _version(answer) == state["version"]
    return bool(found and int(found[1]) == have and same) and _total(answer, have) == state.get("total")


def _version(answer: httpx2.Response) -> str:
    """A strong ETag, else the date of change, else "" (a weak ETag does not stand for the same bytes)."""
    tag = answer.headers.get("etag", "")
    return tag if tag.startswith('"') else answer.headers.get("last-modified", "")


def _packed(job: Download, answer: httpx2.Response) -> bool:
    """Whether the bytes are compressed on the way (a .gz file's own compression is no such thing)."""
    encoding = answer.headers.get("content-encoding", "identity")
    return encoding != "identity" and not job.target.name.endswith(".gz")


def _total(answer: httpx2.Response, start: int) -> int:
    """Bytes of the whole file, or 0 where the server does not say."""
    if found := re.match(r"bytes \d+-\d+/(\d+)", answer.headers.get("content-range", "")):
        return int(found[1])
    length = answer.headers.get("content-length", "")
    return start + int(length) if length.isdecimal() else 0


def _checked(job: Download, wrong: str) -> str:
    """SHA-256 of what has arrived whole; what can never become the file is thrown away."""
    with job.part.open("rb") as file:
        head = file.read(1024)
    try:
        refuse_stand_in(head, job.target.name, job.url)
    except DataError:
        job.forget()
        raise
    found = sha256(job.part)
    if job.sha256 and found != job.sha256:
        job.forget()
        if found == wrong:
            raise DataError(
                "the server has another version of the file than the catalogue names:\n"
                f"  expected sha256 {job.sha256}\n  found    sha256 {found}",
                where=job.url,
                cure="fetch it from another --mirror, or name the right revision and sha256 in the source",
            )
    return found


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


def _refuse(job: Download, answer: httpx2.Response) -> None:
    status, url = answer.status_code, str(answer.url)
    after = answer.headers.get("retry-after", "")
    if status in _AGAIN or (status == 403 and after):  # GitHub's limit on requests is a 403 with a time
        raise _Again(
            f"the server answered with HTTP status {status}", float(after) if after.isdecimal() else 0
        )
    words = job.refused(status, url)
    general = {
        401: ("the server wants a login for this file", "log in there and download it"),
        403: ("the server does not give this file to you", "open the address in a browser, or use --mirror"),
        404: ("the server has no such file", "it may have moved; look for it there, or use --mirror"),
    }
    what, cure = words or general.get(status, ("the server refused the file", "try --mirror"))
    raise Refused(f"{what} (HTTP status {status})", where=url, cure=cure)


def _need_space(job: Download, bytes_: int) -> None:
    free = shutil.disk_usage(job.target.parent).free
    if bytes_ > free:
        raise DataError(
            f"not enough space: {bytes_ / 1e6:,.1f} MB are still to come, {free / 1e6:,.1f} MB are free",
            where=str(job.target.parent),
            cure="free some space, or point KOMT_DATA or KOMT_HOME to another disk; then the same command",
        )


def _full_disk(job: Download) -> DataError:
    return DataError(
        f"no space left on the disk; the {_size(job.part) / 1e6:,.1f} MB that have arrived are kept",
        where=str(job.part),
        cure="free some space and run the same command again: it goes on from there",
    )


def _no_address(url: str, error: Exception) -> DataError:
    return DataError(
        f"this address cannot be fetched: {error}", where=url, cure="check --mirror: http:// or https://"
    )


def _given_up(job: Download, error: Exception, tries: int) -> DataError:
    kept = _size(job.part)
    rest = f"; {kept / 1e6:,.1f} MB that have arrived are kept" if kept else ""
    return DataError(
        f"the file could not be fetched in {tries} tries: {_why(error)}",
        where=job.url,
        cure=f"check the network and run the same command again{rest}; or use --mirror URL",
    )


def _why(error: Exception) -> str:
    if isinstance(error, httpx2.ConnectTimeout):
        return "the server does not answer (time-out)"
    if isinstance(error, httpx2.TimeoutException):
        return "nothing came any more (time-out)"
    return str(error) or type(error).__name__


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0
