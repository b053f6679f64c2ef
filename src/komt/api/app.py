"""The API as an application, and a server of it inside a program."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from komt.api.answering import Answering, Served
from komt.api.backend import Backend
from komt.api.errors import ApiError, failed, unknown_model
from komt.api.gate import Gate
from komt.api.guard import Guard
from komt.api.metrics import Metrics
from komt.api.opening import Opening, open_backend
from komt.api.replies import dumps
from komt.api.requests import ChatRequest, CompletionRequest
from komt.api.server import bound, serving
from komt.api.settings import ServerSettings
from komt.errors import UsageError
from komt.korean import nfc


def create_app(backends: Sequence[Backend], settings: ServerSettings | None = None) -> Starlette:
    """The API over one or several backends; they are closed when the application ends.

    Raises:
        UsageError: two models have the same name.
    """
    settings = settings or ServerSettings()
    served: dict[str, Served] = {}
    lines = [(backend, Gate(backend.at_once, settings.most_waiting)) for backend in backends]
    for backend, gate in lines:
        for name in backend.names:
            if name in served:
                raise UsageError(f"two models are called '{name}'", cure="give one of them another name")
            served[name] = Served(backend, gate)
    metrics = Metrics([gate for _, gate in lines])
    about = _About(served, backends, metrics)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        for backend in backends:
            await backend.close()

    middleware = [Middleware(Guard, settings=settings)]
    if settings.cors:
        middleware.insert(0, _cors(settings))
    app = Starlette(
        routes=[
            Route(
                "/v1/chat/completions", Answering(ChatRequest, served, settings, metrics), methods=["POST"]
            ),
            Route(
                "/v1/completions", Answering(CompletionRequest, served, settings, metrics), methods=["POST"]
            ),
            Route("/v1/models", about.models),
            Route("/v1/models/{name:path}", about.model),
            Route("/health", about.health),
            Route("/metrics", about.metrics),
        ],
        middleware=middleware,
        exception_handlers={HTTPException: _route_fault, ApiError: _api_fault, Exception: _other_fault},
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False
    return app


@contextmanager
def running(
    model: str,
    adapters: Mapping[str, str] | None = None,
    *,
    opening: Opening | None = None,
    settings: ServerSettings | None = None,
) -> Iterator[str]:
    """Serve a model in a thread of this program, on a free port of loopback unless `settings` say otherwise.

    Args:
        model: as everywhere in komt.
        adapters: LoRA adapters over the same base, by the names that requests will use.
        opening: which engine, how many at once, and the like.
        settings: of the server.

    Yields:
        The address for clients, `http://127.0.0.1:PORT/v1`.

    Raises:
        KomtError: as `open_backend`; or the port is taken.
    """
    settings = settings or ServerSettings(port=0)
    with bound(settings) as listener:
        backend = open_backend(model, adapters or {}, opening or Opening())
        with serving(create_app([backend], settings), listener) as address:
            yield address


class _About:
    """The routes that tell about the server."""

    def __init__(self, served: Mapping[str, Served], backends: Sequence[Backend], metrics: Metrics) -> None:
        self._served, self._backends, self._metrics = served, backends, metrics
        self._created = int(time.time())

    async def models(self, _: Request) -> Response:
        """GET /v1/models."""
        return _json({"object": "list", "data": [self._model(name) for name in self._served]})

    async def model(self, request: Request) -> Response:
        """GET /v1/models/NAME."""
        name = nfc(request.path_params["name"])
        if name not in self._served:
            raise unknown_model(name, list(self._served))
        return _json(self._model(name))

    async def health(self, _: Request) -> Response:
        """GET /health: 200 while every engine answers, else 503."""
        alive = all([await backend.alive() for backend in self._backends])
        return _json({"status": "ok" if alive else "engine gone"}, 200 if alive else 503)

    async def metrics(self, _: Request) -> Response:
        """GET /metrics."""
        page, kind = self._metrics.page()
        return Response(page, headers={"content-type": kind})

    def _model(self, name: str) -> dict[str, Any]:
        return {"id": name, "object": "model", "created": self._created, "owned_by": "komt"}


def _cors(settings: ServerSettings) -> Middleware:
    return Middleware(
        CORSMiddleware,
        allow_origins=settings.cors,
        allow_methods=["GET", "POST"],
        allow_headers=["*"],  # OpenAI's client for pages sends a dozen of its own
    )


def _json(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(dumps(value), status, headers, "application/json")


async def _api_fault(_: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)
    return _json(error.body(), error.status, error.headers)


async def _route_fault(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    method, path = request.method[:20], request.url.path[:100]
    told = ApiError(
        error.status_code, str(error.detail), code="not_found" if error.status_code == 404 else None
    )
    if error.status_code == 404:
        told.message = f"Unknown request URL: {method} {path}"
        told.code = "unknown_url"
    elif error.status_code == 405:
        allowed = (error.headers or {}).get("Allow", "")
        told.message = f"Not allowed to {method} on {path}; allowed: {allowed}"
        told.code = "method_not_supported"
    return _json(told.body(), told.status, error.headers)


async def _other_fault(_: Request, __: Exception) -> Response:
    error = failed()
    return _json(error.body(), error.status)
