import pytest
import torch
from opacus.validators import ModuleValidator
from torch import nn

from core.config import BadInput
from core.models import MLP, ConvNet, ResNet18, ViT
from core.models.build import Block, build
from core.models.torchvision_cpu import torchvision

SMALL_VIT = ViT(dim=24, depth=2, heads=3)


def count(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def test_number_of_weights_by_hand():
    # conv 9·in·out without bias, batch-norm 2·out, linear (in+1)·out
    convnet = 9 * 1 * 32 + 64 + 9 * 32 * 64 + 128 + 9 * 64 * 64 + 128 + (64 * 4 * 4 + 1) * 10
    assert count(build(ConvNet(), (1, 8, 8), 10, 0)) == convnet == 66_154
    assert count(build(MLP(), (446,), 30, 0)) == 447 * 256 + 257 * 128 + 129 * 30 == 151_198
    assert count(build(ResNet18(), (3, 32, 32), 10, 0)) == 11_173_962
    d, tokens = 24, 65
    block = 2 * 2 * d + (3 * d * d + 3 * d) + (d * d + d) + (d * 4 * d + 4 * d) + (4 * d * d + d)
    vit = (48 * d + d) + d + tokens * d + 2 * block + 2 * d + (d + 1) * 10
    assert count(build(SMALL_VIT, (3, 32, 32), 10, 0)) == vit


def test_resnet18_of_width_64_is_torchvisions_but_for_the_stem():
    ours = build(ResNet18(), (3, 32, 32), 10, 0).state_dict()
    theirs = torchvision.models.resnet18(num_classes=10).state_dict()
    assert list(ours) == list(theirs)
    assert [name for name in ours if ours[name].shape != theirs[name].shape] == ["conv1.weight"]


@pytest.mark.parametrize(
    ("batch", "group"),
    [(ConvNet(channels=(4, 48)), ConvNet(channels=(4, 48), norm="group"))]
    + [(ResNet18(width=w), ResNet18(width=w, norm="group")) for w in (8, 64)],
)
def test_group_norm_is_what_opacus_puts_for_batch_norm(batch, group):
    theirs = ModuleValidator.fix(build(batch, (3, 12, 12), 10, 0))
    ours = build(group, (3, 12, 12), 10, 0)
    assert str(ours) == str(theirs) and "GroupNorm" in str(ours) and "BatchNorm" not in str(ours)
    # the initial weights are those of the network with batch norm, from the same seed
    start = build(batch, (3, 12, 12), 10, 0).state_dict()
    assert all(torch.equal(value, start[name]) for name, value in ours.state_dict().items())


def test_group_norm_keeps_the_records_of_a_batch_apart():
    x = torch.randn(5, 3, 12, 12)
    for config, apart in ((ConvNet(norm="group"), True), (ResNet18(width=8, norm="group"), True), (ConvNet(), False)):
        model = build(config, (3, 12, 12), 10, 0).train()
        assert torch.allclose(model(x)[:2], model(x[:2]), atol=1e-5) == apart


def test_the_residual_block_is_torchvisions():
    ours, theirs = Block(6, 6), torchvision.models.resnet.BasicBlock(6, 6)
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(4, 6, 5, 5)
    a, b = x.clone().requires_grad_(), x.clone().requires_grad_()
    torch.testing.assert_close(ours(a), theirs(b), rtol=0, atol=0)
    ours(a).square().sum().backward()
    theirs(b).square().sum().backward()
    torch.testing.assert_close(a.grad, b.grad, rtol=0, atol=0)


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 32, 32), (1, 28, 28), (3, 5, 9)])
@pytest.mark.parametrize("config", [MLP(), ConvNet(channels=(4, 5, 6, 7)), ResNet18(width=4), SMALL_VIT])
def test_logits_have_one_column_per_class(config, shape):
    if config.is_compatible(shape):
        pytest.skip(config.is_compatible(shape))
    out = build(config, shape, 7, 0)(torch.randn(3, *shape))
    assert out.shape == (3, 7) and out.isfinite().all()


def test_an_mlp_takes_tables_and_may_have_no_hidden_layer():
    assert build(MLP(hidden=()), (446,), 30, 0)(torch.randn(2, 446)).shape == (2, 30)


def test_the_convnets_last_pooling_is_adaptive_average_pooling_to_4x4():
    model = build(ConvNet(), (3, 32, 32), 10, 0).eval()
    with torch.no_grad():
        inner = model.block3(model.block2(model.block1(torch.randn(2, 3, 32, 32))))
        torch.testing.assert_close(model.pool(inner), nn.functional.adaptive_avg_pool2d(inner, 4))
    assert inner.shape[-1] == 16


def test_pooling_before_the_relu_is_pooling_after_it():
    """To the bit, in the gradients too: a tie among negative values passes nothing on either way."""
    block = build(ConvNet(), (1, 8, 8), 10, 0).block2
    assert [name for name, _ in block.named_children()] == ["conv", "norm", "pool", "relu"]
    usual = nn.Sequential(block.conv, block.norm, block.relu, block.pool)
    torch.manual_seed(0)
    few = torch.randint(-1, 2, block.conv.weight.shape) * (torch.rand(block.conv.weight.shape) < 0.02)
    block.conv.weight.data = few.float()
    x = torch.randint(-1, 2, (4, 32, 8, 8)).float()
    windows = block.norm(block.conv(x)).unfold(2, 2, 2).unfold(3, 2, 2)
    assert ((windows == windows.amax((4, 5), keepdim=True)).sum((4, 5)) > 1).sum() > 100  # many ties
    found = []
    for order in (block, usual):
        block.zero_grad()
        out = order(x)
        (out * torch.arange(out.numel()).view_as(out)).sum().backward()
        found.append([out, *(p.grad.clone() for p in block.parameters())])
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(*found, strict=True))


@pytest.mark.parametrize("config", [MLP(), ConvNet(), ResNet18(width=4), SMALL_VIT])
def test_the_seed_decides_the_weights_and_the_global_state_is_left_alone(config):
    torch.manual_seed(9)
    state = torch.get_rng_state()
    first, again, other = (build(config, (1, 8, 8), 10, seed).state_dict() for seed in (1, 1, 2))
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_no_weight_matrix_starts_at_zero():
    # rewinding to zero would be the same as removing
    for config in (MLP(), ConvNet(), ResNet18(width=4), SMALL_VIT):
        for name, p in build(config, (1, 8, 8), 10, 0).named_parameters():
            assert p.ndim != 2 or p.any(), name


def test_what_does_not_fit_is_refused():
    with pytest.raises(BadInput, match="need an MLP"):
        build(ConvNet(), (446,), 30, 0)
