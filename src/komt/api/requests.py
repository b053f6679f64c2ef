"""What may be asked: requests as OpenAI's API defines them, checked strictly.

Fields that are not named here are ignored, as servers of this kind do: clients send many.
Format: https://platform.openai.com/docs/api-reference/chat/create
"""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from komt.api.errors import ApiError, invalid
from komt.korean import has_lone_surrogate, nfc

MOST_CHOICES = 64
_MOST_BIASES = 1024
_MOST_DEPTH = 64

Token = Annotated[int, Field(ge=0, lt=1 << 31)]


def _few(value: Any) -> Any:
    if isinstance(value, dict) and len(value) > _MOST_BIASES:
        raise ValueError(f"more than {_MOST_BIASES} entries")
    return value


Bias = Annotated[float, Field(ge=-100, le=100)]
Object = dict[str, Any]
# A wrong list is told by its first fault: one with a million of them would take the memory of many.
Objects = Annotated[list[Object], Field(fail_fast=True)]
Tokens = Annotated[list[Token], Field(min_length=1, fail_fast=True)]
PromptText = Annotated[str, Field(min_length=1)]
StopText = Annotated[str, Field(min_length=1, max_length=1000)]
Penalty = Annotated[float, Field(ge=-2, le=2, allow_inf_nan=False)]


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore", frozen=True, protected_namespaces=())


class StreamOptions(_Strict):
    """`stream_options`."""

    include_usage: bool | None = None


class Sampling(_Strict):
    """What chat and plain completions have in common."""

    model: Annotated[str, Field(min_length=1)]
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2, allow_inf_nan=False)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] | None = None
    top_k: Annotated[int, Field(ge=-1, lt=1 << 31)] | None = None
    seed: Annotated[int, Field(ge=-(1 << 63), lt=1 << 63)] | None = None
    stop: StopText | Annotated[list[StopText], Field(max_length=16, fail_fast=True)] | None = None
    n: Annotated[int, Field(ge=1, le=MOST_CHOICES)] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    frequency_penalty: Penalty | None = None
    presence_penalty: Penalty | None = None
    logit_bias: Annotated[dict[str, Bias], BeforeValidator(_few)] | None = None

    @model_validator(mode="after")
    def _options_of_streams(self) -> Sampling:
        if self.stream_options is not None and not self.stream:
            raise ValueError("'stream_options' is only allowed when 'stream' is true")
        return self

    @property
    def limit(self) -> int | None:
        """The most tokens of the answer, where the request names it."""
        return self.max_tokens

    @property
    def stops(self) -> tuple[str, ...]:
        """Strings that end the answer."""
        if self.stop is None:
            return ()
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop)

    @property
    def wants_usage(self) -> bool:
        """Whether a stream ends with the counts of tokens."""
        return bool(self.stream_options and self.stream_options.include_usage)


class Part(_Strict):
    """A part of a message's content."""

    type: str
    text: str | None = None

    @model_validator(mode="after")
    def _only_text(self) -> Part:
        if self.type not in {"text", "input_text"}:
            raise ValueError(f"parts of type '{self.type[:40]}' are not supported: komt's models read text")
        if self.text is None:
            raise ValueError("the part has no text")
        return self


class ChatMessage(_Strict):
    """One turn."""

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | Annotated[list[Part], Field(fail_fast=True)] | None = None
    name: str | None = None
    tool_calls: Objects | None = None
    tool_call_id: str | None = None

    @model_validator(mode="after")
    def _has_content(self) -> ChatMessage:
        if self.content is None and not (self.role == "assistant" and self.tool_calls):
            raise ValueError("the message has no content")
        return self

    @property
    def text(self) -> str:
        """All text of the message."""
        if isinstance(self.content, list):
            return "".join(part.text or "" for part in self.content)
        return self.content or ""


class JsonSchema(_Strict):
    """`response_format.json_schema`."""

    name: str = ""
    schema_: Object = Field(alias="schema")


