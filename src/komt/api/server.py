"""Serving an application: until a signal comes, or in a thread of a program."""

from __future__ import annotations

import asyncio
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from komt.api.settings import ServerSettings
from komt.errors import KomtError, UsageError, need

# So long connections may lie idle between two requests.
_KEEP_ALIVE_S = 60
# A silent connection is probed after 30 seconds, and given up when three probes, 10 seconds apart, are lost.
_PROBES = {"TCP_KEEPIDLE": 30, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 3}


@contextmanager
def bound(settings: ServerSettings) -> Iterator[socket.socket]:
    """Take the server's address before anything is loaded; connections are refused until it serves.

    Raises:
        UsageError: the port is taken, or the address is not this machine's.
    """
    host, port = settings.host, settings.port
    try:
        family, kind, protocol, _, place = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise _cannot_listen(host, port, error) from error
    with listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        _look_after(listener)
        try:
            listener.bind(place)
        except OSError as error:
            raise _cannot_listen(host, port, error) from error
        yield listener


def _look_after(listener: socket.socket) -> None:
    """Its connections find out when a client's machine is gone without a word, and free their places."""
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _PROBES.items():
        if option := getattr(socket, name, None):  # not on every system
            listener.setsockopt(socket.IPPROTO_TCP, option, value)


def serve_until_signal(app: Any, listener: socket.socket, on_ready: Callable[[str], None]) -> None:
    """Serve until SIGTERM or SIGINT; what is running is finished first, unless a second signal comes.

    Args:
        app: the application.
        listener: where, from `bound`.
        on_ready: told the address once requests are taken.
    """
    server = _server(app)

    def stop(number: int, frame: object) -> None:
        server.force_exit = server.should_exit
        server.should_exit = True

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        _run(server, listener, lambda: on_ready(_address(listener)))
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def serving(app: Any, listener: socket.socket) -> Iterator[str]:
    """Serve in a thread while the block runs; yields the address for clients, with /v1."""
    # A client in this same process cannot read on while it waits for the end: not for long, then.
    server, ready = _server(app, timeout_graceful_shutdown=1), threading.Event()
    failures: list[BaseException] = []

    def run() -> None:
        try:
            _run(server, listener, ready.set)
        except BaseException as error:
            failures.append(error)
        finally:
            ready.set()

    thread = threading.Thread(target=run, name="komt-api", daemon=True)
    thread.start()
    ready.wait()
    if failures:
        raise KomtError(f"the server did not start: {failures[0]}") from failures[0]
    try:
        yield f"{_address(listener)}/v1"
    finally:
        server.should_exit = True
        thread.join()


def _run(server: Any, listener: socket.socket, on_ready: Callable[[], None]) -> None:
    """Until the server ends; on uvloop where it is installed."""
    runner = getattr(asyncio, "Runner", None)  # from Python 3.11 on
    if runner is None:
        asyncio.run(_serve(server, listener, on_ready))
        return
    with runner(loop_factory=server.config.get_loop_factory()) as running:
        running.run(_serve(server, listener, on_ready))


async def _serve(server: Any, listener: socket.socket, on_ready: Callable[[], None]) -> None:
    # The part of uvicorn's serve() that leaves the process's signals alone.
    work = asyncio.ensure_future(server._serve([listener]))
    while not server.started and not work.done():
        await asyncio.sleep(0.01)
    if not work.done():
        on_ready()
    await work


def _server(app: Any, **more: Any) -> Any:
    uvicorn = need("uvicorn", "serve")
    config = uvicorn.Config(
        app,
        # By httptools, which uvicorn would take where it is installed, a header may be endless.
        http="h11",
        ws="none",
        lifespan="on",
        log_level="error",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=_KEEP_ALIVE_S,
        **more,
    )
    return uvicorn.Server(config)


def _cannot_listen(host: str, port: int, error: OSError) -> UsageError:
    return UsageError(
        f"cannot listen on {host or 'every address'}, port {port}: {error.strerror or error}",
        cure="choose another port (--port), or end the program that has this one",
    )


def _address(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
