"""One model in the forms asked for: each written, measured against the trained model, and described."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from komt.errors import ModelError
from komt.export.adapter import adapter_gates, write_adapter
from komt.export.card import Form, name_of, write_card
from komt.export.gates import REPORTED, Gate, check_gates, reported, show_gates, write_gates
from komt.export.identity import about, base_of
from komt.export.leaks import leak_gate
from komt.export.merge import SHARD_SIZE, Dtype, fold, load_unmerged, save_merged, write_notices
from komt.export.parity import (
    Reference,
    base_gate,
    merge_gates,
    quantised_training_gate,
    reference_of,
    stored_gates,
)
from komt.export.run_facts import Run
from komt.files import write_json
from komt.models.adapt import make_readable
from komt.models.load import load_model, load_tokenizer
from komt.models.place import Place

Note = Callable[[str], None]


@dataclass(frozen=True)
class Options:
    """How forms are written.

    Attributes:
        dtype: of merged weights; None: bf16, or fp32 where bf16 fails its gates.
        shard_size: the largest file of weights; quants: of GGUF.
        repository: on the hub, where the files go, or "".
    """

    dtype: Dtype | None = None
    shard_size: str = SHARD_SIZE
    quants: tuple[str, ...] = ("q4_k_m",)
    repository: str = ""


@dataclass
class Work:
    """An export under way.

    Attributes:
        place: the model; run: where it was trained, if that is known.
        reference: what the trained model does; tokenizer: its own.
        model: in memory, unmerged, until a form takes it.
        gates: by form; stored: dtype of the weights written last.
        full: the merged model in fp32, where it was written already, and its gates.
    """

    place: Place
    run: Run | None
    options: Options
    note: Note
    reference: Reference
    tokenizer: Any
    model: Any
    gates: dict[str, list[Gate]] = field(default_factory=dict)
    stored: Dtype = "bf16"
    full: tuple[Path, list[Gate]] | None = None


def begin(place: Place, run: Run | None, options: Options, note: Note) -> Work:
    """Load the trained model and measure what it does, before anything is changed."""
    note("loading the base in fp32")
    model, tokenizer = load_model(place, 32), load_tokenizer(place)
    note("measuring the trained model")
    reference = reference_of(model, tokenizer, run.data if run else None)
    return Work(place, run, options, note, reference, tokenizer, model)


def write_form(work: Work, form: Form, folder: Path) -> None:
    """Write one form with its card and its gates; callers stage the folder.

    Raises:
        ModelError: a gate failed; the table of all of them was printed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    gates = [base_gate(work.place)] if work.place.adapter is not None else []
    gates += {"merged": _merged, "adapter": _adapter, "gguf": _gguf}[form](work, folder)
    _card(work, form, folder, gates)
    gates.append(leak_gate(work.place, folder))
    _card(work, form, folder, gates)
    work.gates[form] = gates
    if not all(gate.passed for gate in gates):
        show_gates(gates)
    check_gates(gates)
    write_gates(folder, gates)
    make_readable(folder)


def _card(work: Work, form: Form, folder: Path, gates: Sequence[Gate]) -> None:
    stored, repository = work.stored, work.options.repository
    write_card(work.place, folder, form, run=work.run, gates=gates, stored=stored, repository=repository)


def _merged(work: Work, folder: Path) -> list[Gate]:
    """In the dtype asked for; without a wish in bf16, or in fp32 where bf16 changes too many answers."""
    asked = work.options.dtype
    gates = _merged_as(work, folder, asked or "bf16")
    lost = [gate for gate in gates if not gate.passed and gate.name.startswith("weights in bf16")]
    if lost and not asked:
        work.note("bf16 rounds too much away: writing fp32")
        shutil.rmtree(folder)
        told = "; ".join(f"{gate.measured}, allowed {gate.allowed}" for gate in lost)
        gates = [*_merged_as(work, folder, "fp32"), reported("weights in bf16, therefore not taken", told)]
    if work.stored == "fp32":
        work.full = (folder, gates)
    return gates


def _merged_as(work: Work, folder: Path, dtype: Dtype) -> list[Gate]:
    adapted = work.place.adapter is not None
    work.note("merging")
    model = fold(work.model if work.model is not None else load_unmerged(work.place), work.place)
    work.model = None  # it changes now: another form starts anew, and never are two in memory
    gates = merge_gates(work.reference, model) if adapted else []
    work.note(f"writing weights in {dtype}")
    save_merged(model, work.tokenizer, work.place, folder, dtype, work.options.shard_size)
    del model
    work.stored = dtype
    work.note("measuring what was written")
    gates += stored_gates(work.reference, folder, work.place, dtype)
    bits = work.run.recipe.model.bits if work.run and adapted else 32
    if bits < 16:
        work.note(f"measuring the base in {bits} bits")
        gates.append(quantised_training_gate(work.place, bits, work.reference))
    return gates


def _adapter(work: Work, folder: Path) -> list[Gate]:
    work.model = None
    work.note("writing the adapter")
    write_adapter(work.place, folder)
    work.note("measuring what was written")
    return adapter_gates(work.place, folder, work.reference)


def _gguf(work: Work, folder: Path) -> list[Gate]:
    """GGUF from weights in fp32: rounding twice would cost what the gates measure."""
    from komt.export.gguf_convert import export_gguf
    from komt.export.gguf_gates import gguf_gates
    from komt.export.modelfile import write_modelfiles

    name, own = name_of(work.place, work.run), folder / ".merged"
    merged, measured = work.full or (own, _merged_as(work, own, "fp32"))
    gates = [gate for gate in measured if gate.allowed != REPORTED]
    files = export_gguf(merged, folder, work.options.quants, work.note, name=name)
    work.note("asking llama.cpp")
    gates += gguf_gates(merged, files, work.reference)
    licence = base_of(work.place).licence
    write_modelfiles(merged, files, licence=" ".join(filter(None, (licence.name, licence.url))))
    shutil.rmtree(own, ignore_errors=True)
    if work.place.adapter is not None:
        gates += _lora(work, folder, name)
    write_notices(work.place, folder)
    write_json(folder / "komt.json", about(work.place))
    return gates


def _lora(work: Work, folder: Path, name: str) -> list[Gate]:
    """The adapter as a GGUF file, measured on its base; where llama.cpp cannot apply it, the reason."""
    from komt.export.gguf_convert import convert
    from komt.export.gguf_gates import full_gates
    from komt.export.gguf_measure import AT_ONCE, against, likeliest
    from komt.export.lora_gguf import convert_lora, lora_name
    from komt.models import llama_cpp

    assert work.place.adapter is not None
    work.note("converting the adapter")
    try:
        lora = convert_lora(work.place.adapter, work.place.folder, folder / lora_name(name))
    except ModelError as error:
        return [reported("GGUF adapter", f"left out: {error.what}")]
    base = convert(work.place.folder, folder / ".base-F16.gguf", name=base_of(work.place).name)
    context = max(len(work.reference.ids) + 64, 2048)
    with llama_cpp.start(base, adapters={"adapter": lora}, context=context, slots=AT_ONCE) as server:
        chosen = likeliest(server, work.reference.ids)
    base.unlink()
    return full_gates("adapter on the base in F16", against(work.reference.logits, chosen))
