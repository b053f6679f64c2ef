"""The gates of a merged model: it answers as base and adapter did, its template renders as in training."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from komt.errors import MissingExtra, ModelError
from komt.example import Message
from komt.export.answers import Asked, ended, questions
from komt.export.gates import Gate, reported
from komt.export.measure import (
    Agreement,
    agreement,
    load_exported,
    load_exported_tokenizer,
    perplexity,
    text_logits,
)
from komt.export.text import KOREAN_TEXT, reference_ids
from komt.models.check import read_json
from komt.models.load import load_model, load_tokenizer
from komt.models.place import Place
from komt.models.template import end_token_id
from komt.pack.encode import prompt_ids

LOGIT_DIFFERENCE = 1e-3
TOP_TOKEN = 0.99
MARGIN = 0.1
_COMMIT_DIGITS = 40
_CONVERSATIONS = (
    (Message("user", "고양이는 왜 물을 싫어하나요?"),),
    (Message("user", "  다음을 요약하세요.\n\n가을비가 그치자 바람이 차가워졌다.\n"),),
    (
        Message("user", "대한민국의 수도는?"),
        Message("assistant", "서울입니다."),
        Message("user", "그 도시를 흐르는 강은?"),
    ),
)


@dataclass(frozen=True)
class Reference:
    """What the trained model does, measured before anything is merged or rounded.

    Attributes:
        ids: tokens of the gates' text; logits: of what follows each, (positions, vocabulary), fp32.
        base_perplexity: on that text, of the base without its adapter; None where there is no adapter.
        asked: questions for `ended`; ended: how many of the trained model's answers end.
        base_choices: the base's likeliest token at each place, (positions,), or None.
    """

    ids: list[int]
    logits: Any
    base_perplexity: float | None
    asked: Asked
    ended: int
    base_choices: Any = None


def reference_of(model: Any, tokenizer: Any, data: Path | None) -> Reference:
    """Measure a trained model, in fp32 and unmerged.

    Args:
        model: from `load_unmerged`.
        tokenizer: its own.
        data: the run's data folder, or None.

    Raises:
        ModelError: it computes no numbers.
    """
    ids = _within_context(model, reference_ids(tokenizer))
    logits = text_logits(model, ids)
    if not bool(logits.isfinite().all()):
        raise ModelError(
            "the model computes logits that are no numbers, before anything is exported",
            cure="train again with a lower train.lr, or fetch its files anew",
        )
    base = choices = None
    if hasattr(model, "disable_adapter"):
        with model.disable_adapter():
            bare = text_logits(model, ids)
        base, choices = perplexity(bare, ids), bare.argmax(-1)
    asked = questions(data, tokenizer)
    stops = {end_token_id(tokenizer), tokenizer.eos_token_id} - {None}
    count = ended(model, tokenizer, asked, sorted(stops))
    return Reference(ids, logits, base, asked, count, choices)


def _within_context(model: Any, ids: list[int]) -> list[int]:
    context = getattr(model.config.get_text_config(), "max_position_embeddings", None) or len(ids)
    return ids[: context + 1]


def base_gate(place: Place) -> Gate:
    """The base that lies here is the one the adapter was trained on, as its komt.json tells.

    A newer commit of the same hub repository is told and not failed: its weights may be the same.
    """
    name, told = "base: the one of the training", ""
    if place.adapter is not None and (place.adapter / "komt.json").is_file():
        told = str(read_json(place.adapter / "komt.json").get("base_revision", ""))
    if not told:
        return reported(name, "unknown: no komt.json beside the adapter tells its revision")
    here = place.base_revision
    if told == here:
        return Gate(name, True, f"{here[:12]}, as then", "as then")
    measured = f"{here[:12]}; the adapter was trained on {told[:12]}"
    if len(told) == len(here) == _COMMIT_DIGITS:
        return reported(name, f"another commit of the hub: {measured}")
    return Gate(name, False, measured, "as then")


def merge_gates(reference: Reference, merged: Any) -> list[Gate]:
    """A model merged in memory, still in fp32, against base and adapter."""
    return parity_gates("merge in fp32", agreement(reference.logits, text_logits(merged, reference.ids)))


def parity_gates(what: str, found: Agreement) -> list[Gate]:
    """Two models that must be the same but for the order of sums in fp32."""
    assert found.difference is not None
    return [
        Gate(
            f"{what}: largest difference of a logit",
            found.difference <= LOGIT_DIFFERENCE,
            f"{found.difference:.1e}",
            f"at most {LOGIT_DIFFERENCE:.0e}",
        ),
        Gate(
            f"{what}: same likeliest token",
            found.same == found.positions,
            f"{found.same} of {found.positions}",
            f"{found.positions} of {found.positions}",
        ),
    ]


def stored_gates(reference: Reference, folder: Path, place: Place, stored: str) -> list[Gate]:
    """A merged folder, loaded by transformers alone, against the trained model.

    Args:
        reference: of the trained model.
        folder: what was written.
        place: of the trained model.
        stored: how its weights are stored, for people: "bf16".
    """
    model, theirs = (
        load_exported(folder, place.remote_code),
        load_exported_tokenizer(folder, place.remote_code),
    )
    logits = text_logits(model, reference.ids)
    return [
        *agreement_gates(agreement(reference.logits, logits), f"weights in {stored}"),
        *template_gates(load_tokenizer(place), theirs),
        _end_gate(reference, ended(model, theirs, reference.asked)),
        *_perplexities(reference, perplexity(logits, reference.ids), stored),
    ]


def agreement_gates(found: Agreement, what: str, through: str = "") -> list[Gate]:
    """The likeliest token is the same at 99 % of the places, and elsewhere the choice was close."""
    return [
        Gate(
            f"{what}: same likeliest token{through}",
            found.share >= TOP_TOKEN,
            f"{found.same} of {found.positions} ({found.share:.1%})",
            f"at least {TOP_TOKEN:.0%}",
        ),
        Gate(
            f"{what}: largest margin where it differs",
            found.margin < MARGIN,
            f"{found.margin:.3f}" if found.same < found.positions else "differs nowhere",
            f"under {MARGIN}",
        ),
    ]


def template_gates(tokenizer: Any, theirs: Any) -> list[Gate]:
    """A tokenizer loaded from an exported folder renders and encodes as the one of training."""
    conversations = [talk for talk in (*_CONVERSATIONS, _with_system()) if _renders(tokenizer, talk)]
    rendered = same = 0
    for talk in conversations:
        chat = [message.as_chat() for message in talk]
        text = theirs.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
        ids = theirs.apply_chat_template(chat, add_generation_prompt=True, return_dict=False)
        rendered += text == tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
        same += list(ids) == prompt_ids(tokenizer, talk)
    total = len(conversations)
    plain = list(theirs(KOREAN_TEXT)["input_ids"]) == list(tokenizer(KOREAN_TEXT)["input_ids"])
    return [
        Gate(
            "chat template, reloaded: text equal",
            rendered == total,
            f"{rendered} of {total}",
            f"{total} of {total}",
        ),
        Gate(
            "chat template, reloaded: token ids as in training",
            same == total,
            f"{same} of {total}",
            f"{total} of {total}",
        ),
        Gate("tokenizer, reloaded: ids of the Korean text", plain, "equal" if plain else "differ", "equal"),
    ]


def _with_system() -> tuple[Message, ...]:
    return (Message("system", "존댓말로 짧게 답하세요."), *_CONVERSATIONS[0])


def _renders(tokenizer: Any, talk: tuple[Message, ...]) -> bool:
    """Some templates take no system turn: then there is nothing to compare."""
    try:
        prompt_ids(tokenizer, talk)
    except Exception:
        return False
    return True


def _end_gate(reference: Reference, count: int) -> Gate:
    total, trained = len(reference.asked.messages), reference.ended
    asked = reference.asked
    name = f"answers end by the end token ({asked.origin}, at most {asked.new_tokens} tokens)"
    measured = f"{count} of {total}; before export {trained} of {total}"
    if not trained:
        return reported(name, f"{measured}: the model has not learned to end its answers")
    least = max(1, trained - 1)
    return Gate(name, count >= least, measured, f"at least {least}: rounding may turn one")


def _perplexities(reference: Reference, stored: float, how: str) -> list[Gate]:
    gates = [reported(f"perplexity of the Korean text, weights in {how}", f"{stored:.3f}")]
    trained = perplexity(reference.logits, reference.ids)
    gates.append(reported("perplexity before export, fp32", f"{trained:.3f}"))
    if reference.base_perplexity is not None:
        gates.append(reported("perplexity of the base alone, fp32", f"{reference.base_perplexity:.3f}"))
    return gates


def quantised_training_gate(place: Place, bits: int, reference: Reference) -> Gate:
    """What it changes to train on a base in 4 or 8 bits and to merge into the full one: both perplexities."""
    name = f"perplexity on the base in {bits} bits it was trained on, against the full one"
    try:
        model = load_model(place, 4 if bits == 4 else 8)
    except MissingExtra as error:
        return reported(name, f"not measured: {error.what}")
    narrow = perplexity(text_logits(model, reference.ids), reference.ids)
    full = perplexity(reference.logits, reference.ids)
    return reported(name, f"{narrow:.3f} against {full:.3f} ({full / narrow - 1:+.1%})")
