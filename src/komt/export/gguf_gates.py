"""The gates of GGUF files: llama.cpp answers as the trained model does, and reads conversations alike."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from komt.example import Message
from komt.export.gates import Gate, reported
from komt.export.gguf_convert import ignored_window
from komt.export.gguf_measure import (
    AT_ONCE,
    against,
    answers_end,
    ends_at,
    likeliest,
    put_weights,
    rendered,
    tokens,
)
from komt.export.measure import (
    Agreement,
    load_exported,
    load_exported_tokenizer,
    perplexity,
    text_logits,
)
from komt.export.parity import Reference, agreement_gates, reference_of
from komt.export.text import KOREAN_TEXT
from komt.models import llama_cpp
from komt.models.template import end_token_id
from komt.pack.encode import prompt_ids

# By how much rounding may raise the perplexity of the Korean text, and how many likeliest tokens it keeps.
# The numbers are shown, for people to judge; the limits only stop a file that is broken, whose perplexity is
# a hundredfold. Gemma 3 270M, whose narrow matrices suffer most, loses 0.0 % (Q8_0) and 80 % (Q4_0).
MOST_PERPLEXITY = {"Q8_0": 1.05, "Q4_K_M": 1.50, "Q4_0": 3.00}
LEAST_PROBES = {"Q8_0": 0.85, "Q4_K_M": 0.60, "Q4_0": 0.30}
# llama.cpp also rounds what it multiplies the weights with, so that close choices fall either way.
LEAST_OWN_PROBES = 0.80
_FULL = ("F16", "BF16", "F32")

_CONVERSATIONS = (
    (Message("user", "고양이는 왜 물을 싫어하나요?"),),
    (
        Message("user", "대한민국의 수도는?"),
        Message("assistant", "서울입니다."),
        Message("user", "그 도시를 흐르는 강은 무엇인가요?"),
    ),
    (
        Message("system", "당신은 친절한 도우미입니다.\n존댓말로 짧게 답하세요."),
        Message("user", "오늘 저녁은 무엇이 좋을까요?"),
    ),
    (
        Message("system", "표로 답하세요."),
        Message("user", "사과 3개와 배 2개의 값은? (사과 1,200원 · 배 2,500원)"),
        Message("assistant", "| 과일 | 값 |\n|---|---|\n| 사과 | 3,600원 |\n| 배 | 5,000원 |"),
        Message("user", "모두 얼마죠?"),
        Message("assistant", "8,600원입니다."),
        Message("user", "만 원을 내면 거스름돈은요?"),
    ),
    (Message("user", "🙂👨‍👩‍👧‍👦 이 그림 글자들은 무슨 뜻이에요? 🇰🇷"),),
    (Message("user", "大韓民國 憲法 第一條를 한글로 옮기고, 『訓民正音』이 무엇인지 설명하세요."),),
    (
        Message("user", "다음 글을 요약하세요.\n\n\t가을비가  그치자\n\n\n바람이 차가워졌다…\n(끝)"),
        Message("assistant", '<보기> {값} "따옴표" \\ {{ 괄호 }}'),
        Message("user", "한 줄로 줄여 주세요."),
    ),
    (Message("user", "뷁, 똠방각하, 쀍, ㅋㅋㅋ, ㅠㅠ, ㉠ ㈜ ½ ㎏ — 이 글자들을 그대로 따라 쓰세요."),),
)
_DECOMPOSED = (Message("user", unicodedata.normalize("NFD", "한글 자모로 나뉜 글도 읽나요?")),)


def gguf_gates(
    merged: Path,
    files: Sequence[Path],
    reference: Reference | None = None,
) -> list[Gate]:
    """Look at each GGUF file through llama.cpp.

    Args:
        merged: the folder that the files were made from.
        files: as `export_gguf` gives them; their names tell their form.
        reference: of the trained model in fp32; measured on the merged folder if None.

    Raises:
        MissingExtra: xllamacpp is not installed.
        ModelError: transformers or llama.cpp cannot load what was written.
    """
    model, tokenizer = load_exported(merged), load_exported_tokenizer(merged)
    reference = reference or reference_of(model, tokenizer, None)
    gates = _window_gates(merged, len(reference.ids))
    for file in files:
        form = form_of(file)
        context = max(len(reference.ids) + 64, 2048)
        with llama_cpp.start(file, context=context, slots=AT_ONCE) as server:
            chosen = likeliest(server, reference.ids)
            if form in _FULL:
                gates += full_gates(form, against(reference.logits, chosen))
            else:
                gates += _quantised_gates(form, file, model, reference, chosen)
            gates += conversation_gates(form, server, tokenizer)
            gates += _end_gates(form, server, tokenizer, reference)
    return gates


def _window_gates(merged: Path, seen_tokens: int) -> list[Gate]:
    window = ignored_window(merged)
    if window is None:
        return []
    measured = f"its layers look back {window:,} tokens, llama.cpp's all the way"
    if window < seen_tokens:
        return [Gate("GGUF: sliding window", False, measured, f"at least {seen_tokens:,} tokens")]
    return [reported("GGUF: sliding window", f"{measured}: equal up to there, and not measured beyond")]


def form_of(file: Path) -> str:
    """F16, Q8_0, … from a file's name."""
    return file.stem.rpartition("-")[2]


def full_gates(form: str, found: Agreement) -> list[Gate]:
    """Weights in 16 bits: the same likeliest token at 99 % of the places, and close choices elsewhere."""
    return agreement_gates(found, f"GGUF {form}", " through llama.cpp")


