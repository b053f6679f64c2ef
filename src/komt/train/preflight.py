"""Before training: is every row trained on, with one BOS, an end token, and the prompt that serving gives?

Everything here needs the tokenizer and the encoded data only, no model, and takes about a second.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from komt.example import Example, Message
from komt.mix import Manifest
from komt.models.template import end_text
from komt.pack.encode import TokenSequence, prompt_ids, supervised_turns
from komt.train.finding import Finding, first_row, rows_that
from komt.train.special_tokens import TokenCounts, count_tokens, token_findings

Serve = Callable[[Sequence[Message]], list[int]]

# Prompts compared with what serving makes of them; the templates are few, the rows many.
_COMPARED = 64


@dataclass(frozen=True, slots=True)
class TaskFacts:
    """What one task gives to training.

    Attributes:
        examples: rows; sequences: supervised turns, each with what stands before it.
        tokens: of the sequences, unshared; supervised: those that are trained on; longest: of one sequence.
        unsupervised: rows without a token that is trained on.
        shortened, over_long: rows cut around their evidence, and left out, when the data was built.
    """

    task: str
    examples: int
    sequences: int
    tokens: int
    supervised: int
    longest: int
    unsupervised: int
    shortened: int = 0
    over_long: int = 0


@dataclass(frozen=True, slots=True)
class Facts:
    """What was found.

    Attributes:
        tasks: by task, in the order of names.
        bos: the token that stands once before every sequence, or "".
        end: the token that ends every answer, and is trained on.
        compared: prompts that were compared with the serving path.
        findings: what is wrong, errors first.
    """

    tasks: tuple[TaskFacts, ...]
    bos: str
    end: str
    compared: int
    findings: tuple[Finding, ...]

    def __str__(self) -> str:
        tokens, supervised = (sum(getattr(task, name) for task in self.tasks) for name in _SUMMED)
        share = supervised / tokens if tokens else 0.0
        bos = f"one {self.bos} before each, " if self.bos else ""
        return (
            f"checked: {sum(task.examples for task in self.tasks):,} rows, {share:.1%} of {tokens:,} tokens "
            f"trained on; {bos}{self.end} trained on; {self.compared} prompts as served"
        )


_SUMMED = ("tokens", "supervised")


def preflight(
    tokenizer: Any,
    examples: Sequence[Example],
    sequences: Sequence[TokenSequence],
    *,
    allow_unsupervised: bool = False,
    manifest: Manifest | None = None,
    folder: Path | None = None,
    serve: Serve | None = None,
) -> Facts:
    """Look at encoded data as training will see it.

    Args:
        tokenizer: with a chat template.
        examples: the training rows.
        sequences: what `encode` made of them.
        allow_unsupervised: rows without a supervised token are a warning, not an error.
        manifest: of the build, which knows what was shortened or left out.
        folder: of the base model, whose stop tokens and vocabulary are compared.
        serve: a prompt's ids as served; default: `pack.encode.prompt_ids`, which the engines call.
    """
    tokens = count_tokens(tokenizer, sequences)
    trained = {sequence.example for sequence, n in zip(sequences, tokens.supervised, strict=True) if n}
    untrained = [example for example in examples if example.id not in trained]
    findings = [
        *_unsupervised(untrained, allow=allow_unsupervised),
        *token_findings(tokenizer, sequences, tokens, folder),
    ]
    serve = serve or (lambda messages: prompt_ids(tokenizer, messages))
    compared, differing = compare_prompts(examples, sequences, serve)
    findings += differing
    bos = str(tokenizer.bos_token) if tokens.expects_bos else ""
    in_order = sorted(findings, key=lambda finding: finding.level)
    tasks = _by_task(examples, untrained, sequences, tokens, manifest)
    return Facts(tasks, bos, end_text(tokenizer), compared, tuple(in_order))


def supervised_only(sequences: Sequence[TokenSequence]) -> list[TokenSequence]:
    """The sequences that hold a token to train on (the first of a sequence is never predicted)."""
    return [sequence for sequence in sequences if bool(sequence.weights[1:].any())]


def _by_task(
    examples: Sequence[Example],
    untrained: Sequence[Example],
    sequences: Sequence[TokenSequence],
    tokens: TokenCounts,
    manifest: Manifest | None,
) -> tuple[TaskFacts, ...]:
    rows = Counter(example.task for example in examples)
    unsupervised = Counter(example.task for example in untrained)
    turns, total, trained, longest = Counter[str](), Counter[str](), Counter[str](), Counter[str]()
    for sequence, n in zip(sequences, tokens.supervised.tolist(), strict=True):
        task, length = sequence.task, len(sequence)
        turns[task] += 1
        total[task] += length
        trained[task] += n
        longest[task] = max(longest[task], length)
    named = manifest.tasks if manifest else {}
    tasks = []
    for task in sorted({*rows, *turns, *named}):
        facts = TaskFacts(
            task, rows[task], turns[task], total[task], trained[task], longest[task], unsupervised[task]
        )
        if task in named:
            left_out = sum(reasons.get("over_long", 0) for reasons in named[task].rejected.values())
            facts = replace(facts, shortened=named[task].shortened, over_long=left_out)
        tasks.append(facts)
    return tuple(tasks)


def _unsupervised(rows: Sequence[Example], *, allow: bool) -> Iterator[Finding]:
    if not rows:
        return
    what = f"{rows_that(len(rows), 'has', 'have')} no token to train on"
    where = first_row(rows[0].task, rows[0].id)
    if allow:
        yield Finding("warning", f"{what}; left out, as train.unsupervised says", where)
        return
    cure = "mark their answers as supervised, or leave these rows out by train.unsupervised=skip"
    yield Finding("error", what, where, cure)


def compare_prompts(
    examples: Sequence[Example], sequences: Sequence[TokenSequence], serve: Serve
) -> tuple[int, list[Finding]]:
    """How many prompts were compared, and the finding when training and serving encode them differently.

    The rows are spread evenly over the data; of a conversation the last supervised turn is compared.
    """
    last = {sequence.example: sequence for sequence in sequences}
    asked = [example for example in examples if example.id in last and any(supervised_turns(example))]
    chosen = asked[:: max(1, -(-len(asked) // _COMPARED))]
    differing = []
    for example in chosen:
        served = serve(example.prompt)
        sequence = last[example.id]
        if sequence.ids[: len(served)].tolist() != served or not sequence.weights[len(served) :].all():
            differing.append(example)
    if not differing:
        return len(chosen), []
    finding = Finding(
        "error",
        f"{len(differing)} of {len(chosen)} prompts have other token ids when served than in training",
        where=first_row(differing[0].task, differing[0].id),
        cure="mend the model's chat template: the prompt must not depend on the answer that follows",
        about="model",
    )
    return len(chosen), [finding]
