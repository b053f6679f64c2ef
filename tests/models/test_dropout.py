"""The CPU's dropout drops as many as it says, keeps the mean, and lets gradients through where it keeps."""

import torch

from komt.models.dropout import CpuDropout


def test_share_dropped_scale_and_gradient():
    torch.manual_seed(0)
    x = torch.ones(1001, 333, requires_grad=True)
    y = CpuDropout(0.05)(x)
    dropped = (y == 0).float().mean().item()
    assert abs(dropped - 0.05) < 0.002
    torch.testing.assert_close(y.detach().unique(), torch.tensor([0.0, 1 / 0.95]), rtol=1e-3, atol=0.0)
    y.sum().backward()
    torch.testing.assert_close(x.grad, y.detach())


def test_all_four_parts_of_a_draw_are_alike():
    torch.manual_seed(0)
    kept = (CpuDropout(0.5)(torch.ones(400_000)) > 0).view(-1, 4).float().mean(0)
    assert (kept - 0.5).abs().max() < 0.005


def test_it_depends_on_the_seed_alone_and_does_nothing_in_evaluation():
    x = torch.randn(64, 64)
    dropout = CpuDropout(0.3)
    torch.manual_seed(1)
    first = dropout(x)
    torch.manual_seed(1)
    assert torch.equal(first, dropout(x))
    assert not torch.equal(first, dropout(x))
    assert dropout.eval()(x) is x
