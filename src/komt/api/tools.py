"""Tools that an answer may call: what llama.cpp is told of them, and what is refused.

Format: https://platform.openai.com/docs/api-reference/chat/create (tools, tool_choice)
"""

from __future__ import annotations

from typing import Any

from komt.api.errors import ApiError, unsupported
from komt.api.requests import ChatRequest

Json = dict[str, Any]


def check_tools(asked: ChatRequest, *, known: bool, forms: bool) -> None:
    """Refuse what would be left out in silence.

    Args:
        asked: the request.
        known: whether the model's template has a place for tools.
        forms: whether an answer can have the form of `response_format` where it may also be a call.

    Raises:
        ApiError: 400.
    """
    why = "the model's chat template has no place for tools"
    if asked.tools and not known:
        raise unsupported("tools", why)
    for place, message in enumerate(asked.messages):
        if not known and (message.role in {"tool", "function"} or message.tool_calls):
            raise unsupported(f"messages[{place}]", why)
    if asked.forced and not asked.tools:
        raise ApiError(400, "'tool_choice' is only allowed when 'tools' are specified", param="tool_choice")
    if asked.form and asked.may_call and not forms:
        raise unsupported(
            "response_format",
            "this engine cannot hold an answer to a form and let it call tools, too; leave one of them out, "
            "or set 'tool_choice' to \"none\"",
        )


def fields_of(asked: ChatRequest, *, by_name: bool) -> Json:
    """The fields of a request that speak of tools.

    Args:
        asked: the request.
        by_name: whether the server there knows a choice of one tool by its name; else it is told of that one
            alone, and that it must call it.

    Raises:
        ApiError: 400, no tool has that name.
    """
    if not asked.tools:
        return {}
    choice = "auto" if asked.tool_choice is None else asked.tool_choice
    if by_name or isinstance(choice, str):
        return {"tools": asked.tools, "tool_choice": choice}
    named = [tool for tool in asked.tools if _name(tool) == _name(choice)]
    if not named:
        raise ApiError(
            400, "tool_choice: 'tools' has none of that name", param="tool_choice", code="invalid_value"
        )
    return {"tools": named, "tool_choice": "required"}


def _name(tool: Json) -> Any:
    function = tool.get("function")
    return function.get("name") if isinstance(function, dict) else None
