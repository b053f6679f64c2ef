"""Gates of GGUF files: green for what was exported, red for anything else."""

from dataclasses import replace

import pytest
import torch
from converted import configure, converted, copy_of

from komt.export.answers import Asked
from komt.export.gguf_file import read_gguf
from komt.export.gguf_gates import _window_gates, full_gates, gguf_gates, tuning_gates
from komt.export.gguf_measure import against, likeliest, put_weights
from komt.export.measure import Agreement, load_exported, load_exported_tokenizer, text_logits
from komt.export.parity import Reference
from komt.export.quantise import quantise
from komt.export.text import reference_ids
from komt.models import llama_cpp
from komt.testing import tiny_model_folder


def failed(gates):
    return [gate.name for gate in gates if not gate.passed]


@pytest.mark.parametrize(
    ("family", "kind"),
    [("llama", "bytes"), ("mistral", "metaspace"), ("qwen3", "bytes"), ("gemma3", "bytes")],
)
def test_an_exported_file_passes(family, kind):
    folder, file = converted(family, kind)
    gates = gguf_gates(folder, [file])
    assert failed(gates) == []
    names = [gate.name for gate in gates]
    assert len(names) == len(set(names))
    assert "512" in gates[0].measured
    assert "GGUF F16: llama.cpp stops at the template's end token" in names


def test_quantised_files_are_measured_too(tmp_path):
    folder, file = converted("gemma3")
    rounded = quantise(file, tmp_path / "tiny-Q8_0.gguf", "q8_0")
    gates = {gate.name: gate for gate in gguf_gates(folder, [rounded])}
    shown = gates["GGUF Q8_0: perplexity of its weights, dequantised in transformers"]
    assert "against" in shown.measured
    own = gates["GGUF Q8_0: llama.cpp and transformers agree on its weights"]
    assert int(own.measured.split()[0]) >= 480


def test_another_models_weights_fail(tmp_path):
    _, file = converted("llama")
    other = tiny_model_folder(tmp_path / "other", "llama", seed=1)
    gates = gguf_gates(other, [file])
    assert failed(gates)[0] == "GGUF F16: same likeliest token through llama.cpp"


def test_another_template_fails(tmp_path):
    folder, file = converted("llama")
    file = copy_of(file, tmp_path)
    data = file.read_bytes()
    assert data.count(b"### instruction: ") == 1
    file.write_bytes(data.replace(b"### instruction: ", b"### Instruction: "))
    assert failed(gguf_gates(folder, [file])) == [
        "GGUF F16: chat template, text equal",
        "GGUF F16: chat template, ids equal",
        "GGUF F16: ids of decomposed jamo (NFD)",
    ]


def test_another_end_token_fails(tmp_path):
    folder, file = converted("llama")
    file = copy_of(file, tmp_path)
    data = file.read_bytes()
    key = b"tokenizer.ggml.eos_token_id\x04\x00\x00\x00"
    assert data.count(key + b"\x01\x00\x00\x00") == 1
    data = data.replace(key + b"\x01\x00\x00\x00", key + b"\x21\x00\x00\x00")
    name = b"\x05\x00\x00\x00\x00\x00\x00\x00<eos>"  # llama.cpp knows this name as well
    file.write_bytes(data.replace(name, name[:-5] + b"<eoz>"))
    gates = gguf_gates(folder, [file])
    assert "GGUF F16: llama.cpp stops at the template's end token" in failed(gates)


def test_a_window_that_llama_cpp_does_not_know_is_told_or_fails(tmp_path):
    folder = tiny_model_folder(tmp_path / "model", "mistral")
    configure(folder, sliding_window=1024)
    told = _window_gates(folder, 513)
    assert [gate.allowed for gate in told] == ["reported"]
    assert "1,024 tokens" in told[0].measured
    configure(folder, sliding_window=256)
    assert failed(_window_gates(folder, 513)) == ["GGUF: sliding window"]
    configure(folder, sliding_window=None)
    assert _window_gates(folder, 513) == []


def test_slots_that_share_the_text_choose_as_one_does():
    folder, file = converted("llama")
    ids = reference_ids(load_exported_tokenizer(folder), 70)
    chosen = []
    for slots in (1, 4):
        with llama_cpp.start(file, context=512, slots=slots, threads=1) as server:
            chosen.append(likeliest(server, ids))
    assert chosen[0] == chosen[1]
    assert len(chosen[0]) == 70


def test_limits_of_the_full_forms():
    assert failed(full_gates("F16", Agreement(512, 507, 0.05))) == []
    assert failed(full_gates("F16", Agreement(512, 506, 0.05))) == [
        "GGUF F16: same likeliest token through llama.cpp"
    ]
    assert failed(full_gates("F16", Agreement(512, 511, 0.2))) == [
        "GGUF F16: largest margin where it differs"
    ]


def test_what_is_left_of_the_tuning_is_told():
    logits = torch.eye(4)[[0, 1, 2, 3]]
    reference = Reference([], logits, 2.0, Asked((), 1, ""), 0, torch.tensor([0, 0, 0, 0]))
    (gate,) = tuning_gates("Q4_K_M", reference, [0, 1, 0, 3])
    assert gate.measured == "2 of 3 (66.7%) where the tuned model and its base choose apart"
    assert gate.allowed == "reported"
    (gate,) = tuning_gates("Q4_K_M", reference, [0, 1, 0, 0])
    assert gate.measured.endswith("; more is lost than kept: --quant q8_0 keeps more")
    assert tuning_gates("Q4_K_M", replace(reference, base_choices=torch.arange(4)), [0, 1, 2, 3]) == []
    assert tuning_gates("Q4_K_M", replace(reference, base_choices=None), [0, 1, 2, 3]) == []


def test_probes_compare_choices_with_logits():
    logits = torch.tensor([[0.0, 2.0, 1.5], [3.0, 0.0, 1.0]])
    assert against(logits, [1, 0]) == Agreement(2, 2, 0.0)
    assert against(logits, [2, 0]) == Agreement(2, 1, 0.5)


@pytest.mark.parametrize("family", ["llama", "mistral", "qwen3", "gemma3"])
def test_weights_put_back_compute_what_the_folder_does(family):
    folder, file = converted(family, "metaspace" if family == "mistral" else "bytes")
    model, tokenizer = load_exported(folder), load_exported_tokenizer(folder)
    ids = reference_ids(tokenizer, 32)
    wanted = text_logits(model, ids)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim > 1:
                weight.zero_()
    count = put_weights(model, file)
    assert count == sum(len(tensor.shape) > 1 for tensor in read_gguf(file).tensors)
    assert (text_logits(model, ids) - wanted).abs().max() < 1e-3
