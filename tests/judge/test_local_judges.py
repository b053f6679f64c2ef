"""Judges of this machine: engines as transports, and names that change when a model does."""

import asyncio

from komt.example import Message
from komt.judge.ask import Asker
from komt.judge.call import Call
from komt.judge.judges import Opening, identity, open_transport, shown_name
from komt.judge.ledger import Ledger
from komt.testing import tiny_gguf, tiny_model_folder


def asked(opening, ledger, texts, max_tokens=6):
    judge = identity(opening)
    settings = {"max_tokens": max_tokens, "temperature": 0.0}
    calls = [Call(judge, "single", (Message("user", text),), (), settings) for text in texts]

    async def go():
        transport = open_transport(opening, judge)
        try:
            return await Asker(transport, ledger, run="r").ask(calls)
        finally:
            await transport.close()

    found = asyncio.run(go())
    return [found.replies.get(call.key) for call in calls], found


def test_an_engine_of_this_process_answers_as_a_transport(tmp_path):
    folder = tiny_model_folder(tmp_path / "작은", "llama")
    with Ledger(tmp_path / "l.sqlite") as ledger:
        opening = Opening(str(folder), bits=32)
        texts = [f"질문 {n}" for n in range(9)]
        replies, found = asked(opening, ledger, texts)
        assert found.new == 9
        assert all(reply.completion_tokens in range(1, 7) for reply in replies)
        assert all(reply.cut == (reply.completion_tokens == 6) for reply in replies)
        assert all(reply.prompt_tokens > 5 for reply in replies)
        # A prompt that does not fit is told for that call, and stops no other.
        replies, found = asked(opening, ledger, ["가" * 5000, "새 질문"])
        assert replies[0] is None
        assert "do not fit into the context of 4,096" in next(iter(found.failed.values()))
        assert found.new == 1


def test_llama_cpp_answers_as_a_transport(tmp_path):
    with Ledger(tmp_path / "l.sqlite") as ledger:
        opening = Opening(str(tiny_gguf(tmp_path / "작은.gguf")), context=512)
        replies, found = asked(opening, ledger, [f"질문 {n}" for n in range(9)])
        assert found.new == 9
        assert all(reply.completion_tokens in range(1, 7) and reply.prompt_tokens > 5 for reply in replies)


def test_a_model_with_other_weights_is_another_judge(tmp_path):
    folders = [tiny_model_folder(tmp_path / str(seed) / "모델", "llama", seed=seed) for seed in (0, 1)]
    names = [identity(Opening(str(folder))) for folder in folders]
    assert names[0] != names[1]
    assert identity(Opening(str(folders[0]), bits=32)) != names[0]
    assert all(name.startswith("모델@") for name in names)
    files = [tiny_gguf(tmp_path / f"{seed}.gguf", seed=seed) for seed in (0, 1)]
    assert len({identity(Opening(str(file))).partition("@")[2] for file in files}) == 2
    address = Opening("http://127.0.0.1:9/v1/#org/judge")
    assert identity(address) == "http://127.0.0.1:9/v1#org/judge"
    assert shown_name(address, identity(address)) == "org/judge"
    assert shown_name(Opening(str(folders[0])), names[0]) == "모델"
