"""Each method, variant and width trains, and merges into what was trained."""

import json

import pytest

from komt.errors import UsageError
from komt.export.measure import load_exported, text_logits
from komt.export.merge import load_unmerged, merge
from komt.export.text import reference_ids
from komt.models.load import load_tokenizer
from komt.models.resolve import resolve
from komt.train.run import train

VARIANTS = {
    "lora": {},
    "rslora": {"rslora": True},
    "dora": {"dora": True},
    "plus": {"plus_ratio": 8.0},
    "gaussian": {"init": "gaussian"},
    "whole": {"modules_to_save": ["embed_tokens", "lm_head"]},
    "all": {"rslora": True, "dora": True, "plus_ratio": 4.0, "modules_to_save": ["lm_head"]},
}
CASES = [
    *[(name, 16) for name in VARIANTS],
    *[(name, 4) for name in VARIANTS],
    *[(name, 8) for name in ("rslora", "plus", "whole")],
    ("lora", 32),
]


def losses(folder):
    return [json.loads(line)["loss"] for line in (folder / "log.jsonl").read_text().splitlines()]


@pytest.mark.parametrize(("name", "bits"), CASES)
def test_every_variant_trains_and_merges_into_what_was_trained(
    toy_recipe, wide_folder, data_folder, tmp_path, name, bits
):
    if bits < 16:
        pytest.importorskip("bitsandbytes", reason="4 and 8 bits need the extra 'quant'")
    settings = {"epochs": 2, "step_tokens": 800, "pack": {"tokens": 512}, "lora": VARIANTS[name]}
    out = tmp_path / "train"
    train(toy_recipe(wide_folder, bits=bits, **settings), data_folder, out, quiet=True)
    found = losses(out)
    assert found[-1] < found[0]
    place = resolve(str(out / "adapter"))
    ids = reference_ids(load_tokenizer(place), 64)
    trained = text_logits(load_unmerged(place), ids)
    merged = text_logits(load_exported(merge(place, tmp_path / "merged", "fp32")), ids)
    bare = text_logits(load_exported(wide_folder), ids)
    assert float((trained - merged).abs().max()) < 1e-4
    assert float((trained - bare).abs().max()) > 1e-2


@pytest.mark.parametrize("bits", [4, 8])
def test_full_fine_tuning_of_a_quantised_base_is_refused_in_one_sentence(
    toy_recipe, wide_folder, data_folder, tmp_path, bits
):
    with pytest.raises(UsageError) as caught:
        train(toy_recipe(wide_folder, bits=bits, method="full"), data_folder, tmp_path / "train", quiet=True)
    assert caught.value.what == f"a base in {bits} bits cannot be fine-tuned in full"


def test_dora_on_8_bits_is_refused_in_one_sentence(toy_recipe, wide_folder, data_folder, tmp_path):
    recipe = toy_recipe(wide_folder, bits=8, lora={"dora": True})
    with pytest.raises(UsageError) as caught:
        train(recipe, data_folder, tmp_path / "train", quiet=True)
    assert caught.value.what.startswith("DoRA cannot be trained on a base in 8 bits")


@pytest.mark.parametrize("supervise", ["last", "all_turns", "text"])
def test_every_way_of_supervision_trains_its_own_weights(
    toy_recipe, wide_folder, data_folder, tmp_path, supervise
):
    settings = {"epochs": 1, "step_tokens": 800, "pack": {"tokens": 512}, "held_out": {"examples": 2}}
    made = {}
    for way in ("answers", supervise):
        out = tmp_path / way
        made[way] = train(toy_recipe(wide_folder, supervise=way, **settings), data_folder, out, quiet=True)
    assert made["answers"]["key"] != made[supervise]["key"]
    targets = {way: summary["held_out"][0]["targets"] for way, summary in made.items()}
    same = supervise != "text"  # the toy set's conversations have one turn each
    assert (targets[supervise] == targets["answers"]) is same
    first = [losses(tmp_path / way)[0] for way in made]
    assert (first[0] == first[1]) is same
