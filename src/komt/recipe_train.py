"""Pieces of a recipe's train part: LoRA's options, and what is measured, shown and stopped by on the way."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from komt.strict import Count, Part

Supervise = Literal["answers", "last", "all_turns", "text"]
# AdamW with averages in 32 bits or, by bitsandbytes, in 8; paged: moved between GPU and CPU memory as needed.
Optim = Literal["adamw", "adamw_8bit", "paged_adamw", "paged_adamw_8bit"]
# PEFT's ways of starting LoRA that also rewrite the base's weights.
_CHANGES_BASE = ("pissa", "loftq", "olora", "corda", "lora_ga")


class LoraPart(Part):
    """LoRA as published, and those of its variants that leave the base's weights as they are.

    Attributes:
        r, alpha, dropout: rank, scale, dropout before the adapter.
        targets: which layers ("all-linear" or their names).
        rslora: scale by alpha / sqrt(r) (arXiv 2312.03732); dora: direction and magnitude apart (2402.09353).
        plus_ratio: learning rate of B over that of A (LoRA+, 2402.12354).
        init: how A starts; B starts at nought.
        modules_to_save: layers that are trained as a whole, in copies, as embed_tokens or lm_head.
    """

    r: Count = 8
    alpha: Count = 32
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.05
    targets: str | tuple[str, ...] = "all-linear"
    rslora: bool = False
    dora: bool = False
    plus_ratio: Annotated[float, Field(ge=1)] = 1.0
    init: Literal["default", "gaussian"] = "default"
    modules_to_save: tuple[str, ...] = ()

    @field_validator("init", mode="before")
    @classmethod
    def _keeps_the_base(cls, value: Any) -> Any:
        if str(value).lower().startswith(_CHANGES_BASE):
            raise ValueError(
                f"{value} rewrites the base's own weights, so that merged weights and the comparison with "
                "the base would be wrong: use default or gaussian"
            )
        return value


class HeldOutPart(Part):
    """Loss, accuracy and perplexity on the evaluation split, every so many steps; `examples` of each task."""

    every_steps: Count = 50
    examples: Count = 64


class GeneratePart(Part):
    """Answers to some held-out prompts, every so many steps; `examples` in all, the tasks in turn."""

    every_steps: Count = 100
    examples: Count = 4
    max_new_tokens: Count = 64


class StopPart(Part):
    """Early stopping: after `patience` measurements in a row none of which gained more than `min_gain`."""

    patience: Count = 3
    metric: Literal["loss", "accuracy"] = "loss"
    min_gain: Annotated[float, Field(ge=0)] = 0.0
