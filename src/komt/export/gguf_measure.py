"""What a GGUF file computes: through llama.cpp, and with its weights put back into transformers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from komt.errors import ModelError
from komt.example import Message
from komt.export.gguf_file import GgufFile, Tensor, read_gguf
from komt.export.measure import Agreement
from komt.models.llama_cpp import LlamaServer

# Stretches of the text that are computed at the same time: more would compute more beginnings anew.
AT_ONCE = 4
_GREEDY: Mapping[str, Any] = {
    "temperature": 0,
    "samplers": ["temperature"],
    "return_tokens": True,
    "cache_prompt": True,
}


def likeliest(server: LlamaServer, ids: Sequence[int], adapter: str | None = None) -> list[int]:
    """llama.cpp's likeliest token after each of the text's beginnings, teacher-forced: len(ids) - 1 tokens.

    The server gives no probabilities of a prompt, but writes one token after it. Each slot has a stretch of
    the text: its first request computes what stands before, and each later one is one token longer than the
    last, whose computation the slot keeps. So the weights are read once for a token of every slot.

    Raises:
        ModelError: the server refuses.
    """
    lora = {"lora": server.lora(adapter)} if server.adapters else {}
    ends = range(1, len(ids))
    each = -(-len(ends) // server.slots)

    def stretch(slot: int) -> list[int]:
        chosen = []
        for end in ends[slot * each : (slot + 1) * each]:
            prompt = [int(token) for token in ids[:end]]
            body = {**_GREEDY, **lora, "prompt": prompt, "n_predict": 1, "id_slot": slot}
            chosen.append(int(server.post("/completion", body)["tokens"][0]))
        return chosen

    with ThreadPoolExecutor(server.slots) as pool:
        return [token for part in pool.map(stretch, range(server.slots)) for token in part]


def against(logits: Any, chosen: Sequence[int]) -> Agreement:
    """Compare chosen tokens with reference logits, (positions, vocabulary)."""
    import torch

    picks = torch.tensor(list(chosen))
    rows = torch.arange(len(picks))
    best = logits.argmax(-1)
    behind = logits[rows, best] - logits[rows, picks.clamp(max=logits.shape[-1] - 1)]
    return Agreement(len(picks), int((best == picks).sum()), float(behind.max()))


def put_weights(model: Any, path: Path) -> int:
    """Put a GGUF file's matrices into a model of the same shape, in place; norms stay the model's own.

    Tensors are read one after another, a few rows at a time.

    Args:
        model: as transformers loads the folder that the file was made from, in fp32.
        path: the GGUF file.

    Returns:
        How many matrices were put in.

    Raises:
        ModelError: the file holds a matrix that the model has not, or the other way round.
    """
    import torch

    file = read_gguf(path)
    places = _places(model, file)
    matrices = [tensor for tensor in file.tensors if len(tensor.shape) > 1]
    if strange := sorted({tensor.name for tensor in matrices} - set(places)):
        raise ModelError(f"the model has no weight for {strange[0]}", where=str(path))
    with torch.no_grad():
        for tensor in matrices:
            weight = places.pop(tensor.name)
            values = np.concatenate(list(file.weights(tensor)))
            values = _unpermuted(values, file, tensor)
            weight[: len(values)].copy_(torch.from_numpy(values))
    if places:
        raise ModelError(f"the GGUF file has no weight {sorted(places)[0]}", where=str(path))
    return len(matrices)


def _places(model: Any, file: GgufFile) -> dict[str, Any]:
    """The model's matrices by GGUF name; a head tied to the embeddings is not named twice."""
    import gguf

    architectures = {name: number for number, name in gguf.MODEL_ARCH_NAMES.items()}
    layers = int(model.config.get_text_config().num_hidden_layers)
    names = gguf.get_tensor_name_map(architectures[file.header.architecture], layers)
    found = {}
    for name, weight in model.named_parameters():
        known = names.get_name(name, try_suffixes=(".weight", ".bias"))
        if known is not None and weight.ndim > 1:
            found[str(known)] = weight
    return found


def _unpermuted(values: Any, file: GgufFile, tensor: Tensor) -> Any:
    """llama.cpp's `llama` keeps the rows of queries and keys in another order, for its rotary embedding."""
    if file.header.architecture != "llama" or not tensor.name.endswith(("attn_q.weight", "attn_k.weight")):
        return values
    heads = int(file.header.values["llama.attention.head_count"])
    if tensor.name.endswith("attn_k.weight"):
        heads = int(file.header.values.get("llama.attention.head_count_kv", heads))
    rows, width = values.shape
    return values.reshape(heads, rows // heads // 2, 2, width).swapaxes(1, 2).reshape(rows, width)


@dataclass(frozen=True, slots=True)
class Rendered:
    """A conversation as text and tokens that the model gets."""

    text: str
    ids: tuple[int, ...]


def rendered(server: LlamaServer, messages: Sequence[Message]) -> Rendered:
    """A conversation through the template and tokenizer inside the GGUF file, ready for the answer.

    Raises:
        ModelError: the template refuses it.
    """
    chat = [message.as_chat() for message in messages]
    text = str(server.post("/apply-template", {"messages": chat})["prompt"])
    return Rendered(text, tokens(server, text))


def tokens(server: LlamaServer, text: str) -> tuple[int, ...]:
    """A text's tokens as llama.cpp begins a prompt: special tokens read as such, BOS where it is a habit."""
    answer = server.post("/tokenize", {"content": text, "add_special": True, "parse_special": True})
    return tuple(int(token) for token in answer["tokens"])


def ends_at(server: LlamaServer, ids: Sequence[int], end: int) -> bool:
    """Whether llama.cpp ends an answer at a token, which it is made to choose here."""
    body = {**_GREEDY, "prompt": list(ids), "n_predict": 4, "logit_bias": [[end, 1e6]]}
    return bool(server.post("/completion", body)["stop_type"] == "eos")


def answers_end(server: LlamaServer, prompts: Sequence[Sequence[int]], new_tokens: int) -> int:
    """How many greedy answers end by an end token within the limit."""

    def ends(prompt: Sequence[int]) -> bool:
        body = {**_GREEDY, "prompt": list(prompt), "n_predict": new_tokens}
        return bool(server.post("/completion", body)["stop_type"] == "eos")

    with ThreadPoolExecutor(server.slots) as pool:
        return sum(pool.map(ends, prompts))
