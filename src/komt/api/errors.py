"""Errors as OpenAI's API tells them: a status and `{"error": {message, type, param, code}}`.

Format: https://platform.openai.com/docs/guides/error-codes/api-errors
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from komt.errors import KomtError

# Absolute paths of two parts and more, as they stand in the messages of libraries.
_PATH = re.compile(r"(?<![\w/.])(?:file://)?/[\w.@+~-]+(?:/[\w.@+~-]*)+|\b[A-Za-z]:\\[^\s'\",;]+")
_MOST_FAULTS = 3


class ApiError(Exception):
    """A request that is answered with an error.

    Attributes:
        status: the HTTP status.
        message: for the person who wrote the client; holds no local path.
        kind: OpenAI's `type`.
        param: the field that is wrong, or None.
        code: a word for programs, or None.
        headers: of the answer.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        kind: str = "invalid_request_error",
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.kind, self.param, self.code = status, message, kind, param, code
        self.headers = dict(headers or {})

    def body(self) -> dict[str, Any]:
        """The answer's JSON."""
        error = {"message": self.message, "type": self.kind, "param": self.param, "code": self.code}
        return {"error": error}


def without_paths(text: str) -> str:
    """A message with absolute paths blotted out: where things lie on the server is nobody's business."""
    return _PATH.sub("(path)", text)


def refused(error: KomtError, param: str | None = None) -> ApiError:
    """What the engine says against a request, told to the client: without the place of any file."""
    message = f"{error.what}: {error.cure}" if error.cure else error.what
    return ApiError(400, without_paths(message), param=param)


def failed() -> ApiError:
    """Something that should not happen; the reason stands in the server's log only."""
    return ApiError(500, "the server failed on this request; its log says why", kind="server_error")


def gone() -> ApiError:
    """The program behind the API does not answer."""
    return ApiError(
        502, "the engine behind this server does not answer", kind="server_error", code="engine_gone"
    )


def unknown_model(name: str, names: list[str]) -> ApiError:
    """No model of that name is served."""
    return ApiError(
        404,
        f"The model '{_short(name)}' does not exist; this server has: {', '.join(names)}",
        param="model",
        code="model_not_found",
    )


def too_long(prompt_tokens: int, context_tokens: int, param: str) -> ApiError:
    """The prompt leaves no room for an answer."""
    return ApiError(
        400,
        f"This model's maximum context length is {context_tokens} tokens, and the prompt has "
        f"{prompt_tokens}. Please shorten it.",
        param=param,
        code="context_length_exceeded",
    )


def unsupported(param: str, why: str) -> ApiError:
    """A field that this engine cannot honour."""
    return ApiError(400, f"'{param}' is not supported here: {why}", param=param, code="unsupported_parameter")


def invalid(error: ValidationError) -> ApiError:
    """The faults of a request's fields, the first few of them; values are not repeated."""
    faults = error.errors(include_input=False, include_url=False, include_context=False)
    # A union tells what each of its members misses: one line a field is enough, of the innermost one.
    told: dict[str, str] = {}
    for fault in faults:
        told.setdefault(_field(fault["loc"]), str(fault["msg"]).removeprefix("Value error, "))
    told = {
        name: text
        for name, text in told.items()
        if not any(other.startswith((f"{name}[", f"{name}.")) for other in told)
    }
    lines = [f"{name}: {text}" if name else text for name, text in list(told.items())[:_MOST_FAULTS]]
    first = next(iter(told), "") or None
    missing = any(fault["type"] == "missing" for fault in faults)
    code = "missing_required_parameter" if missing else "invalid_value"
    return ApiError(400, "; ".join(lines), param=first, code=code)


def _field(place: tuple[int | str, ...]) -> str:
    """`messages[0].content` from a pydantic location; names of union members are left out."""
    text = ""
    for part in place:
        if isinstance(part, int):
            text += f"[{part}]"
        elif re.fullmatch(r"[a-z_]+", part) and part not in {"str", "int", "float", "bool"}:
            text += f".{part}" if text else part
    return text


def _short(text: str) -> str:
    return text if len(text) <= 80 else f"{text[:80]}…"
