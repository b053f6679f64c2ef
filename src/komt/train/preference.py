"""Preference optimisation: DPO and IPO on pairs of answers, against the policy that training starts from.

With the log-probability ratio of an answer y of |y| tokens (end token included) to the reference policy,
r(y) = log p(y | x) - log p_ref(y | x), and the chosen answer y+ and the rejected one y-:

    dpo  -log sigmoid(beta (r(y+) - r(y-)))               Rafailov et al. 2023, arXiv 2305.18290, eq. 7
    ipo  (r(y+) / |y+| - r(y-) / |y-| - 1 / (2 beta))^2   Azar et al. 2023, arXiv 2310.12036, eq. 17
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor
from torch.nn.functional import logsigmoid

from komt.files import hash_of, write_atomic
from komt.pack.batch import Batch, pack_sequences
from komt.pack.encode import TokenSequence
from komt.pack.loss import target_losses
from komt.pack.pairs import Pair, pair_bins, sequences_of
from komt.pack.plan import Step
from komt.recipe import PreferencePart
from komt.train.loop import Loop, Terms
from komt.train.processes import by_main, is_main

VERSION = 1
REFERENCE = "reference.safetensors"
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Preference:
    """An objective of the loop over `sequences_of(pairs)`: a term per pair, of weight 1.

    Attributes:
        kind: "dpo" or "ipo".
        settings: beta; `sft`, what the loss of the chosen answers' tokens counts beside;
            `length_normalised`: DPO on ratios per token, as IPO has them; `label_smoothing`: the share of
            pairs taken to be the wrong way round (Chowdhury et al. 2024, arXiv 2403.00409; DPO only).
        sequences: of all pairs.
        reference: log-probability of each sequence's answer under the starting policy, (S,).
        alone: each sequence in a forward pass of its own, for models that cannot pack.
    """

    kind: str
    settings: PreferencePart
    sequences: Sequence[TokenSequence]
    reference: Floats
    alone: bool = False

    def __call__(self, model: Any, batch: Batch, members: Sequence[int], step: Step) -> Terms:
        """The terms of a bin, with reward margin and accuracy, and the chosen answers' log-probabilities."""
        device = batch.ids.device
        found = self._log_probs(model, batch, members)
        reference = torch.from_numpy(self.reference[list(members)]).to(device)
        tokens = torch.tensor([self._tokens(place) for place in members], device=device)
        ratios = found - reference
        losses = pair_losses(self.kind, self.settings, ratios[0::2], ratios[1::2], tokens[0::2], tokens[1::2])
        if self.settings.sft:
            # Its mean is over the tokens of the whole step, while the loop divides by the number of pairs.
            every = sum(self._tokens(place) for place in step.sequences if place % 2 == 0)
            losses = losses - self.settings.sft * found[0::2] * (step.weight / every)
        margins = self.settings.beta * (ratios[0::2] - ratios[1::2]).detach()
        measures = {
            "reward_margin": margins,
            "reward_accuracy": (margins > 0).float(),
            "chosen_log_prob": found[0::2].detach(),
            "rejected_log_prob": found[1::2].detach(),
        }
        places = torch.arange(0, len(members), 2, device=device)
        return Terms(losses, torch.ones_like(losses), places, measures)

    def _tokens(self, place: int) -> int:
        return int((self.sequences[place].weights > 0).sum())

    def _log_probs(self, model: Any, batch: Batch, members: Sequence[int]) -> Tensor:
        if not self.alone:
            return answer_log_probs(model, batch, len(members))
        each = [pack_sequences([self.sequences[place]]).to(batch.ids.device) for place in members]
        return torch.cat([answer_log_probs(model, one, 1) for one in each])


def pair_losses(
    kind: str,
    settings: PreferencePart,
    chosen: Tensor,
    rejected: Tensor,
    chosen_tokens: Tensor,
    rejected_tokens: Tensor,
) -> Tensor:
    """The loss of each pair, (P,), without the SFT term.

    Args:
        kind: "dpo" or "ipo".
        settings: of the recipe.
        chosen: log-probability ratios of the chosen answers to the reference, (P,); rejected: likewise.
        rejected: see `chosen`.
        chosen_tokens: length of the chosen answers, (P,).
        rejected_tokens: of the rejected ones.
    """
    beta, flipped = settings.beta, settings.label_smoothing
    if kind == "ipo" or settings.length_normalised:
        chosen, rejected = chosen / chosen_tokens, rejected / rejected_tokens
    if kind == "ipo":
        return (chosen - rejected - 1 / (2 * beta)) ** 2
    logits = beta * (chosen - rejected)
    if not flipped:
        return -logsigmoid(logits)
    return ((1 - flipped) * -logsigmoid(logits) - flipped * -logsigmoid(-logits)) / (1 - 2 * flipped)


def answer_log_probs(model: Any, batch: Batch, count: int) -> Tensor:
    """Log-probability of each sequence's supervised tokens given what stands before, in nats, (count,)."""
    losses = target_losses(model, batch)
    return losses.new_zeros(count).index_add(0, batch.sequence, -losses)


def log_probs_of(loop: Loop, pairs: Sequence[Pair], fill: int = 0) -> Floats:
    """`answer_log_probs` of `sequences_of(pairs)` under a loop's model as it is, without dropout.

    Every process computes all of them, since the shards of a model must meet.

    Args:
        loop: whose model, precision and way of packing are used.
        pairs: any number.
        fill: as `plan_pairs` takes it.
    """
    sequences = sequences_of(pairs)
    pack = loop.recipe.pack.model_copy(update={"share": loop.way == "shared"})
    bins = pair_bins(pairs, pack, fill)
    if loop.way == "single":
        bins = [(place,) for members in bins for place in members]
    result = np.zeros(len(sequences), np.float32)
    training = loop.model.training
    loop.model.eval()
    try:
        with torch.no_grad(), loop.computing():
            for members in bins:
                batch = pack_sequences([sequences[i] for i in members], share=pack.share)
                found = answer_log_probs(loop.model, batch.to(loop.accelerator.device), len(members))
                result[list(members)] = found.float().cpu().numpy()
    finally:
        loop.model.train(training)
    return result


def reference_log_probs(
    folder: Path, loop: Loop, revision: str, pairs: Sequence[Pair], fill: int = 0
) -> Floats:
    """`log_probs_of` the starting policy: computed once, then read back from `folder`, bit by bit the same.

    Args:
        folder: of the training; the file holds a key of all that decides the values.
        loop: before its first step, and before a checkpoint is loaded.
        revision: of the model that training starts from, its adapter included.
        pairs: all pairs, in any fixed order.
        fill: as `plan_pairs` takes it.
    """
    ids = [sequence.ids.tolist() for sequence in sequences_of(pairs)]
    recipe = loop.recipe
    settings = [recipe.model.bits, recipe.train.method, recipe.pack.tokens, loop.way, fill]
    key = hash_of([VERSION, revision, *settings, ids])
    path = folder / REFERENCE
    kept = by_main(lambda: _read_reference(path, key))
    if kept is not None:
        return kept
    found = log_probs_of(loop, pairs, fill)
    if is_main():
        write_atomic(path, save({"log_probs": torch.from_numpy(found)}, {"key": key}))
    return found


def _read_reference(path: Path, key: str) -> Floats | None:
    try:
        with safe_open(str(path), "np") as file:
            if (file.metadata() or {}).get("key") != key:
                return None
            return np.asarray(file.get_tensor("log_probs"), np.float32)
    except (OSError, SafetensorError):  # absent, or cut short
        return None
