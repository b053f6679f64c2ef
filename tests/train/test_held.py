"""Memory of this process, as the system tells it."""

import torch

from komt.train.held import bytes_now, bytes_there, peak_of


def test_the_peak_of_a_block_is_seen():
    device = torch.device("cpu")
    own, _ = bytes_now(device)
    with peak_of(device) as peak:
        held = torch.ones(50_000_000)
    assert peak
    assert peak[0] >= own + 4 * held.numel()
    assert bytes_there(device) > own
