"""The terminal chat, with an engine whose answers are known."""

import pytest

from komt.errors import ModelError
from komt.example import Message
from komt.serve.chat import Conversation, answer_lines, as_text, talk
from komt.serve.engine import Settings


class Counter:
    """Answers with how many messages it was given; `interrupt` presses Ctrl-C in the middle."""

    def __init__(self, interrupt: bool = False, full: bool = False) -> None:
        self.seen: list[list[Message]] = []
        self.interrupt, self.full, self.closed = interrupt, full, 0

    def stream(self, messages, *, settings=None):
        self.seen.append(list(messages))
        if self.full:
            raise ModelError("the prompt does not fit", cure="/reset")
        try:
            yield "메시지 "
            if self.interrupt:
                raise KeyboardInterrupt
            yield f"{len(messages)}개"
        finally:
            self.closed += 1


def talk_with(engine, lines, **options) -> str:
    shown: list[str] = []
    source = iter(lines)

    def read() -> str:
        line = next(source, None)
        if line is None:
            raise EOFError
        if line == "^C":
            raise KeyboardInterrupt
        return line

    talk(Conversation(engine, Settings(), **options), read, shown.append)
    return "".join(shown)


def test_a_talk_goes_on_over_turns_and_reset_forgets():
    engine = Counter()
    shown = talk_with(engine, ["안녕", "", "또 안녕", "/reset", "새로"], system="짧게")
    assert "메시지 2개\n\n메시지 4개\n\n" in shown
    assert shown.endswith("메시지 2개\n\n\n")
    assert [message.role for message in engine.seen[1]] == ["system", "user", "assistant", "user"]
    assert engine.seen[1][2].content == "메시지 2개"


def test_quit_ends_and_an_unknown_command_is_explained():
    engine = Counter()
    assert "/reset" in talk_with(engine, ["/help", "/quit", "안 물음"])
    assert engine.seen == []


def test_ctrl_c_stops_the_answer_and_at_the_prompt_the_talk():
    engine = Counter(interrupt=True)
    shown = talk_with(engine, ["안녕", "또", "^C", "안 물음"])
    assert shown.count("메시지  (중단)") == 2
    assert [m.content for m in engine.seen[1]] == ["안녕", "메시지", "또"]
    assert len(engine.seen) == engine.closed == 2


def test_a_conversation_that_no_longer_fits_says_so_and_goes_on():
    assert "does not fit" in talk_with(Counter(full=True), ["안녕", "/quit"])


def test_a_conversation_without_memory_asks_each_question_alone():
    engine = Counter()
    talk_with(engine, ["하나", "둘"], remembers=False)
    assert [len(messages) for messages in engine.seen] == [1, 1]


def test_piped_lines_are_turns():
    engine, shown = Counter(), []
    answer_lines(
        Conversation(engine, Settings()), iter(["안녕\n", "\n", "둘\n", "/reset\n", "셋"]), shown.append
    )
    assert "".join(shown) == "메시지 1개\n메시지 3개\n메시지 1개\n"


@pytest.mark.parametrize("encoding", ["utf-8", "cp949"])
def test_bytes_of_either_encoding_are_read(encoding):
    assert as_text("고양이는?".encode(encoding).decode("utf-8", "surrogateescape")) == "고양이는?"


def test_decomposed_syllables_are_composed():
    assert as_text("\u1100\u1161") == "가"