def _quantised_gates(
    form: str, file: Path, model: Any, reference: Reference, chosen: Sequence[int]
) -> list[Gate]:
    """What rounding costs, and whether llama.cpp computes with the weights that the file holds."""
    put_weights(model, file)
    logits = text_logits(model, reference.ids)
    full, rounded = perplexity(reference.logits, reference.ids), perplexity(logits, reference.ids)
    most, least = MOST_PERPLEXITY[form], LEAST_PROBES[form]
    probes, own = against(reference.logits, chosen), against(logits, chosen)
    return [
        Gate(
            f"GGUF {form}: perplexity of its weights, dequantised in transformers",
            rounded <= full * most,
            f"{rounded:.3f} against {full:.3f} ({rounded / full - 1:+.1%})",
            f"at most {most - 1:+.0%}",
        ),
        Gate(
            f"GGUF {form}: same likeliest token through llama.cpp",
            probes.share >= least,
            f"{probes.same} of {probes.positions} ({probes.share:.1%})",
            f"at least {least:.0%}",
        ),
        Gate(
            f"GGUF {form}: llama.cpp and transformers agree on its weights",
            own.share >= LEAST_OWN_PROBES,
            f"{own.same} of {own.positions} ({own.share:.1%})",
            f"at least {LEAST_OWN_PROBES:.0%}",
        ),
        *tuning_gates(form, reference, chosen),
    ]


def tuning_gates(form: str, reference: Reference, chosen: Sequence[int]) -> list[Gate]:
    """How much of the tuning outlived the rounding: where the tuned model and its base choose apart.

    Small changes of weights are rounded away first, above all in a base that came quantised itself.
    """
    import torch

    if reference.base_choices is None:
        return []
    tuned = reference.logits.argmax(-1)
    apart = tuned != reference.base_choices
    kept, places = int((tuned == torch.tensor(list(chosen)))[apart].sum()), int(apart.sum())
    if not places:
        return []
    lost = "; more is lost than kept: --quant q8_0 keeps more" if 2 * kept < places else ""
    measured = (
        f"{kept} of {places} ({kept / places:.1%}) where the tuned model and its base choose apart{lost}"
    )
    return [reported(f"GGUF {form}: the tuned model's likeliest token through llama.cpp", measured)]


def conversation_gates(form: str, server: llama_cpp.LlamaServer, tokenizer: Any) -> list[Gate]:
    """Conversations through the file's template and tokenizer are what training and serving make of them."""
    bos = tokenizer.bos_token or ""
    talks = [talk for talk in _CONVERSATIONS if _renders(tokenizer, talk)]
    texts = ids = 0
    for talk in talks:
        chat = [message.as_chat() for message in talk]
        ours = tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
        theirs = rendered(server, talk)
        # llama.cpp leaves out a BOS that its tokenizer puts there again.
        texts += theirs.text.removeprefix(bos) == ours.removeprefix(bos)
        ids += list(theirs.ids) == prompt_ids(tokenizer, talk)
    total = len(talks)
    plain = list(tokens(server, KOREAN_TEXT)) == list(tokenizer(KOREAN_TEXT)["input_ids"])
    return [
        Gate(
            f"GGUF {form}: chat template, text equal",
            texts == total,
            f"{texts} of {total}",
            f"{total} of {total}",
        ),
        Gate(
            f"GGUF {form}: chat template, ids equal", ids == total, f"{ids} of {total}", f"{total} of {total}"
        ),
        Gate(f"GGUF {form}: ids of the Korean text", plain, "equal" if plain else "differ", "equal"),
        _decomposed_gate(form, server, tokenizer),
    ]


def _decomposed_gate(form: str, server: llama_cpp.LlamaServer, tokenizer: Any) -> Gate:
    """Decomposed jamo, as in macOS file names: some tokenizers compose them, llama.cpp never does."""
    name = f"GGUF {form}: ids of decomposed jamo (NFD)"
    theirs, ours = list(rendered(server, _DECOMPOSED).ids), prompt_ids(tokenizer, _DECOMPOSED)
    if theirs == ours:
        return Gate(name, True, "equal", "equal")
    composed = tuple(Message(m.role, unicodedata.normalize("NFC", m.content)) for m in _DECOMPOSED)
    if ours == prompt_ids(tokenizer, composed):
        return reported(name, "differ: the tokenizer composes them, llama.cpp does not; send it NFC text")
    return Gate(name, False, "differ", "equal")


def _renders(tokenizer: Any, talk: tuple[Message, ...]) -> bool:
    """Some templates take no system turn: then there is nothing to compare."""
    try:
        prompt_ids(tokenizer, talk)
    except Exception:
        return False
    return True


def _end_gates(form: str, server: llama_cpp.LlamaServer, tokenizer: Any, reference: Reference) -> list[Gate]:
    end = end_token_id(tokenizer)
    prompts = [prompt_ids(tokenizer, messages) for messages in reference.asked.messages]
    stops = ends_at(server, prompts[0], end)
    written = tokenizer.convert_ids_to_tokens(end)
    gates = [
        Gate(
            f"GGUF {form}: llama.cpp stops at the template's end token",
            stops,
            f"{written}: {'stops' if stops else 'goes on'}",
            "stops",
        )
    ]
    total, trained = len(prompts), reference.ended
    count = answers_end(server, prompts, reference.asked.new_tokens)
    name = f"GGUF {form}: answers end by the end token ({reference.asked.origin})"
    measured = f"{count} of {total}; before export {trained} of {total}"
    if not trained:
        return [*gates, reported(name, f"{measured}: the model has not learned to end its answers")]
    least = max(1, trained - 1) if form in _FULL else max(1, trained // 2)
    return [*gates, Gate(name, count >= least, measured, f"at least {least}")]
