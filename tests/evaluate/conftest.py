"""An engine over a tiny model that tells log-likelihoods."""

import pytest

from komt.models.template import ensure_template
from komt.serve.transformers_engine import TransformersEngine
from komt.testing import lively, tiny_model, tiny_tokenizer


@pytest.fixture(scope="module")
def engine():
    tokenizer = tiny_tokenizer()
    ensure_template(tokenizer)
    made = TransformersEngine(lively(tiny_model("gemma3", len(tokenizer))), tokenizer)
    yield made
    made.close()
