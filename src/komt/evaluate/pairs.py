"""What preference pairs are worth: is the chosen answer likelier, and more so than before training?"""

from __future__ import annotations

import numpy as np

from komt.evaluate.intervals import Floats
from komt.recipe import PreferencePart, TrainPart

Values = dict[str, Floats]
_CHOSEN, _REJECTED = 0, 1


def pair_values(
    tokens: Floats, log_probs: Floats, reference: Floats | None = None, train: TrainPart | None = None
) -> Values:
    """What each pair is worth by each metric; of a set of pairs the mean counts.

    `pair_accuracy`: 1 where the chosen answer is the likelier one; `chosen_log_prob`, `rejected_log_prob`:
    of the whole answers, in nats; the three with `_norm`: the same per token. Against the policy that
    training started from `reward_accuracy`: 1 where the chosen answer gained more than the rejected one,
    `reward_margin`: beta times by how much, in nats, and `pair_loss`: what training makes less, without
    its SFT term (only where `train` says what that is).

    Args:
        tokens: of both answers of each pair, end tokens included, the chosen one first, (P, 2).
        log_probs: of both answers, (P, 2).
        reference: the same by the policy that training started from.
        train: of the recipe that trained on pairs; without it beta is the recipes' default.
    """
    values: Values = {}
    for suffix, each in (("", log_probs), ("_norm", log_probs / tokens)):
        values[f"pair_accuracy{suffix}"] = (each[:, _CHOSEN] > each[:, _REJECTED]).astype(np.float64)
    if reference is not None:
        gained = log_probs - reference
        more = gained[:, _CHOSEN] - gained[:, _REJECTED]
        beta = (train.preference if train else PreferencePart()).beta
        values |= {"reward_accuracy": (more > 0).astype(np.float64), "reward_margin": beta * more}
        if train and train.objective != "sft":
            values["pair_loss"] = _losses(train, gained, tokens)
    for suffix, each in (("", log_probs), ("_norm", log_probs / tokens)):
        values[f"chosen_log_prob{suffix}"] = each[:, _CHOSEN]
        values[f"rejected_log_prob{suffix}"] = each[:, _REJECTED]
    return values


def _losses(train: TrainPart, gained: Floats, tokens: Floats) -> Floats:
    import torch

    from komt.train.preference import pair_losses

    ratios, lengths = (torch.from_numpy(each).unbind(1) for each in (gained, tokens))
    found: Floats = pair_losses(train.objective, train.preference, *ratios, *lengths).numpy()
    return found
