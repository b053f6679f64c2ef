"""Loading, LoRA and saving: exact, quiet, and readable by PEFT and transformers alone."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from komt.errors import ModelError, UsageError
from komt.files import sha256
from komt.models.adapt import linear_layers
from komt.models.load import attach_lora, load_model, load_tokenizer, save_adapter, save_full
from komt.models.resolve import Place, resolve
from komt.models.template import KOMT_TEMPLATE
from komt.recipe import LoraPart
from komt.testing import FAMILIES, tiny_model_folder

TEXT = "서울은 대한민국의 수도이며 한강이 도시를 가로지른다."
LORA = LoraPart(r=4, dropout=0.0)


@pytest.fixture(params=FAMILIES)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    return resolve(str(tiny_model_folder(tmp_path / "base", request.param)))


@pytest.fixture
def llama(tmp_path: Path) -> Place:
    return resolve(str(tiny_model_folder(tmp_path / "base", "llama")))


def ids_of(place: Place) -> torch.Tensor:
    ids: torch.Tensor = load_tokenizer(place)(TEXT, return_tensors="pt")["input_ids"]
    return ids


def randomise(model: Any) -> Any:
    """LoRA starts with B = 0, where it changes nothing and every gradient of A is zero."""
    noise = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                weight.copy_(torch.randn(weight.shape, generator=noise) * 0.1)
    return model


def logits(model: Any, ids: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        values: torch.Tensor = model(ids).logits
    return values


def gradients(model: Any, ids: torch.Tensor) -> tuple[float, dict[str, torch.Tensor]]:
    model.train()
    model.zero_grad()
    loss = model(ids, labels=ids).loss
    loss.backward()
    found = {name: weight.grad.clone() for name, weight in model.named_parameters() if weight.requires_grad}
    return loss.item(), found


def files_of(folder: Path) -> dict[str, str]:
    return {path.name: sha256(path) for path in folder.iterdir()}


@pytest.mark.parametrize("bits", [32, 16])
def test_an_adapter_saved_and_loaded_answers_bit_for_bit_the_same(
    place: Place, bits: Any, tmp_path: Path
) -> None:
    ids = ids_of(place)
    model = randomise(attach_lora(load_model(place, bits), LORA, seed=3)).eval()
    save_adapter(model, load_tokenizer(place), place, tmp_path / "adapter")
    tuned = resolve(str(tmp_path / "adapter"))
    assert torch.equal(logits(load_model(tuned, bits), ids), logits(model, ids))
    bare = logits(load_model(tuned, bits, adapter=False), ids)
    assert torch.equal(bare, logits(load_model(place, bits), ids))
    assert not torch.equal(bare, logits(model, ids))


def test_an_adapter_saved_twice_has_the_same_bytes(llama: Place, tmp_path: Path) -> None:
    """In another process, where sets have another order."""
    code = (
        "import sys; from pathlib import Path; from komt.models.load import *\n"
        "from komt.recipe import LoraPart; from komt.models.resolve import resolve\n"
        "place = resolve(sys.argv[1])\n"
        "model = attach_lora(load_model(place, 32), LoraPart(r=4, dropout=0.0), seed=3)\n"
        "save_adapter(model, load_tokenizer(place), place, Path(sys.argv[2]))\n"
    )
    saved = []
    for number in ("1", "2"):
        target = tmp_path / number
        command = [sys.executable, "-c", code, str(llama.folder), str(target)]
        done = subprocess.run(
            command, capture_output=True, text=True, env={"PYTHONHASHSEED": number}, check=True
        )
        assert done.stderr == ""
        saved.append(files_of(target))
    assert saved[0] == saved[1]
    assert {"adapter_model.safetensors", "adapter_config.json", "tokenizer.json", "komt.json"} <= saved[
        0
    ].keys()
    assert "README.md" not in saved[0]
    config = json.loads((tmp_path / "1" / "adapter_config.json").read_text())
    assert config["target_modules"] == sorted(config["target_modules"])
    about = json.loads((tmp_path / "1" / "komt.json").read_text())
    assert about["base"] == str(llama.folder)
    assert about["base_revision"] == llama.revision


def test_programs_outside_komt_load_an_adapter(llama: Place, tmp_path: Path) -> None:
    from peft import AutoPeftModelForCausalLM

    model = randomise(attach_lora(load_model(llama, 32), LORA, seed=0)).eval()
    save_adapter(model, load_tokenizer(llama), llama, tmp_path / "adapter")
    theirs = AutoPeftModelForCausalLM.from_pretrained(tmp_path / "adapter").eval()
    assert torch.equal(logits(theirs, ids_of(llama)), logits(model, ids_of(llama)))


def test_a_whole_model_saved_and_loaded_is_the_same(place: Place, tmp_path: Path) -> None:
    model = load_model(place, 16, trainable=True)
    assert all(weight.requires_grad for weight in model.parameters())
    with torch.no_grad():
        next(model.parameters()).mul_(1.5)
    save_full(model, load_tokenizer(place), place, tmp_path / "full")
    saved = resolve(str(tmp_path / "full"))
    assert torch.equal(logits(load_model(saved, 16), ids_of(place)), logits(model, ids_of(place)))
    assert load_tokenizer(saved).chat_template == KOMT_TEMPLATE
    save_full(model, load_tokenizer(place), place, tmp_path / "again")
    assert files_of(tmp_path / "full") == files_of(tmp_path / "again")


@pytest.mark.parametrize("bits", [4, 8])
def test_quantised_models_are_not_saved_whole(llama: Place, bits: Any, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="only a plain model in 16 or 32 bits"):
        save_full(load_model(llama, bits), load_tokenizer(llama), llama, tmp_path / "full")


@pytest.mark.parametrize("bits", [4, 8])
def test_gradients_are_the_same_before_and_after_an_evaluation(place: Place, bits: Any) -> None:
    """bitsandbytes repacks 4-bit layers in the first evaluation on some CPUs; gradients then vanish."""
    ids = ids_of(place)
    model = randomise(attach_lora(load_model(place, bits), LORA, seed=0))
    loss, before = gradients(model, ids)
    logits(model.eval(), ids)
    loss_after, after = gradients(model, ids)
    assert loss == loss_after
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert all(gradient.abs().sum() > 0 for gradient in before.values())


@pytest.mark.parametrize("bits", [4, 8])
def test_quantised_weights_are_near_the_plain_ones(llama: Place, bits: Any) -> None:
    import bitsandbytes

    kind = {4: bitsandbytes.nn.Linear4bit, 8: bitsandbytes.nn.Linear8bitLt}[bits]
    model, ids = load_model(llama, bits), ids_of(llama)
    assert sum(isinstance(module, kind) for module in model.modules()) == 3 * 7
    plain = logits(load_model(llama, 32), ids)
    error = (logits(model, ids).float() - plain).norm() / plain.norm()
    assert error < {4: 0.3, 8: 0.05}[bits]


def test_lora_weights_follow_the_seed_in_fp32(llama: Place) -> None:
    def weights(seed: int) -> dict[str, torch.Tensor]:
        model = attach_lora(load_model(llama, 16), LORA, seed)
        return {name: weight for name, weight in model.named_parameters() if weight.requires_grad}

    torch.manual_seed(7)
    first, state = weights(0), torch.get_rng_state()
    second, third = weights(0), weights(1)
    assert torch.equal(state, torch.get_rng_state())
    assert all("lora_" in name and weight.dtype == torch.float32 for name, weight in first.items())
    assert len(first) == 2 * 3 * 7
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not all(torch.equal(first[name], third[name]) for name in first)


def test_targets_by_name(llama: Place) -> None:
    model = attach_lora(load_model(llama, 32), LoraPart(targets=("q_proj", "v_proj")), seed=0)
    assert sum("lora_A" in name for name, _ in model.named_parameters()) == 2 * 3


def test_an_unknown_target_lists_the_layers_there_are(place: Place) -> None:
    model = load_model(place, 32)
    assert linear_layers(model) == [
        "down_proj", "gate_proj", "k_proj", "o_proj", "q_proj", "up_proj", "v_proj"
    ]  # fmt: skip
    with pytest.raises(
        UsageError, match="'q_prj' names no layer of the model; did you mean 'q_proj'"
    ) as caught:
        attach_lora(model, LoraPart(targets=("q_prj",)), seed=0)
    assert "down_proj, gate_proj" in str(caught.value)


def test_an_adapter_goes_on_training(llama: Place, tmp_path: Path) -> None:
    save_adapter(
        attach_lora(load_model(llama, 32), LORA, 0), load_tokenizer(llama), llama, tmp_path / "adapter"
    )
    tuned = resolve(str(tmp_path / "adapter"))
    free = [
        name
        for name, weight in load_model(tuned, 32, trainable=True).named_parameters()
        if weight.requires_grad
    ]
    assert len(free) == 2 * 3 * 7
    assert not any(weight.requires_grad for weight in load_model(tuned, 32).parameters())


def test_the_adapters_own_template_goes_first(llama: Place, tmp_path: Path) -> None:
    tokenizer = load_tokenizer(llama)
    tokenizer.chat_template = KOMT_TEMPLATE.replace("### instruction: ", "### 지시: ")
    save_adapter(attach_lora(load_model(llama, 32), LORA, 0), tokenizer, llama, tmp_path / "adapter")
    assert "### 지시: " in load_tokenizer(resolve(str(tmp_path / "adapter"))).chat_template


def test_the_catalogues_template_goes_before_the_models(llama: Place) -> None:
    from dataclasses import replace

    form = "{{ messages[0]['content'] }}{{ eos_token }}"
    assert load_tokenizer(replace(llama, template=form)).chat_template == form


def test_padding_stands_left_and_leaves_the_end_token_alone(llama: Place) -> None:
    path = llama.folder / "tokenizer_config.json"
    config = json.loads(path.read_text())
    del config["pad_token"]
    path.write_text(json.dumps(config))
    tokenizer = load_tokenizer(llama)
    assert (tokenizer.pad_token, tokenizer.eos_token, tokenizer.padding_side) == ("<pad>", "<eos>", "left")


def test_an_unknown_architecture_is_one_sentence(llama: Place) -> None:
    (llama.folder / "config.json").write_text('{"model_type": "nonesuch"}')
    with pytest.raises(ModelError, match=r"the configuration cannot be read: .*nonesuch") as caught:
        load_model(llama, 32)
    assert str(llama.folder) in str(caught.value)


def test_loading_says_nothing(llama: Place) -> None:
    code = (
        "import sys; from komt.models.load import *; from komt.models.resolve import resolve\n"
        "place = resolve(sys.argv[1]); load_tokenizer(place)\n"
        "for bits in (4, 8, 16, 32): load_model(place, bits)(__import__('torch').tensor([[2, 5, 6]]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(llama.folder)], capture_output=True, text=True, check=True
    )
    assert (done.stdout, done.stderr) == ("", "")


def test_weights_that_are_missing_are_told_and_not_made_up(llama: Place) -> None:
    from safetensors.torch import load_file, save_file

    file = llama.folder / "model.safetensors"
    weights = load_file(file)
    for layer in (1, 2):
        del weights[f"model.layers.{layer}.mlp.down_proj.weight"]
    save_file(weights, file, metadata={"format": "pt"})
    with pytest.raises(
        ModelError, match=r"no weights for model\.layers\.1\.mlp\.down_proj\.weight and 1 more"
    ):
        load_model(llama, 32)


def test_a_family_without_sdpa_is_loaded_in_its_own_form(tmp_path: Path) -> None:
    import transformers

    from komt.pack.probe import probe

    folder = tiny_model_folder(tmp_path / "base", "llama")
    shape = transformers.AutoConfig.from_pretrained(folder).to_diff_dict()
    names = ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")
    config = transformers.Gemma2Config(
        **{name: shape[name] for name in names},
        num_key_value_heads=2,
        head_dim=8,
        sliding_window=8,
        query_pre_attn_scalar=8,
    )
    torch.manual_seed(0)
    transformers.AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    model = load_model(resolve(str(folder)), 32)
    assert model.config._attn_implementation == "eager"
    assert probe(model).way == "shared"