class ResponseFormat(_Strict):
    """`response_format`."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None

    @model_validator(mode="after")
    def _has_schema(self) -> ResponseFormat:
        if self.type == "json_schema" and self.json_schema is None:
            raise ValueError("'json_schema' is missing")
        return self


class ChatRequest(Sampling):
    """POST /v1/chat/completions."""

    messages: Annotated[list[ChatMessage], Field(min_length=1, fail_fast=True)]
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    response_format: ResponseFormat | None = None
    tools: Objects | None = None
    tool_choice: str | Object | None = None

    @model_validator(mode="after")
    def _top_of_logprobs(self) -> ChatRequest:
        if self.top_logprobs is not None and not self.logprobs:
            raise ValueError("'top_logprobs' is only allowed when 'logprobs' is true")
        return self

    @property
    def limit(self) -> int | None:
        """The most tokens of the answer: `max_completion_tokens`, or its older name `max_tokens`."""
        return self.max_completion_tokens or self.max_tokens

    @property
    def likeliest(self) -> int | None:
        """How many likeliest tokens are told at each place, or None for no log-probabilities."""
        return (self.top_logprobs or 0) if self.logprobs else None

    @property
    def form(self) -> ResponseFormat | None:
        """The form that the answer must have, if any."""
        form = self.response_format
        return form if form and form.type != "text" else None

    @property
    def forced(self) -> bool:
        """Whether the answer must call a tool."""
        return self.tool_choice not in (None, "auto", "none")

    @property
    def may_call(self) -> bool:
        """Whether the answer may call a tool."""
        return bool(self.tools) and self.tool_choice != "none"


class CompletionRequest(Sampling):
    """POST /v1/completions."""

    prompt: (
        PromptText
        | Annotated[list[PromptText], Field(min_length=1, fail_fast=True)]
        | Tokens
        | Annotated[list[Tokens], Field(min_length=1, fail_fast=True)]
    )
    logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    echo: bool | None = None
    suffix: str | None = None
    best_of: int | None = None

    @model_validator(mode="after")
    def _what_is_left_out(self) -> CompletionRequest:
        if self.suffix:
            raise ValueError("'suffix' is not supported")
        if self.best_of is not None and self.best_of != (self.n or 1):
            raise ValueError("'best_of' is not supported")
        if self.echo and (self.logprobs is not None or not isinstance(self.prompts[0], str)):
            raise ValueError("'echo' is supported for prompts of text, without 'logprobs'")
        if len(self.prompts) * (self.n or 1) > MOST_CHOICES:
            raise ValueError(f"'prompt' and 'n' ask for more than {MOST_CHOICES} choices")
        return self

    @property
    def prompts(self) -> list[str | list[int]]:
        """Each prompt as text or token ids."""
        if isinstance(self.prompt, str):
            return [self.prompt]
        prompts: list[Any] = self.prompt
        return [prompts] if isinstance(prompts[0], int) else prompts

    @property
    def likeliest(self) -> int | None:
        """How many likeliest tokens are told at each place, or None for no log-probabilities."""
        return self.logprobs


Asked = TypeVar("Asked", ChatRequest, CompletionRequest)


def parse(kind: type[Asked], data: bytes) -> Asked:
    """Read and check a request's body; its texts are brought to NFC, as everywhere in komt.

    Raises:
        ApiError: 400, with the field that is wrong.
    """
    value = _json(data)
    if not isinstance(value, dict):
        raise ApiError(400, "the body is not a JSON object", code="invalid_json")
    if _deeper_than(value, _MOST_DEPTH):
        raise ApiError(400, f"the body is nested more than {_MOST_DEPTH} deep", code="invalid_json")
    if has_lone_surrogate(value):
        raise ApiError(
            400,
            "a text holds half a surrogate pair, as \\ud800, which stands for no letter",
            code="invalid_text",
        )
    if "model" not in value:
        raise ApiError(
            400, "you must provide a model parameter", param="model", code="missing_required_parameter"
        )
    try:
        return kind.model_validate(nfc(value))
    except ValidationError as error:
        raise invalid(error) from None


def _json(data: bytes) -> Any:
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ApiError(
            400, f"the body is not UTF-8 (byte {error.start} of {len(data)})", code="invalid_utf8"
        ) from None
    try:
        return json.loads(text, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise ApiError(400, f"the body is not JSON: {error.msg} ({where})", code="invalid_json") from None
    except (ValueError, RecursionError) as error:
        what = "nested too deep" if isinstance(error, RecursionError) else "a number is out of range"
        raise ApiError(400, f"the body is not JSON: {what}", code="invalid_json") from None


def _no_constant(_: str) -> Any:
    raise ValueError


def _deeper_than(value: Any, levels: int) -> bool:
    """Whether lists and objects are nested deeper; level by level, without recursion."""
    layer = [value]
    for _ in range(levels):
        layer = [
            inner
            for outer in layer
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, (dict, list))
        ]
        if not layer:
            return False
    return True
