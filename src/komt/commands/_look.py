"""What `komt check` looks at, in order: the data, then the model on this machine."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from komt.example import Message
    from komt.models.place import Place
    from komt.recipe import Recipe
    from komt.train.fertility import Fertility
    from komt.train.finding import Finding
    from komt.train.outlook import Outlook
    from komt.train.preflight import Facts
    from komt.train.prepare import TrainingRows
    from komt.train.token_view import Sample


@dataclass(frozen=True, slots=True)
class Look:
    """All that was found.

    Attributes:
        recipe, model, over_long: as the recipe says.
        facts: of data and tokenizer; samples: rows token by token.
        korean_sample, korean_data: tokens of Korean, in the passages that come with komt and in the training
            rows; None where there is no Hangul.
        outlook: parity, memory and time with the model, or None when not asked for.
        findings: all of them, errors first.
    """

    recipe: str
    model: str
    over_long: str
    facts: Facts
    samples: tuple[Sample, ...]
    korean_sample: Fertility | None
    korean_data: Fertility | None
    outlook: Outlook | None
    findings: tuple[Finding, ...]

    @property
    def spoiled(self) -> bool:
        """Whether something would spoil the training."""
        return any(finding.level == "error" for finding in self.findings)


def look(recipe: Recipe, samples: int, *, quick: bool) -> Look:
    """Check a recipe.

    Args:
        recipe: with its own sources and tasks known.
        samples: rows to show.
        quick: leave the model alone.
    """
    from komt.commands._stages import built_stage
    from komt.mix import read_manifest
    from komt.models.load import load_tokenizer
    from komt.models.resolve import resolve
    from komt.progress import status
    from komt.train.fertility import fertility, sample_texts, texts_of
    from komt.train.prepare import facts_of, read_rows

    with status("checking") as note:
        note("building the data")
        data = built_stage(recipe, note)
        note("encoding")
        place = resolve(recipe.model.name, remote_code=recipe.model.remote_code)
        tokenizer = load_tokenizer(place)
        rows = read_rows(recipe, tokenizer, data)
        note("comparing prompts")
        with tempfile.TemporaryDirectory() as folder:
            served = tokenizer_as_served(tokenizer, place, Path(folder))
            facts = facts_of(
                recipe,
                tokenizer,
                place,
                rows,
                manifest=read_manifest(data),
                serve=lambda messages: served_ids(served, messages),
            )
        shown = samples_of(tokenizer, rows, samples, recipe.seed)
        korean_sample = fertility(tokenizer, sample_texts())
        korean_data = fertility(tokenizer, texts_of(rows.examples))
        spoiled = any(finding.level == "error" for finding in facts.findings)
        outlook = None if quick or spoiled else _outlook(recipe, place, rows.supervised(), note)
    findings = (*facts.findings, *(outlook.findings if outlook else ()))
    in_order = tuple(sorted(findings, key=lambda finding: finding.level))
    return Look(
        recipe.name,
        recipe.model.name,
        recipe.data.over_long,
        facts,
        shown,
        korean_sample,
        korean_data,
        outlook,
        in_order,
    )


def _outlook(recipe: Recipe, place: Place, rows: TrainingRows, note: Any) -> Outlook:
    from komt.train.outlook import look_ahead

    return look_ahead(recipe, place, rows, note)


def samples_of(tokenizer: Any, rows: TrainingRows, count: int, seed: int) -> tuple[Sample, ...]:
    """`count` rows token by token; of a pair both answers, one after the other."""
    from komt.train.token_view import choose, sample

    if not rows.pairs:
        return tuple(sample(tokenizer, one) for one in choose(rows.sequences, count, seed))
    rejected = {pair.chosen.example: pair.rejected for pair in rows.pairs.train}
    shown = []
    for chosen in choose([pair.chosen for pair in rows.pairs.train], count, seed):
        for answer, sequence in (("chosen", chosen), ("rejected", rejected[chosen.example])):
            one = sample(tokenizer, sequence)
            shown.append(replace(one, example=f"{one.example} ({answer})"))
    return tuple(shown)


def tokenizer_as_served(tokenizer: Any, place: Place, folder: Path) -> Any:
    """The tokenizer as it comes back from an adapter's folder: what chat, API and evaluation load."""
    from komt.models.load import load_tokenizer
    from komt.models.quiet import quiet

    with quiet():
        tokenizer.save_pretrained(folder)
    return load_tokenizer(replace(place, adapter=folder, kind="adapter"))


def served_ids(tokenizer: Any, messages: Sequence[Message]) -> list[int]:
    """A prompt's token ids as served: by the function that komt's engines call, and as other programs do.

    Returns:
        Those of komt's engines; where transformers' own `apply_chat_template` gives others, those, so that
        the difference shows.
    """
    from komt.pack.encode import prompt_ids

    ids = prompt_ids(tokenizer, messages)
    outside = tokenizer.apply_chat_template(
        [message.as_chat() for message in messages],
        tokenize=True,
        add_generation_prompt=True,
        return_dict=False,
    )
    return ids if list(outside) == ids else list(outside)
