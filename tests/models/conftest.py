"""A tiny Gemma 3 packaged as the real one is: GGUF chunks in distributions, its entry in a plugin."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from komt.testing import tiny_model, tiny_model_folder

PROBE = "가 나"
_WORDS = ["▁", "가", "나", "다", "라", "\n", "▁가", "▁나", "가나"]
TOKENS = ["<pad>", "<eos>", "<bos>", "<unk>", *[f"<0x{byte:02X}>" for byte in range(256)], *_WORDS]
PROBE_IDS = [2, TOKENS.index("가"), TOKENS.index("▁나")]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tiny_model_folder(tmp_path / "tiny", "llama")


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for PYTHONPATH: two chunk distributions and a plugin that adds the model `tiny-packaged`."""
    site = tmp_path_factory.mktemp("site")
    data = _gguf(site / "tiny.gguf").read_bytes()
    (site / "tiny.gguf").unlink()
    half = len(data) // 2
    for number, chunk in enumerate((data[:half], data[half:])):
        file = f"tiny_part{number}/data/tiny.gguf.part0{number}"
        (site / file).parent.mkdir(parents=True)
        (site / file).write_bytes(chunk)
        # Importing a chunk package would be an error: komt must only look at its files.
        (site / f"tiny_part{number}" / "__init__.py").write_text("raise RuntimeError('imported')\n")
        _distribution(site, f"tiny-part{number}", [file, f"tiny_part{number}/__init__.py"])
    (site / "tiny_plugin.py").write_text(_PLUGIN.format(sha256=hashlib.sha256(data).hexdigest()))
    info = _distribution(site, "tiny-plugin", ["tiny_plugin.py"])
    (info / "entry_points.txt").write_text("[komt.models]\ntiny-packaged = tiny_plugin:ENTRY\n")
    return site


_PLUGIN = f"""
from komt.models.catalog import Embedded, Entry, Probe
ENTRY = Entry(
    name="tiny-packaged", title="a tiny model", parameters=1, licence="CC0", licence_url="", hub="",
    embedded=Embedded(
        package="tiny", chunks=("tiny-part0", "tiny-part1"), sha256="{{sha256}}",
        terms="Terms of the tiny model.", probe=Probe(text={PROBE!r}, ids={tuple(PROBE_IDS)}),
    ),
)
"""


def _distribution(site: Path, name: str, files: list[str]) -> Path:
    info = site / f"{name.replace('-', '_')}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    names = [*files, f"{info.name}/METADATA", f"{info.name}/RECORD"]
    (info / "RECORD").write_text("".join(f"{file},,\n" for file in names))
    return info


def _gguf(path: Path) -> Path:
    """A random Gemma 3 as a GGUF file, as llama.cpp names and stores its parts (norms plus one)."""
    import gguf

    model = tiny_model("gemma3", len(TOKENS))
    config = model.config
    writer = gguf.GGUFWriter(path, "gemma3")
    writer.add_name("tiny")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(config.head_dim)
    writer.add_value_length(config.head_dim)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_rope_freq_base(1e6)
    writer.add_sliding_window(8)
    writer.add_tokenizer_model("llama")
    writer.add_token_list(TOKENS)
    writer.add_token_scores([0.0] * len(TOKENS))
    writer.add_token_types([3] * 4 + [6] * 256 + [1] * len(_WORDS))
    writer.add_pad_token_id(0)
    writer.add_eos_token_id(1)
    writer.add_bos_token_id(2)
    writer.add_unk_token_id(3)
    writer.add_add_bos_token(True)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.GEMMA3, config.num_hidden_layers)
    for name, tensor in model.state_dict().items():
        if name != "lm_head.weight":
            shift = 1.0 if "norm" in name else 0.0
            values = tensor.float().numpy().astype(np.float32) + np.float32(shift)
            writer.add_tensor(f"{names.get_name(name.removesuffix('.weight'))}.weight", values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.fixture
def python(tmp_path: Path, site: Path) -> Callable[..., subprocess.Popen[str]]:
    """Start a Python that sees the packaged model, with its own KOMT_HOME and an empty, unreachable hub."""

    def start(code: str, **variables: str) -> subprocess.Popen[str]:
        ours = {
            "PYTHONPATH": str(site),
            "KOMT_HOME": str(tmp_path / "home"),
            "HF_HOME": str(tmp_path / "hub"),
            "HF_ENDPOINT": "http://127.0.0.1:9",
        }
        kept = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
        return subprocess.Popen(
            [sys.executable, "-c", code],
            env={**kept, **ours, **variables},
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    return start
