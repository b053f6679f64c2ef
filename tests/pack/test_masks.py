"""Masks: the visibility rule, windows by position, and what each kind of configuration gets."""

from types import SimpleNamespace

import pytest
import torch

from komt.errors import ModelError
from komt.pack import build_trie
from komt.pack.masks import attention_masks, trie_visibility
from komt.testing import tiny_model


class Sliding(SimpleNamespace):
    """A family's configuration that knows windows."""

    sliding_window = None


def config(**values):
    made = Sliding(**values)
    made.get_text_config = lambda: made
    return made


def masks_of(trie, **values):
    visible, positions = trie_visibility(torch.from_numpy(trie.ends)), torch.from_numpy(trie.positions)
    return attention_masks(config(**values), visible, positions, positions)


def test_branches_see_their_trunk_and_not_each_other():
    trie = build_trie([[1, 2, 3], [1, 2, 4]])
    assert trie_visibility(torch.from_numpy(trie.ends)).int().tolist() == [
        [1, 0, 0, 0],
        [1, 1, 0, 0],
        [1, 1, 1, 0],
        [1, 1, 0, 1],
    ]


def test_a_window_is_a_distance_in_positions_not_in_places():
    # The second branch's first token stands 4 places after its parent, and one position.
    trie = build_trie([[1, 2, 3, 4, 5], [1, 2, 8, 9]])
    mask = masks_of(trie, sliding_window=3)[0, 0]
    places = {token: place for place, token in enumerate(trie.ids.tolist())}
    seen = {token: trie.ids[mask[place].numpy()].tolist() for token, place in places.items()}
    trunk = {1: [1], 2: [1, 2], 3: [1, 2, 3], 4: [2, 3, 4], 5: [3, 4, 5]}
    assert seen == {**trunk, 8: [1, 2, 8], 9: [2, 8, 9]}


def test_layer_types_get_a_mask_each():
    trie = build_trie([[1, 2, 3, 4]])
    masks = masks_of(trie, sliding_window=2, layer_types=["sliding_attention", "full_attention"])
    assert set(masks) == {"sliding_attention", "full_attention"}
    assert masks["full_attention"][0, 0].sum().item() == 10
    assert masks["sliding_attention"][0, 0].sum().item() == 7


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"sliding_window": None},
        {"sliding_window": 2, "use_sliding_window": False},
        {"sliding_window": 2, "layer_types": ["full_attention"]},
    ],
)
def test_models_without_sliding_layers_get_the_full_mask(values):
    mask = masks_of(build_trie([[1, 2, 3, 4]]), **values)
    assert mask.shape == (1, 1, 4, 4)
    assert mask.dtype == torch.bool
    assert mask.sum().item() == 10


@pytest.mark.parametrize("kind", ["linear_attention", "chunked_attention", "mamba"])
def test_layers_that_no_mask_confines_are_refused_by_name(kind):
    with pytest.raises(ModelError, match=kind):
        masks_of(build_trie([[1]]), layer_types=["full_attention", kind])


@pytest.mark.parametrize(("family", "seen"), [("llama", 78), ("qwen3", 78), ("mistral", 68)])
def test_families_of_one_kind_of_layer_take_one_mask(family, seen):
    positions = torch.arange(12)
    mask = attention_masks(tiny_model(family).config, torch.ones(12, 12).tril().bool(), positions, positions)
    assert mask.sum().item() == seen
