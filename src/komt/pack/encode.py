"""Examples to token sequences: the prompt as serving encodes it, the answer encoded apart and supervised."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from komt.errors import ModelError
from komt.example import Message
from komt.models.template import Frame, end_text, framable, frame_of, render
from komt.pack.segments import encode_texts
from komt.pack.words import Ids
from komt.recipe import Supervise

# Tried in turn; the prompt of komt's template ends in the first.
_ANCHORS = ("\n", "0", "\u00a7", "\ud7a3")
_PROBES = ("가", " 두  칸\n\n줄 ", "What is 1 + 1?", "㈜ 한글 ㎏ ﬁ …", "<s>[INST] 글 </s>", "🙂 뷁")


@dataclass(frozen=True, slots=True)
class TokenSequence:
    """One supervised turn with all that stands before it.

    Attributes:
        ids: tokens from BOS to the end token, (L,), int32.
        weights: weight in the loss of predicting each token, 0 where it is not supervised, (L,), float32.
        example: id of the example; task and group: the example's.
    """

    ids: Ids
    weights: npt.NDArray[np.float32]
    example: str
    task: str = ""
    group: str = ""

    def __len__(self) -> int:
        return len(self.ids)


class Conversation(Protocol):
    """What is encoded: an Example, or so much of it."""

    @property
    def id(self) -> str:
        """The example's id."""

    @property
    def task(self) -> str:
        """Its task."""

    @property
    def group(self) -> str:
        """Its passage."""

    @property
    def messages(self) -> Sequence[Message]:
        """Its turns."""


def encode(
    tokenizer: Any, examples: Sequence[Conversation], supervise: Supervise = "answers"
) -> list[TokenSequence]:
    """One sequence per supervised turn, so that a template which rewrites earlier turns stays exact.

    Turns of one conversation share their beginning, which packing then computes once.

    Args:
        tokenizer: with a chat template.
        examples: conversations; one in which no turn is supervised gives no sequence.
        supervise: "answers": the turns that are marked so; "last": the last of them; "all_turns": every turn
            of the assistant; "text": every token after BOS, up to the end of the assistant's last turn.

    Raises:
        ModelError: the template cannot render an example, or doubles or loses BOS.
    """
    turns = [(example, i) for example in examples for i in trained_turns(example, supervise)]
    prompts, answers = [], []
    end = end_text(tokenizer)
    frame = frame_of(tokenizer)
    for example, i in turns:
        prompt, answer = _framed(frame, example.messages) or split_turn(
            tokenizer, example.messages[: i + 1], end
        )
        prompts.append(prompt)
        answers.append(answer)
    prompt_tokens = _encode_prompts(tokenizer, prompts)
    answer_tokens = encode_answers(tokenizer, answers)
    examples = [example for example, _ in turns]
    return _sequences(examples, prompt_tokens, answer_tokens, whole=supervise == "text")


def _framed(frame: Frame | None, messages: Sequence[Message]) -> tuple[str, str] | None:
    """`split_turn` of one question and its answer, where the template only frames them."""
    if frame is None or len(messages) != 2 or messages[0].role != "user" or messages[1].role != "assistant":
        return None
    question, answer = messages[0].content, messages[1].content
    if not framable(question) or not framable(answer):
        return None
    return f"{frame.before}{question}{frame.between}", f"{answer}{frame.end}"


def prompt_ids(tokenizer: Any, messages: Sequence[Message]) -> list[int]:
    """Token ids that serving gives the model for a conversation: exactly one BOS, ready for the answer."""
    ids: list[int] = _encode_prompts(tokenizer, [render(tokenizer, messages, answering=True)])[0].tolist()
    return ids


def supervised_turns(example: Conversation) -> Iterator[int]:
    """Places of the turns that are trained on."""
    return (i for i, message in enumerate(example.messages) if message.supervised)


def trained_turns(example: Conversation, supervise: Supervise) -> list[int]:
    """Places of the turns that a way of supervision ends a sequence with; see `encode`."""
    if supervise in {"answers", "last"}:
        turns = list(supervised_turns(example))
    else:
        turns = [i for i, message in enumerate(example.messages) if message.role == "assistant"]
    return turns[-1:] if supervise in {"last", "text"} else turns


