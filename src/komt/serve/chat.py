"""The terminal chat."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field

from komt.encodings import sniff_encoding
from komt.errors import ModelError
from komt.example import Message
from komt.korean import nfc
from komt.serve.engine import Engine, Settings

Write = Callable[[str], None]
HELP = "/reset forgets the conversation, /quit or Ctrl-D ends, Ctrl-C stops an answer"


@dataclass
class Conversation:
    """One conversation with an engine.

    Attributes:
        system: an opening instruction, or "".
        remembers: whether later questions see earlier ones.
    """

    engine: Engine
    settings: Settings
    system: str = ""
    remembers: bool = True
    turns: list[Message] = field(default_factory=list)

    def ask(self, text: str, write: Write) -> str:
        """Stream the answer to a question into `write`, and return it.

        An interrupted answer is kept as far as it went, then KeyboardInterrupt goes on.

        Raises:
            ModelError: the conversation no longer fits into the model's context.
        """
        head = [Message("system", self.system)] if self.system else []
        asked = [*self.turns, Message("user", nfc(text))]
        said: list[str] = []
        try:
            # Closed at once when interrupted: the engine keeps its cache for the next turn.
            with closing(_as_generator(self.engine, [*head, *asked], self.settings)) as pieces:
                for piece in pieces:
                    said.append(piece)
                    write(piece)
        finally:
            answer = "".join(said).strip()
            if answer and self.remembers:
                self.turns = [*asked, Message("assistant", answer)]
        return answer

    def reset(self) -> None:
        """Forget all turns."""
        self.turns = []


def _as_generator(engine: Engine, messages: list[Message], settings: Settings) -> Generator[str, None, None]:
    yield from engine.stream(messages, settings=settings)


def talk(conversation: Conversation, read: Callable[[], str], write: Write) -> None:
    """Question and answer in turn until the questions end.

    Args:
        conversation: with whom.
        read: the next line; raises EOFError at the end, KeyboardInterrupt on Ctrl-C.
        write: shows text.
    """
    while True:
        try:
            line = as_text(read()).strip()
        except (EOFError, KeyboardInterrupt):
            write("\n")
            return
        if line in {"/quit", "/exit"}:
            return
        if line == "/reset":
            conversation.reset()
            write("(대화를 처음부터 시작합니다)\n")
        elif line.startswith("/"):
            write(f"({HELP})\n")
        elif line:
            _answer(conversation, line, write)


def _answer(conversation: Conversation, line: str, write: Write) -> None:
    try:
        conversation.ask(line, write)
    except KeyboardInterrupt:
        write(" (중단)")
    except ModelError as error:
        write(f"({error})")
    write("\n\n")


def answer_lines(conversation: Conversation, lines: Iterator[str], write: Write) -> None:
    """Questions from a pipe, a line each, as turns of one conversation; an answer ends in a line break.

    Raises:
        ModelError: the conversation no longer fits into the model's context.
    """
    for line in lines:
        text = as_text(line).strip()
        if text == "/quit":
            return
        if text == "/reset":
            conversation.reset()
        elif text:
            conversation.ask(text, write)
            write("\n")


def as_text(line: str) -> str:
    """A line from a terminal or pipe; bytes that were no UTF-8 are read as CP949 if they are that."""
    data = line.encode("utf-8", "surrogateescape")
    return str(nfc(data.decode(sniff_encoding(data) or "utf-8", "replace")))


def read_line() -> str:
    """A line from the terminal, editable."""
    with suppress(ImportError):
        import readline  # noqa: F401  (line editing that knows wide characters)
    return input("> ")


def write_out(text: str) -> None:
    """Show text at once."""
    sys.stdout.write(text)
    sys.stdout.flush()


def accept_any_bytes() -> None:
    """Let standard input hand on bytes that are no UTF-8, for `as_text` to read."""
    reconfigure = getattr(sys.stdin, "reconfigure", None)
    if reconfigure:
        reconfigure(encoding="utf-8", errors="surrogateescape")
