"""The engine over llama.cpp: GGUF files, computed by llama.cpp's own server inside this process."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from komt.errors import ModelError
from komt.example import Message
from komt.models.llama_cpp import LlamaServer
from komt.serve.engine import Completion, EngineByIds, Settings

OWN_ADAPTER = "default"


class LlamaCppEngine(EngineByIds):
    """A GGUF model as an engine; closing it stops its server.

    Attributes:
        server: llama.cpp's own server, for programs that speak HTTP.
        loglikelihood: None: llama.cpp's server tells nothing of how likely it holds a given text.
    """

    loglikelihood = None

    def __init__(self, server: LlamaServer) -> None:
        self.server = server
        # As with the other engines: a model's own adapter is on, those beside it only where asked for.
        self._lora = server.lora(OWN_ADAPTER if OWN_ADAPTER in server.adapters else "")

    @property
    def adapters(self) -> tuple[str, ...]:
        """Names of the LoRA adapters."""
        return self.server.adapters

    @property
    def context_tokens(self) -> int:
        """What a prompt and its answer may hold together."""
        return self.server.context_tokens

    def prompt_ids(self, messages: Sequence[Message]) -> list[int]:
        """Token ids of a conversation, by the template and tokenizer of the GGUF file.

        Raises:
            ModelError: the template refuses the messages.
        """
        asked = [message.as_chat() for message in messages]
        text = self.server.post("/apply-template", {"messages": asked})["prompt"]
        body = {"content": text, "add_special": True, "parse_special": True}
        return [int(token) for token in self.server.post("/tokenize", body)["tokens"]]

    def generate(
        self,
        prompts: Sequence[Sequence[int]],
        *,
        max_new_tokens: int,
        batch_tokens: int = 0,
        on_done: Callable[[int], None] | None = None,
    ) -> list[Completion]:
        """Greedy answers, in the prompts' order; as many at a time as the server has slots.

        Args:
            prompts: token ids, each of at least one token.
            max_new_tokens: the longest answer.
            batch_tokens: not heeded: llama.cpp batches by slots.
            on_done: told the place of each prompt that is finished.

        Raises:
            ModelError: a prompt and its answer do not fit into the context.
        """
        for prompt in prompts:
            self._check_length(len(prompt), max_new_tokens)
        greedy = Settings(temperature=0, max_new_tokens=max_new_tokens)

        def complete(place: int) -> Completion:
            answer = self.server.post("/completion", self._body(prompts[place], greedy))
            if on_done:
                on_done(place)
            return _completion(answer)

        # Prompts that begin alike stand together, so that a slot's cache serves the next one.
        order = sorted(range(len(prompts)), key=lambda place: list(prompts[place]))
        with ThreadPoolExecutor(self.server.slots) as pool:
            found = dict(zip(order, pool.map(complete, order), strict=True))
        return [found[place] for place in range(len(prompts))]

    def stream(self, messages: Sequence[Message], *, settings: Settings | None = None) -> Iterator[str]:
        """Pieces of one answer as they come, never a broken syllable.

        Raises:
            ModelError: the conversation does not fit into the context.
        """
        prompt = self.prompt_ids(messages)
        self._check_length(len(prompt), 1)
        for event in self.server.stream("/completion", self._body(prompt, settings or Settings())):
            if text := str(event["content"]).replace("\ufffd", ""):
                yield text

    def close(self) -> None:
        """Stop the server and free the model."""
        self.server.close()

    def _body(self, prompt: Sequence[int], settings: Settings) -> dict[str, Any]:
        """A request of `/completion` that samples as the other engines do."""
        return {
            "prompt": list(map(int, prompt)),
            "n_predict": settings.max_new_tokens,
            "temperature": settings.temperature,
            "top_k": settings.top_k,
            "top_p": settings.top_p,
            "min_p": 0.0,
            "samplers": ["temperature", "top_k", "top_p"],
            "seed": -1 if settings.seed is None else settings.seed % (1 << 32),
            "return_tokens": True,
            "cache_prompt": True,
            "lora": self._lora,
        }

    def _check_length(self, prompt: int, new: int) -> None:
        if prompt == 0:
            raise ModelError("the prompt is empty")
        if prompt + new > self.context_tokens:
            raise ModelError(
                f"a prompt of {prompt:,} tokens and {new:,} for the answer do not fit into the context of "
                f"{self.context_tokens:,}",
                cure="shorten the prompt (in a chat: /reset), or load the model with a larger context",
            )


def _completion(answer: dict[str, Any]) -> Completion:
    ended = answer["stop_type"] == "eos"
    tokens = [int(token) for token in answer["tokens"]]
    # The end token is told among the tokens, and is no part of the text.
    ids = tokens[:-1] if ended and tokens else tokens
    return Completion(tuple(ids), str(answer["content"]).replace("\ufffd", ""), ended)
