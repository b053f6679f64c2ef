"""Trie packing as a library: `build` examples into a batch, `loss` of a model on it.

Examples that start alike share their prefix: it is computed once, and loss and gradients are those of the
separate examples (Tree Training, arXiv 2511.00413, serialises in the same depth-first order).

    batch = komt.pack.build(examples, tokenizer)
    komt.pack.loss(model, batch).backward()
"""

from komt.pack.batch import Batch, build, pack_sequences
from komt.pack.encode import TokenSequence, encode, prompt_ids
from komt.pack.loss import loss, target_losses
from komt.pack.trie import Trie, build_trie

__all__ = [
    "Batch",
    "TokenSequence",
    "Trie",
    "build",
    "build_trie",
    "encode",
    "loss",
    "pack_sequences",
    "prompt_ids",
    "target_losses",
]
