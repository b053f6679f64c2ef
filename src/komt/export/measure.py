"""Logits over a fixed text, and how far two models agree there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from komt.errors import ModelError
from komt.models.load import check_complete
from komt.models.quiet import quiet
from komt.pack.probe import device_of


@dataclass(frozen=True, slots=True)
class Agreement:
    """How two models' logits over the same text compare.

    Attributes:
        positions: number of places compared.
        same: places where both have the same likeliest token.
        margin: the largest logit by which the first model prefers its own token to the other's choice, over
            the places where they differ; 0 where there is none.
        difference: the largest difference of any logit; None where the second one tells its choices alone.
    """

    positions: int
    same: int
    margin: float
    difference: float | None = None

    @property
    def share(self) -> float:
        """Share of places with the same likeliest token, 0 to 1."""
        return self.same / self.positions


def text_logits(model: Any, ids: Sequence[int]) -> Any:
    """Logits of what follows each token but the last, (len(ids) - 1, vocabulary), fp32, in main memory."""
    import torch

    with torch.no_grad():
        row = torch.tensor([list(ids[:-1])], device=device_of(model))
        return model(input_ids=row).logits[0].float().cpu()


def agreement(reference: Any, other: Any) -> Agreement:
    """Compare logits, both (positions, vocabulary); paddings of the vocabulary are left out.

    Raises:
        ModelError: a logit of the other is not a number.
    """
    import torch

    width = min(reference.shape[-1], other.shape[-1])
    reference, other = reference[:, :width], other[:, :width]
    if not torch.isfinite(other).all():
        raise ModelError(
            "the exported model computes logits that are no numbers",
            cure="--dtype bf16 or fp32: fp16 overflows in some models",
        )
    best, choice = reference.argmax(-1), other.argmax(-1)
    rows = torch.arange(len(reference))
    behind = reference[rows, best] - reference[rows, choice]
    largest = max(float((a - b).abs().max()) for a, b in zip(reference, other, strict=True))
    return Agreement(len(reference), int((best == choice).sum()), float(behind.max()), largest)


def perplexity(logits: Any, ids: Sequence[int]) -> float:
    """exp of the mean negative log-probability of each token after the first, given those before it."""
    import torch

    targets = torch.tensor(list(ids[1:]))
    losses = [
        torch.nn.functional.cross_entropy(row[None], target[None])
        for row, target in zip(logits, targets, strict=True)
    ]
    return float(torch.stack(losses).mean().exp())


def load_exported(folder: Path, remote_code: bool = False) -> Any:
    """An exported model as programs outside komt load it; its weights as stored, computed in fp32.

    Raises:
        ModelError: transformers cannot load it.
    """
    import torch

    with quiet():
        from transformers import AutoModelForCausalLM

        try:
            model, found = AutoModelForCausalLM.from_pretrained(
                folder,
                dtype=torch.float32,
                local_files_only=True,
                trust_remote_code=remote_code,
                output_loading_info=True,
            )
        except Exception as error:
            raise _unreadable(folder, error) from error
    check_complete(found, folder)
    return model.to("cuda" if torch.cuda.is_available() else "cpu").eval()


def load_exported_tokenizer(folder: Path, remote_code: bool = False) -> Any:
    """An exported tokenizer as programs outside komt load it.

    Raises:
        ModelError: transformers cannot load it.
    """
    from transformers import AutoTokenizer

    with quiet():
        try:
            return AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=remote_code)
        except Exception as error:
            raise _unreadable(folder, error) from error


def _unreadable(folder: Path, error: Exception) -> ModelError:
    return ModelError(f"transformers cannot load what was exported: {error}", where=str(folder))