def split_turn(tokenizer: Any, messages: Sequence[Message], end: str) -> tuple[str, str]:
    """Text before the last message as serving renders it, and that message's text with its end token.

    Raises:
        ModelError: the template's rendering of the answer does not continue its generation prompt.
    """
    prompt = render(tokenizer, messages[:-1], answering=True)
    full = render(tokenizer, messages, answering=False)
    at = full.rfind(end)
    if not full.startswith(prompt) or at < len(prompt):
        raise ModelError(
            "the chat template renders the answer otherwise than it prompts for one",
            where=f"prompt ends in {prompt[-40:]!r}, whole ends in {full[-60:]!r}",
            cure="use a tokenizer whose template continues its own generation prompt",
        )
    return prompt, full[len(prompt) : at + len(end)]


def encode_answers(tokenizer: Any, texts: Sequence[str]) -> list[Ids]:
    """Ids of texts that continue a prompt: no BOS, and no dummy space of SentencePiece in front."""
    if not _adds_dummy_space(tokenizer):
        return _ids(tokenizer, texts)
    # A character in front takes the dummy space upon itself; both are then cut away. A vocabulary may hold a
    # token that joins that character to the text: the next one is tried.
    found: dict[int, Ids] = {}
    for anchor in _ANCHORS:
        before = _ids(tokenizer, [anchor])[0]
        left = [place for place in range(len(texts)) if place not in found]
        for place, joined in zip(left, _ids(tokenizer, [anchor + texts[i] for i in left]), strict=True):
            if np.array_equal(joined[: len(before)], before):
                found[place] = joined[len(before) :]
    for place, text in enumerate(texts):
        if place not in found:
            raise ModelError(f"the tokenizer cannot encode {text[:20]!r} apart from what stands before it")
    return [found[place] for place in range(len(texts))]


def _encode_prompts(tokenizer: Any, texts: Sequence[str]) -> list[Ids]:
    """Joint ids of rendered prompts, with exactly one BOS where the model has one in use."""
    encoded = _ids(tokenizer, texts)
    bos = tokenizer.bos_token_id
    if bos is None:
        return encoded
    adds_bos = _adds_bos(tokenizer)
    for place, ids in enumerate(encoded):
        if adds_bos and (not len(ids) or ids[0] != bos):
            encoded[place] = ids = np.concatenate((np.array([bos], np.int32), ids))
        if len(ids) > 1 and ids[0] == ids[1] == bos:
            raise ModelError("the chat template writes BOS twice", cure="mend the model's chat template")
    return encoded


def _ids(tokenizer: Any, texts: Sequence[str]) -> list[Ids]:
    if not texts:
        return []
    if not _is_its_backend(tokenizer):
        return [np.asarray(ids, np.int32) for ids in _called(tokenizer, texts)]
    return encode_texts(tokenizer, texts)


def _called(tokenizer: Any, texts: Sequence[str]) -> list[list[int]]:
    return list(tokenizer(list(texts), add_special_tokens=False, return_attention_mask=False).input_ids)


# What these three find out does not change, and calling a tokenizer for one text takes as long as for many.
@lru_cache(maxsize=8)
def _is_its_backend(tokenizer: Any) -> bool:
    """Whether the tokenizer's call gives what its Rust part gives, which alone takes half the time."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return False
    texts = [*_PROBES, *map(str, tokenizer.all_special_tokens)]
    called = _called(tokenizer, texts)
    return called == [encoding.ids for encoding in backend.encode_batch_fast(texts, add_special_tokens=False)]


@lru_cache(maxsize=8)
def _adds_bos(tokenizer: Any) -> bool:
    return tokenizer.bos_token_id in tokenizer("가").input_ids[:1]


@lru_cache(maxsize=8)
def _adds_dummy_space(tokenizer: Any) -> bool:
    first = tokenizer.convert_ids_to_tokens(int(_ids(tokenizer, ["가"])[0][0]))
    return bool(str(first).startswith("▁"))


def _sequences(
    examples: Sequence[Conversation], before: Sequence[Ids], after: Sequence[Ids], *, whole: bool
) -> list[TokenSequence]:
    """One sequence an example; all of them lie in one array, which takes a fifth of the time of one each."""
    if not examples:
        return []
    parts = list(chain.from_iterable(zip(before, after, strict=True)))
    lengths = np.fromiter(map(len, parts), np.int64, len(parts))
    ids = np.concatenate(parts)
    weights = np.repeat(np.tile(np.array([whole, True], np.float32), len(examples)), lengths)
    ends = np.cumsum(lengths)[1::2]
    starts = np.concatenate(([0], ends[:-1]))
    weights[starts] = 0.0  # nothing stands before the first token to predict it from
    places = zip(examples, starts.tolist(), ends.tolist(), strict=True)
    return [
        TokenSequence(ids[start:end], weights[start:end], one.id, one.task, one.group)
        for one, start, end in places
    ]
