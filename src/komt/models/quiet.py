"""Silence around libraries that talk on stderr: komt says itself what a person needs to know."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator


def _is_worth_saying(record: logging.LogRecord) -> bool:
    return record.module != "real_accelerator" or record.levelno >= logging.ERROR


# DeepSpeed, which transformers imports where it is installed, says on stdout, among what komt prints, that it
# has found no GPU.
logging.getLogger("DeepSpeed").addFilter(_is_worth_saying)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """No warnings, log lines or progress bars from transformers, PEFT and bitsandbytes within the block."""
    from transformers.utils import logging as speech

    level, bars = speech.get_verbosity(), speech.is_progress_bar_enabled()
    others = [logging.getLogger(name) for name in ("bitsandbytes", "peft", "accelerate")]
    levels = [other.level for other in others]
    speech.set_verbosity(logging.CRITICAL)
    speech.disable_progress_bar()
    for other in others:
        other.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        speech.set_verbosity(level)
        if bars:
            speech.enable_progress_bar()
        for other, former in zip(others, levels, strict=True):
            other.setLevel(former)
