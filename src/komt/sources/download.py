"""One file over HTTP: resumed where it stopped, tried again, checked, and in its place whole or not at all.

What has arrived is kept as `NAME.part`; `NAME.part.json` says which version of the server's file it is a part
of. A part is resumed only when the server confirms that version (RFC 9110: Range with If-Range).
"""

from __future__ import annotations

import errno
import json
import os
import random
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2

from komt.errors import DataError
from komt.files import sha256
from komt.sources import answers
from komt.sources.answers import Again, Refused, refuse_stand_in

__all__ = ["Download", "Patience", "Refused", "Watch", "download", "new_client", "refuse_stand_in"]

Watch = Callable[[int, int], None]


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
                raise Again(f"its content is damaged (sha256 {found[:16]}…, expected {job.sha256[:16]}…)")
            job.part.replace(job.target)
            job.state.unlink(missing_ok=True)
            return found
        except (Again, httpx2.TransportError) as error:
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
            raise Again("the server's file is shorter than what had arrived of it")
        if answer.status_code not in {200, 206}:
            answers.refuse(answer, job.refused)
        start = have if answer.status_code == 206 and answers.goes_on(answer, have, state) else 0
        if answer.status_code == 206 and start != have:
            job.forget()
            raise Again("the server sent another part than the one asked for")
        # A server that compresses although asked not to: its length and version are those of other bytes.
        packed = answers.packed(answer, job.target.name)
        total = 0 if packed else answers.total(answer, start)
        _need_space(job, total - start)
        if not start:
            job.forget()
        version = {"version": "" if packed else answers.version(answer), "total": total, "url": job.url}
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
        raise Again(f"{done:,} bytes came where the server had announced {total:,}")


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
