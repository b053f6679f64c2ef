"""LoRA adapters as GGUF files, put on a GGUF base by llama.cpp."""

import json

import pytest
import torch
from converted import converted

from komt.errors import ModelError
from komt.export.gguf_measure import likeliest
from komt.export.lora_gguf import convert_lora, lora_name
from komt.export.measure import text_logits
from komt.export.text import reference_ids
from komt.models import llama_cpp
from komt.models.gguf_header import read_header
from komt.models.load import load_model, load_tokenizer
from komt.models.resolve import resolve


@pytest.mark.parametrize(
    ("family", "settings"),
    [
        ("llama", {}),
        ("gemma3", {}),
        ("qwen3", {"use_rslora": True, "r": 4, "lora_alpha": 2}),
    ],
)
def test_base_and_adapter_answer_as_in_transformers(tmp_path, adapted, family, settings):
    folder, full = converted(family)
    place = adapted(resolve(str(folder)), **settings)
    model, tokenizer = load_model(place, 32), load_tokenizer(place)
    file = convert_lora(place.adapter, place.folder, tmp_path / lora_name("작은"))
    assert file.name == "작은-lora-F16.gguf"
    assert read_header(file).kind == "adapter"
    ids = reference_ids(tokenizer, 64)
    with llama_cpp.start(full, adapters={"작은": file}, context=512, threads=1) as server:
        chosen, unadapted = likeliest(server, ids), likeliest(server, ids, "")
    with model.disable_adapter():
        without = text_logits(model, ids).argmax(-1)
    wanted = text_logits(model, ids).argmax(-1)
    assert (wanted != without).sum() > 5  # the adapter does change something
    assert (torch.tensor(chosen) == wanted).sum() >= 63
    assert (torch.tensor(unadapted) == without).sum() >= 63


@pytest.mark.parametrize(
    ("setting", "reason"),
    [
        ({"use_dora": True}, "DoRA"),
        ({"peft_type": "IA3"}, "IA3"),
        ({"modules_to_save": ["lm_head"]}, "whole layers"),
        ({"alpha_pattern": {"q_proj": 3}}, "different factors"),
        ({"bias": "all"}, "biases"),
    ],
)
def test_what_llama_cpp_cannot_apply_is_refused(tmp_path, base, adapted, setting, reason):
    place = adapted(base("llama"))
    path = place.adapter / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **setting}))
    with pytest.raises(ModelError, match=reason):
        convert_lora(place.adapter, place.folder, tmp_path / "out" / "out.gguf")
    assert not (tmp_path / "out").exists()
