"""Engines over tiny models whose answers vary and end."""

import pytest

from komt.models.template import ensure_template
from komt.serve.transformers_engine import TransformersEngine
from komt.testing import lively, tiny_model, tiny_tokenizer


@pytest.fixture
def new_engine():
    """Makes engines; all are closed in the end."""
    made = []

    def make(family="llama", kind="bytes", seed=0, **options):
        tokenizer = tiny_tokenizer(kind)
        ensure_template(tokenizer)
        model = lively(tiny_model(family, len(tokenizer), seed))
        made.append(TransformersEngine(model, tokenizer, **options))
        return made[-1]

    yield make
    for engine in made:
        engine.close()
