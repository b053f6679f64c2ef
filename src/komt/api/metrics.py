"""What the server did, for Prometheus."""

from __future__ import annotations

from collections.abc import Sequence

from komt.api.backend import Usage
from komt.api.gate import Gate
from komt.errors import need

_SECONDS = (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300)


class Metrics:
    """Counters of one server, in a registry of their own."""

    def __init__(self, gates: Sequence[Gate]) -> None:
        library = need("prometheus_client", "serve")
        self._library, self._registry = library, library.CollectorRegistry()
        kept = {"registry": self._registry}
        self._requests = library.Counter(
            "komt_requests", "Requests answered", ["route", "model", "status"], **kept
        )
        self._left = library.Counter(
            "komt_clients_left", "Clients that left before their answer ended", **kept
        )
        self._tokens = library.Counter("komt_tokens", "Tokens", ["model", "kind"], **kept)
        self._first = library.Histogram(
            "komt_first_token_seconds",
            "Seconds to the first token, waiting included",
            buckets=_SECONDS,
            **kept,
        )
        self._whole = library.Histogram(
            "komt_request_seconds", "Seconds to the end of an answer", buckets=_SECONDS, **kept
        )
        running = library.Gauge("komt_answers_running", "Answers being computed", **kept)
        running.set_function(lambda: sum(gate.running for gate in gates))
        waiting = library.Gauge("komt_answers_waiting", "Answers waiting for their turn", **kept)
        waiting.set_function(lambda: sum(gate.waiting for gate in gates))

    def answered(self, route: str, model: str, status: int) -> None:
        """A request got its answer; `model` is a served name or ""."""
        self._requests.labels(route, model, str(status)).inc()

    def left(self) -> None:
        """A client left early."""
        self._left.inc()

    def counted(self, model: str, usage: Usage) -> None:
        """An answer's tokens."""
        for kind, tokens in (
            ("prompt", usage.prompt_tokens),
            ("cached", usage.cached_tokens),
            ("completion", usage.completion_tokens),
        ):
            self._tokens.labels(model, kind).inc(tokens)

    def timed(self, first_s: float, whole_s: float) -> None:
        """How long an answer took."""
        self._first.observe(first_s)
        self._whole.observe(whole_s)

    def page(self) -> tuple[bytes, str]:
        """The metrics as text, and its content type."""
        return self._library.generate_latest(self._registry), self._library.CONTENT_TYPE_LATEST
