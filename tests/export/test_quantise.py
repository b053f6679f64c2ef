"""GGUF files rewritten with other tensor types."""

import ctypes
import os
import stat
from pathlib import Path

import gguf
import numpy as np
import pytest
import xllamacpp

from komt.errors import ModelError, UsageError
from komt.export.gguf_file import read_gguf
from komt.export.quantise import encode, quantise
from komt.models.gguf_header import read_header

WIDTH, HIDDEN, VOCABULARY, LAYERS = 256, 512, 96, 8


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    """A file in 16 bits with the tensors of a small Llama."""
    path = tmp_path_factory.mktemp("gguf") / "작은-F16.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_file_type(1)
    writer.add_head_count(4)
    writer.add_head_count_kv(2)
    writer.add_token_list([f"토큰{i}" for i in range(VOCABULARY)])
    writer.add_chat_template("{{ messages }} 한글")
    random = np.random.default_rng(0)

    def add(name, *shape):
        values = random.normal(0, 0.05, shape).astype(np.float16 if len(shape) > 1 else np.float32)
        writer.add_tensor(name, values)

    add("token_embd.weight", VOCABULARY, WIDTH)
    add("output_norm.weight", WIDTH)
    for i in range(LAYERS):
        add(f"blk.{i}.attn_v.weight", 128, WIDTH)
        add(f"blk.{i}.attn_norm.weight", WIDTH)
        add(f"blk.{i}.ffn_down.weight", WIDTH, HIDDEN)
        add(f"blk.{i}.ffn_up.weight", HIDDEN, WIDTH)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def weights(path):
    file = read_gguf(path)
    return {tensor.name: np.concatenate(list(file.weights(tensor))) for tensor in file.tensors}


@pytest.mark.parametrize(
    ("form", "file_type", "error"), [("q8_0", 7, 0.01), ("q4_0", 2, 0.15), ("q4_k_m", 15, 0.1)]
)
def test_a_quantised_file_holds_the_same_model_a_little_rounded(
    full, tmp_path, form, file_type, error, monkeypatch
):
    monkeypatch.setenv("PATH", str(tmp_path))
    out = quantise(full, tmp_path / "작은.gguf", form)
    header, before = read_header(out), read_header(full)
    assert header.values["general.file_type"] == file_type
    assert {**header.values, "general.file_type": 1} == dict(before.values)
    assert out.stat().st_size < 0.6 * full.stat().st_size
    rounded = weights(out)
    for name, exact in weights(full).items():
        scale = np.abs(exact).max()
        assert np.abs(rounded[name] - exact).max() <= error * scale, name
        if "norm" in name:
            assert (rounded[name] == exact).all()


def test_what_is_written_is_what_the_gguf_package_reads(full, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    out = quantise(full, tmp_path / "out.gguf", "q4_k_m")
    reader = gguf.GGUFReader(out)
    assert [field.contents() for name, field in reader.fields.items() if name.endswith("chat_template")] == [
        "{{ messages }} 한글"
    ]
    kinds = {tensor.name: tensor.tensor_type.name for tensor in reader.tensors}
    assert kinds["token_embd.weight"] == "Q6_K"
    assert [kinds[f"blk.{i}.ffn_down.weight"] for i in range(LAYERS)] == [
        "Q6_K" if i in {0, 3, 6, 7} else "Q4_K" for i in range(LAYERS)
    ]
    own = weights(out)
    for tensor in reader.tensors:
        expected = gguf.dequantize(tensor.data, tensor.tensor_type)
        assert np.array_equal(own[tensor.name].reshape(expected.shape), expected)


@pytest.mark.parametrize("kind", ["Q8_0", "Q4_0", "Q5_0", "Q5_1", "Q4_K", "Q5_K", "Q6_K"])
def test_rows_are_bit_for_bit_those_of_llama_cpp(kind):
    library = ctypes.CDLL(str(next(Path(xllamacpp.__file__).parent.glob("xllamacpp*.so"))))
    function, pointer, number = library.ggml_quantize_chunk, ctypes.c_void_p, ctypes.c_int64
    function.argtypes = [ctypes.c_int, pointer, pointer, number, number, number, pointer]
    function.restype = ctypes.c_size_t
    random = np.random.default_rng(0)
    weights = random.normal(0, random.uniform(0.001, 1, (64, 1)), (64, 1024)).astype(np.float32)
    ours = encode(weights, kind)
    theirs = np.empty_like(ours)
    wanted = int(gguf.GGMLQuantizationType[kind])
    size = function(wanted, weights.ctypes.data, theirs.ctypes.data, 0, 64, 1024, None)
    assert size == ours.size
    assert (ours == theirs).all()


def test_a_quantised_file_is_not_quantised_again(full, tmp_path):
    once = quantise(full, tmp_path / "once.gguf", "q8_0")
    with pytest.raises(ModelError, match="quantised already"):
        quantise(once, tmp_path / "twice.gguf", "q4_0")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["once.gguf"]


def test_a_weight_that_is_no_number_is_refused_and_nothing_is_left(full, tmp_path):
    broken = tmp_path / "broken.gguf"
    data = bytearray(full.read_bytes())
    tensor = next(t for t in read_gguf(full).tensors if t.name == "blk.3.ffn_up.weight")
    data[tensor.start : tensor.start + 2] = np.float16("nan").tobytes()
    broken.write_bytes(data)
    with pytest.raises(ModelError, match="not a finite number"):
        quantise(broken, tmp_path / "out.gguf", "q8_0")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["broken.gguf"]


def test_unknown_forms_are_named(full, tmp_path):
    with pytest.raises(UsageError, match="q9"):
        quantise(full, tmp_path / "out.gguf", "q9")


def program(folder, text):
    path = folder / "llama-quantize"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def test_llama_quantize_on_the_path_makes_k_quants(full, tmp_path, monkeypatch):
    folder = tmp_path / "bin"
    folder.mkdir()
    program(folder, 'cp "$1" "$2"; printf "%s" "$3" > "$0.said"')
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    out = quantise(full, tmp_path / "out.gguf", "q4_k_m")
    assert out.read_bytes() == full.read_bytes()
    assert (folder / "llama-quantize.said").read_text() == "Q4_K_M"
    assert read_header(quantise(full, tmp_path / "8.gguf", "q8_0")).values["general.file_type"] == 7


def test_a_failing_llama_quantize_is_quoted(full, tmp_path, monkeypatch):
    folder = tmp_path / "bin"
    folder.mkdir()
    program(folder, "echo main: failed to quantize model; exit 1")
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    with pytest.raises(ModelError, match="failed to quantize model"):
        quantise(full, tmp_path / "out.gguf", "q4_k_m")
    assert not (tmp_path / "out.gguf").exists()
