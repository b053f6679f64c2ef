"""Steps on a model that is thrown away: to count what autograd keeps of a bin, and to time them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from komt.pack.batch import Batch
from komt.pack.encode import TokenSequence
from komt.pack.plan import Step
from komt.pack.probe import Way, device_of
from komt.recipe import Recipe
from komt.train.loop import Interrupted, StepResult, Terms, make_loop
from komt.train.memory import Saved, size_of
from komt.train.preference import Preference

# Tokens and target rows of the bins that are counted: enough to tell the four terms apart, and small.
_COUNTED = ((64, 8), (128, 8), (256, 8), (128, 64))
_GPU_COUNTED = ((256, 8), (512, 8), (1024, 8), (512, 64))  # whole blocks of FlexAttention


def count_saved(recipe: Recipe, model: Any, way: Way) -> Saved:
    """Solve the terms of `Saved` from the tensors that autograd saves over four small bins of random tokens.

    The model is trained by these four steps: it is to be thrown away.
    """
    checkpointing = recipe.train.gradient_checkpointing
    if checkpointing:
        model.gradient_checkpointing_disable()
    counted, terms = [], []
    for tokens, rows in _COUNTED if device_of(model).type == "cpu" else _GPU_COUNTED:
        sequences = _random_sequences(model, tokens, rows)
        members = (tuple(range(len(sequences))),)
        terms.append([tokens, size_of(sequences, share=False).pairs, rows, 1.0])
        step = Step(members, float(rows), tokens, tokens)
        with _counting(model) as (sizes, look):
            packed = "packed" if way == "shared" else way
            train_for_trial(recipe, sequences, [step], model, packed, look)
        counted.append(float(sum(sizes.values())))
    if checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    solved = np.linalg.solve(np.array(terms), np.array(counted))
    return Saved(*(max(0.0, float(value)) for value in solved))


def train_for_trial(
    recipe: Recipe,
    sequences: Sequence[TokenSequence],
    steps: Sequence[Step],
    model: Any,
    way: Way,
    look: Callable[[Tensor], None] = lambda losses: None,
) -> list[StepResult]:
    """Train a model that is thrown away afterwards; arguments as for `make_loop`.

    For dpo and ipo the sequences are those of pairs, and the reference is nought: it changes no size and no
    time. `look` is shown the losses of each bin before its backward pass.
    """
    results: list[StepResult] = []
    loop = make_loop(recipe, sequences, steps, model, way)
    if recipe.train.objective != "sft":
        loop.objective = Preference(
            recipe.train.objective,
            recipe.train.preference,
            sequences,
            np.zeros(len(sequences), np.float32),
            alone=way == "single",
        )
        loop.together = 2
    plain = loop.objective

    def looked_at(model: Any, batch: Batch, members: Sequence[int], step: Step) -> Terms:
        terms = plain(model, batch, members, step)
        look(terms.losses)
        return terms

    loop.objective = looked_at

    def keep(result: StepResult, last: bool) -> None:
        results.append(result)

    try:
        loop.run(0, keep)
    except Interrupted:  # nothing is saved here
        raise KeyboardInterrupt("nothing was changed") from None
    return results


def _random_sequences(model: Any, tokens: int, rows: int) -> list[TokenSequence]:
    """Two sequences, so that masks are needed, with so many tokens and supervised ones in all."""
    random = np.random.default_rng(0)
    sequences = []
    for number in range(2):
        ids = random.integers(0, model.config.get_text_config().vocab_size, tokens // 2).astype(np.int32)
        weights = np.zeros(len(ids), np.float32)
        weights[-(rows // 2) :] = 1.0
        sequences.append(TokenSequence(ids, weights, f"random:{number}"))
    return sequences


@contextmanager
def _counting(model: Any) -> Iterator[tuple[dict[int, int], Callable[[Tensor], None]]]:
    """Bytes of each storage kept for gradients in the block, the model's own weights apart.

    Autograd tells of what is saved through it; what a function keeps beside (as bitsandbytes' product in 8
    bits keeps its input) is found by the second value, which is to be called with the losses.
    """
    own = {tensor.untyped_storage().data_ptr() for tensor in (*model.parameters(), *model.buffers())}
    sizes: dict[int, int] = {}

    def saved(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            sizes[storage.data_ptr()] = storage.nbytes()
        return tensor

    def look(losses: Tensor) -> None:
        for tensor in _kept_by_functions(losses):
            saved(tensor)

    with torch.autograd.graph.saved_tensors_hooks(saved, lambda tensor: tensor):
        yield sizes, look


def _kept_by_functions(losses: Tensor) -> Iterator[Tensor]:
    """Tensors that functions written in Python keep as attributes, over the whole graph behind the losses."""
    to_see, seen = [losses.grad_fn], set[Any]()
    while to_see:
        node = to_see.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        to_see += [before for before, _ in node.next_functions]
        for value in getattr(node, "__dict__", {}).values():
            several = value if isinstance(value, list | tuple) else (value,)
            yield from (one for one in several if isinstance(one, Tensor))
