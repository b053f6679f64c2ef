"""Conversations as the browser keeps them: plain JSON, changed by functions that give a new one."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from komt.korean import nfc
from komt.web.settings import is_number, sound_settings

# A conversation: {id, title, created, model, system, settings, messages}; a message: {role, content} and, of
# an answer, what `Answer.as_turn` gives. The store: {version, changed, current, conversations}.
Talk = dict[str, Any]
Store = dict[str, Any]
Turn = dict[str, Any]

VERSION = 1
# What a browser keeps for one page is 5 million characters, of text that is written in Base64.
_MOST_BYTES = 3_000_000
_TITLE_CHARACTERS = 40
_ROLES = ("system", "user", "assistant")


class NotAConversation(Exception):
    """What was to be imported is not a conversation; the text is a key of the words."""


def new_talk(model: str = "", system: str = "", settings: Mapping[str, Any] | None = None) -> Talk:
    """An empty conversation."""
    return {
        "id": uuid.uuid4().hex,
        "title": "",
        "created": round(time.time()),
        "model": model,
        "system": system,
        "settings": dict(settings or {}),
        "messages": [],
    }


def opened(store: Any) -> Store:
    """What the browser kept, made sound: unreadable conversations are left out, one is the current one."""
    kept = store if isinstance(store, dict) and store.get("version") == VERSION else {}
    talks = []
    records = kept.get("conversations")
    for record in records if isinstance(records, list) else []:
        try:
            talks.append(talk_from(record))
        except NotAConversation:
            continue
    if not talks:
        talks = [new_talk()]
    current = kept.get("current")
    known = [talk["id"] for talk in talks]  # no set: what was kept may be anything, also what has no hash
    return {
        "version": VERSION,
        "changed": _sound(str(kept.get("changed") or ""))[:64],
        "current": current if current in known else talks[0]["id"],
        "conversations": talks,
    }


def current(store: Store) -> Talk:
    """The conversation that is shown."""
    return next(talk for talk in store["conversations"] if talk["id"] == store["current"])


def with_talk(store: Store, talk: Talk) -> Store:
    """The store with this conversation in place of its former self, or first; it is the current one.

    Where all together are more than a browser keeps, the oldest go; none for one that alone is more (`fits`).
    """
    talks = list(store["conversations"])
    places = [place for place, other in enumerate(talks) if other["id"] == talk["id"]]
    if places:
        talks[places[0]] = talk
    else:
        talks.insert(0, talk)
    sizes = {other["id"]: _bytes(other) for other in talks}
    while len(talks) > 1 and sum(sizes.values()) > _MOST_BYTES >= sizes[talk["id"]]:
        gone = next(other for other in reversed(talks) if other["id"] != talk["id"])
        talks.remove(gone)
        del sizes[gone["id"]]
    return _store(talks, talk["id"])


def fits(talk: Talk) -> bool:
    """Whether a browser can keep this conversation at all."""
    return _bytes(talk) <= _MOST_BYTES


def without_current(store: Store) -> Store:
    """The store without the current conversation; the next one is shown, or an empty one."""
    gone = current(store)
    talks = [talk for talk in store["conversations"] if talk["id"] != gone["id"]]
    if not talks:
        talks = [new_talk(gone["model"], gone["system"], gone["settings"])]
    return _store(talks, talks[0]["id"])


def _store(talks: list[Talk], current: str) -> Store:
    changed = uuid.uuid4().hex  # By it other tabs of the browser see that something has changed.
    return {"version": VERSION, "changed": changed, "current": current, "conversations": talks}


def selected(store: Store, name: str) -> Store:
    """The store with another conversation shown; an unknown one changes nothing."""
    known = {talk["id"] for talk in store["conversations"]}
    return {**store, "current": name if name in known else store["current"]}


def started(store: Store) -> Store:
    """The store with an empty conversation shown; one that is empty already is used."""
    now = current(store)
    empty = next((talk for talk in store["conversations"] if not talk["messages"]), None)
    fresh = empty or new_talk()
    return with_talk(store, {**fresh, **{key: now[key] for key in ("model", "system", "settings")}})


def asked(talk: Talk, text: str) -> Talk:
    """The conversation with a question more; the first one gives the title."""
    text = nfc(_sound(text)).strip()
    messages = [*talk["messages"], {"role": "user", "content": text}]
    return {**talk, "messages": messages, "title": talk["title"] or _title(text)}


def cut_before_answer(talk: Talk) -> Talk:
    """The conversation up to its last question, for another answer to it."""
    messages = list(talk["messages"])
    while messages and messages[-1]["role"] == "assistant":
        messages.pop()
    return {**talk, "messages": messages}


def edited(talk: Talk, place: int, text: str) -> Talk:
    """The conversation with one turn changed: after a changed question all that followed goes."""
    messages = list(talk["messages"])
    if not 0 <= place < len(messages):
        return talk
    text = nfc(_sound(text)).strip()
    if messages[place]["role"] == "user":
        title = _title(text) if place == 0 else talk["title"]
        return {**talk, "messages": [*messages[:place], {"role": "user", "content": text}], "title": title}
    messages[place] = {**messages[place], "content": text}
    return {**talk, "messages": messages}


def answered(talk: Talk, answer: Turn) -> Talk:
    """The conversation with an answer more; an empty one is left out."""
    if not answer["content"]:
        return talk
    return {**talk, "messages": [*talk["messages"], {"role": "assistant", **answer}]}


def request_messages(talk: Talk) -> list[dict[str, str]]:
    """What the API is sent: the system prompt, if any, and the turns.

    Questions that were left without an answer stand together with the next one: many templates want turns to
    alternate.
    """
    system = nfc(talk["system"]).strip()
    head = [{"role": "system", "content": system}] if system else []
    turns = [{"role": turn["role"], "content": turn["content"]} for turn in talk["messages"]]
    return [*head, *_alternating(turns)]


def _alternating(turns: list[dict[str, str]]) -> list[dict[str, str]]:
    merged: list[dict[str, str]] = []
    for turn in turns:
        if merged and merged[-1]["role"] == turn["role"]:
            merged[-1] = {**turn, "content": f"{merged[-1]['content']}\n\n{turn['content']}"}
        else:
            merged.append(turn)
    return merged


def talk_from(record: Any) -> Talk:
    """A conversation from an exported file or from the browser; unknown keys are left out.

    Raises:
        NotAConversation: a key of the words that says why.
    """
    if not isinstance(record, dict) or not isinstance(record.get("messages"), list):
        raise NotAConversation("import.no_messages")
    turns = [_turn(turn) for turn in record["messages"]]
    system = record.get("system")
    if turns and turns[0]["role"] == "system":
        system = turns.pop(0)["content"]
    roles = [turn["role"] for turn in turns]
    if "system" in roles:
        raise NotAConversation("import.bad_role")
    created: Any = record.get("created")
    first = next((turn["content"] for turn in turns if turn["role"] == "user"), "")
    return {
        "id": _sound(str(record.get("id") or uuid.uuid4().hex))[:64],
        "title": _sound(str(record.get("title") or _title(first)))[: _TITLE_CHARACTERS + 2],
        "created": int(created) if is_number(created) else round(time.time()),
        "model": _sound(str(record.get("model") or "")),
        "system": _sound(str(system or "")),
        "settings": sound_settings(record.get("settings")),
        "messages": turns,
    }


def imported(text: str) -> Talk:
    """The conversation of an exported file, or of a line or list of chat messages; it gets an id of its own.

    Raises:
        NotAConversation: no JSON, or not a conversation.
    """
    try:
        record = json.loads(text.removeprefix("\ufeff"))
    except (ValueError, RecursionError) as error:
        raise NotAConversation("import.no_json") from error
    if isinstance(record, list):
        record = {"messages": record}
    talk = talk_from(record)
    if not talk["messages"]:
        raise NotAConversation("import.no_messages")
    if not fits(talk):
        raise NotAConversation("import.too_big")
    return {**talk, "id": uuid.uuid4().hex}


def _turn(turn: Any) -> Turn:
    if not isinstance(turn, dict) or turn.get("role") not in _ROLES:
        raise NotAConversation("import.bad_role")
    known = ("prompt_tokens", "tokens", "pieces", "first_s", "seconds", "speed")
    kept = {"role": turn["role"], "content": nfc(_sound(_content(turn.get("content"))))}
    numbers = {key: turn[key] for key in known if is_number(turn.get(key))}
    return kept | _texts(turn, ("model", "ended")) | numbers


def _content(content: Any) -> str:
    """The text of a turn: a string, or the list of text parts that OpenAI's API also takes."""
    if isinstance(content, list):
        texts = [part.get("text") if isinstance(part, dict) else None for part in content]
        known = [text for text in texts if isinstance(text, str)]
        content = "".join(known) if len(known) == len(texts) else None
    if not isinstance(content, str):
        raise NotAConversation("import.bad_content")
    return content


def _sound(text: str) -> str:
    """Text that can be written as UTF-8: halves of a surrogate pair are put together, lone ones replaced."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _texts(record: Mapping[str, Any], keys: Sequence[str]) -> dict[str, str]:
    return {key: _sound(record[key]) for key in keys if isinstance(record.get(key), str)}


def _title(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _TITLE_CHARACTERS else f"{line[:_TITLE_CHARACTERS].rstrip()}…"


def _bytes(talk: Talk) -> int:
    return len(json.dumps(talk, ensure_ascii=False).encode())
