"""A komt engine as a model of lm-evaluation-harness. Imported on use: the harness is an optional package."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from lm_eval.api.model import TemplateLM  # type: ignore[import-untyped]
from lm_eval.models.utils import normalize_gen_kwargs  # type: ignore[import-untyped]
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window  # type: ignore[import-untyped]

from komt.errors import ModelError
from komt.example import Message
from komt.progress import progress
from komt.serve.engine import Request, Settings

_MAX_NEW_TOKENS = 256  # the harness's own default
Tokens = list[int]
# A context with how it is to be continued, and the strings that end the answer.
Wanted = tuple[str, tuple[Settings, tuple[str, ...]]]


class EngineLM(TemplateLM):  # type: ignore[misc]
    """An engine that the harness asks for likelihoods and answers.

    Texts become ids as the harness's own `hf` model encodes them, so that scores compare with published ones.
    An engine without a tokenizer (another program's API) answers conversations only.
    """

    def __init__(self, engine: Any) -> None:
        super().__init__()
        self.engine = engine
        self.tokenizer = getattr(engine, "tokenizer", None)
        self._ids = lru_cache(maxsize=4096)(self._encode)

    @property
    def eot_token_id(self) -> int:
        """The tokenizer's end token."""
        return int(self._needed_tokenizer().eos_token_id)

    @property
    def prefix_token_id(self) -> int:
        """What stands before a text that has no context: BOS, or the end token where there is none."""
        bos = self._needed_tokenizer().bos_token_id
        return self.eot_token_id if bos is None else int(bos)

    @property
    def tokenizer_name(self) -> str:
        """For the harness's cache of requests."""
        return str(getattr(self.tokenizer, "name_or_path", "")).replace("/", "__")

    @property
    def max_length(self) -> int:
        """The longest sequence that the model takes, in tokens."""
        return int(getattr(self.engine, "context_tokens", 0)) or 1 << 30

    def tok_encode(self, string: str, add_special_tokens: bool | None = None, **kwargs: Any) -> Tokens:
        """Ids of a text, with the special tokens that the tokenizer adds unless it is told not to."""
        return list(self._ids(string, add_special_tokens))

    def _encode(self, text: str, add_special_tokens: bool | None) -> Tokens:
        tokenizer = self._needed_tokenizer()
        if add_special_tokens is None and text.startswith(tokenizer.decode(self.prefix_token_id)):
            add_special_tokens = False  # a chat template has written BOS
        options = {} if add_special_tokens is None else {"add_special_tokens": add_special_tokens}
        return list(tokenizer.encode(text, **options))

    def loglikelihood(self, requests: list[Any], disable_tqdm: bool = True) -> list[tuple[float, bool]]:
        """Log-probability of each continuation after its context, and whether it is what greedy gives."""
        return list(super().loglikelihood(requests, disable_tqdm=True))

    def _loglikelihood_tokens(
        self, requests: list[tuple[Any, Tokens, Tokens]], disable_tqdm: bool = True, **kwargs: Any
    ) -> list[tuple[float, bool]]:
        if getattr(self.engine, "loglikelihoods", None) is None:
            raise ModelError(
                "this task compares how likely given texts are, which this engine does not tell",
                cure="give the model as a folder or catalogue name, or take tasks that let it write",
            )
        # Continuations of one context are asked for together; too long ones lose their beginning.
        asked: dict[tuple[int, ...], list[int]] = {}
        for place, (_, context, continuation) in enumerate(requests):
            kept = max(1, self.max_length + 1 - len(continuation))
            asked.setdefault(tuple(context[-kept:]), []).append(place)
        groups = list(asked.items())
        found: list[tuple[float, bool]] = [(0.0, False)] * len(requests)
        with progress("likelihoods", len(groups)) as advance:
            answers = self.engine.loglikelihoods(
                [(ids, [requests[place][2] for place in places]) for ids, places in groups],
                on_done=lambda _: advance(),
            )
        for (_, places), scored in zip(groups, answers, strict=True):
            for place, one in zip(places, scored, strict=True):
                found[place] = (one.total, one.greedy)
                if requests[place][0] is not None:
                    self.cache_hook.add_partial("loglikelihood", requests[place][0], found[place])
        return found

    def loglikelihood_rolling(self, requests: list[Any], disable_tqdm: bool = True) -> list[float]:
        """Log-probability of whole texts; longer ones than the context in windows, each token once."""
        windows, owners = [], []
        for place, request in enumerate(requests):
            (text,) = request.args
            for window in get_rolling_token_windows(
                token_list=self.tok_encode(text),
                prefix_token=self.prefix_token_id,
                max_seq_len=self.max_length,
                context_len=1,
            ):
                windows.append((None, *make_disjoint_window(window)))
                owners.append(place)
        totals = [0.0] * len(requests)
        for place, (value, _) in zip(owners, self._loglikelihood_tokens(windows), strict=True):
            totals[place] += value
        return totals

    def generate_until(self, requests: list[Any], disable_tqdm: bool = True) -> list[str]:
        """What the model writes after each context, up to one of its stop strings."""
        wanted = [(request.args[0], _generation(request.args[1])) for request in requests]
        with progress("answers", len(wanted)) as advance:
            if self.tokenizer is not None and hasattr(self.engine, "submit"):
                return self._submitted(wanted, advance)
            return self._answered(wanted, advance)

    def _submitted(self, wanted: Sequence[Wanted], advance: Any) -> list[str]:
        streams, texts = [], []
        try:
            for context, (settings, stop) in wanted:
                room = self.max_length - settings.max_new_tokens
                if room < 1:
                    raise ModelError(
                        f"a task asks for {settings.max_new_tokens:,} new tokens, and the model's context "
                        f"holds {self.max_length:,}"
                    )
                ids = self.tok_encode(context)[-room:]
                streams.append(self.engine.submit(Request(tuple(ids), settings, stop)))
            for stream in streams:
                texts.append("".join(piece.text for piece in stream))
                advance()
        finally:
            for stream in streams:
                stream.cancel()
        return texts

    def _answered(self, wanted: Sequence[Wanted], advance: Any) -> list[str]:
        """Greedy answers of an engine that takes conversations and no stop strings: cut afterwards."""
        texts = [""] * len(wanted)
        for most in {settings.max_new_tokens for _, (settings, _) in wanted}:
            places = [i for i, (_, (settings, _)) in enumerate(wanted) if settings.max_new_tokens == most]
            found = self.engine.answer(
                [_conversation(wanted[place][0]) for place in places],
                max_new_tokens=most,
                on_done=lambda _: advance(),
            )
            for place, completion in zip(places, found, strict=True):
                texts[place] = _cut(completion.text, wanted[place][1][1])
        return texts

    def apply_chat_template(
        self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True
    ) -> str:
        """A conversation as the model's prompt; for an engine without a tokenizer, as JSON."""
        if self.tokenizer is None:
            return json.dumps(chat_history, ensure_ascii=False)
        return str(
            self.tokenizer.apply_chat_template(
                chat_history,
                tokenize=False,
                add_generation_prompt=add_generation_prompt,
                continue_final_message=not add_generation_prompt,
            )
        )

    def _needed_tokenizer(self) -> Any:
        if self.tokenizer is None:
            raise ModelError(
                "this task needs the model's tokenizer, which this engine does not have",
                cure="give the model as a folder or catalogue name, or take tasks that let it write",
            )
        return self.tokenizer


def _generation(given: dict[str, Any]) -> tuple[Settings, tuple[str, ...]]:
    """Settings and stop strings from what a task asks for."""
    asked = normalize_gen_kwargs(given, _MAX_NEW_TOKENS)
    until = asked.get("until") or []
    stop = (until,) if isinstance(until, str) else tuple(until)
    settings = Settings(
        temperature=float(asked.get("temperature") or 0.0),
        top_p=float(asked.get("top_p") or 1.0),
        top_k=int(asked.get("top_k") or 0),
        max_new_tokens=int(asked["max_gen_toks"]),
        seed=0,
    )
    return settings, tuple(text for text in stop if text)


def _conversation(context: str) -> list[Message]:
    """The messages of a context: a conversation as JSON (see `apply_chat_template`), or one question."""
    try:
        turns = json.loads(context)
        return [Message(turn["role"], turn["content"]) for turn in turns]
    except (ValueError, TypeError, KeyError):
        return [Message("user", context)]


def _cut(text: str, stop: Sequence[str]) -> str:
    return text[: min((text.find(one) for one in stop if one in text), default=len(text))]
