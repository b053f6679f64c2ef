"""Who may ask, from where, and how much: what a server is started with."""

from __future__ import annotations

import ipaddress
import re
import socket
from dataclasses import dataclass, field

from komt.errors import UsageError

DEFAULT_PORT = 8000
_ORIGIN = re.compile(r"https?://[\w.-]+(:\d+)?|https?://\[[0-9a-fA-F:]+\](:\d+)?")


@dataclass(frozen=True)
class ServerSettings:
    """How the API is served.

    Attributes:
        host: the address it listens on; any but loopback needs a key.
        port: 0 takes a free one.
        keys: any of them opens the server; none: no key is asked for.
        cors: origins (`https://example.org`) whose pages may read answers, or `*`.
        hosts: further names it is reached by, for the check of the Host header; in lower case, without ports.
        body_bytes: the longest request.
        most_waiting: requests beyond the running and this many waiting ones are sent away.
        stalled_s: a client that sends nothing of its request, or takes nothing of its answer, for so long is
            given up.
    """

    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    keys: tuple[str, ...] = field(default=(), repr=False)
    cors: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    body_bytes: int = 4 << 20
    most_waiting: int = 4096
    stalled_s: float = 60.0

    def __post_init__(self) -> None:
        if not self.loopback and not self.keys:
            raise UsageError(
                f"{self.host or 'every address'} can be reached from other machines, and there is no key",
                cure="set one: KOMT_API_KEY=… komt serve …; or leave --host out to serve this machine only",
            )
        if any(not key.isascii() or not key.isprintable() or " " in key or not key for key in self.keys):
            raise UsageError("a key is empty, or has other signs than printable ASCII without spaces")
        for origin in self.cors:
            if origin != "*" and not _ORIGIN.fullmatch(origin):
                raise UsageError(
                    f"'{origin}' is no origin", cure="write scheme and host, as --cors https://example.org"
                )
        if "*" in self.cors and not self.keys:
            raise UsageError(
                "--cors '*' without a key would let every web page that anybody here opens use the model",
                cure="name the page's origin, as --cors https://example.org, or set KOMT_API_KEY",
            )

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach it."""
        return _is_loopback(self.host)

    def knows_host(self, name: str) -> bool:
        """Whether a Host header names this server (and not a stranger's name that points here).

        Args:
            name: without the port, in lower case.
        """
        if name.strip("[]") in self.hosts or name == self.host.lower() or _is_loopback(name):
            return True
        # A number cannot be made to point elsewhere later, as a name can.
        return not self.loopback and (_is_address(name) or name == socket.gethostname().lower())

    def knows_origin(self, origin: str, host: str) -> bool:
        """Whether a page of this origin may ask: a page of this server itself, or one that was named.

        Args:
            origin: as the browser says it.
            host: the request's Host header.
        """
        return "*" in self.cors or origin in self.cors or origin.partition("://")[2].lower() == host.lower()


def _is_loopback(name: str) -> bool:
    if name.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(name.strip("[]")).is_loopback
    except ValueError:
        return False


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True
