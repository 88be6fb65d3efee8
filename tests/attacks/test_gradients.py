"""Per-record gradient norms: a closed form, then a plain loop of backward passes for each kind of network."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from core.attacks import gradients
from core.attacks.gradients import region_gradient_norms
from core.models import MLP, ConvNet, ModelConfig, ViT
from core.models.build import build
from core.models.regions import regions

NETWORKS = {
    "mlp": (MLP(hidden=(12, 8)), (20,)),
    "convnet": (ConvNet(channels=(4, 6)), (1, 8, 8)),
    "vit": (ViT(patch=4, dim=16, depth=2, heads=2), (3, 8, 8)),
}
CLASSES, RECORDS = 5, 7


def _case(config: ModelConfig, shape: tuple[int, ...]) -> tuple[nn.Module, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    model = build(config, shape, CLASSES, seed=1)
    x = torch.randn(RECORDS, *shape, generator=generator)
    y = torch.randint(CLASSES, (RECORDS,), generator=generator)
    model.train()
    with torch.no_grad():
        model(2 * x + 1)  # running statistics that differ from any batch's own: training mode would show
    return model, x, y


def _one_by_one(model: nn.Module, x: torch.Tensor, y: torch.Tensor, parts: dict[str, list[str]]) -> torch.Tensor:
    model.eval()
    named = dict(model.named_parameters())
    rows = []
    for i in range(len(y)):
        model.zero_grad()
        nn.functional.cross_entropy(model(x[i : i + 1]), y[i : i + 1]).backward()
        rows.append([torch.cat([named[n].grad.flatten() for n in names]).norm().item() for names in parts.values()])
    model.zero_grad()
    return torch.tensor(rows)


@pytest.mark.parametrize("kind", NETWORKS)
def test_equals_a_loop_of_single_backward_passes(kind: str) -> None:
    model, x, y = _case(*NETWORKS[kind])
    parts = regions(model)
    found = region_gradient_norms(model, x=x, y=y, regions=parts)
    assert found.shape == (RECORDS, len(parts))
    assert (found > 0).all()
    torch.testing.assert_close(found, _one_by_one(model, x, y, parts), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("kind", NETWORKS)
@pytest.mark.parametrize("chunk", [1, 3, RECORDS, 100])
def test_chunk_size_does_not_matter(kind: str, chunk: int) -> None:
    model, x, y = _case(*NETWORKS[kind])
    parts = regions(model)
    whole = region_gradient_norms(model, x=x, y=y, regions=parts)
    torch.testing.assert_close(
        region_gradient_norms(model, x=x, y=y, regions=parts, chunk=chunk), whole, rtol=1e-4, atol=1e-6
    )


def test_linear_layer_by_hand() -> None:
    """∂l/∂W = (p − e_y) hᵀ and ∂l/∂b = p − e_y, so the squared norm is ‖p − e_y‖² (‖h‖² + 1).

    With weights of zero p is uniform over 2 classes: ‖p − e_y‖² = ½; h = (3, 4): ‖h‖² + 1 = 26; the norm is √13.
    """
    model = nn.Linear(2, 2)
    nn.init.zeros_(model.weight)
    nn.init.zeros_(model.bias)
    h, y = torch.tensor([[3.0, 4.0]]), torch.tensor([0])
    split = {"both": ["weight", "bias"], "weight": ["weight"], "bias": ["bias"]}
    found = region_gradient_norms(model, x=h, y=y, regions=split)[0]
    torch.testing.assert_close(found.square(), torch.tensor([13.0, 12.5, 0.5]))


def test_linear_layer_in_closed_form() -> None:
    generator = torch.Generator().manual_seed(0)
    model = nn.Linear(6, 4)
    h, y = torch.randn(9, 6, generator=generator), torch.randint(4, (9,), generator=generator)
    with torch.no_grad():
        error = model(h).softmax(1) - nn.functional.one_hot(y, 4)
        expected = error.square().sum(1) * (h.square().sum(1) + 1)
    found = region_gradient_norms(model, x=h, y=y, regions={"head": ["weight", "bias"]})
    torch.testing.assert_close(found[:, 0].square(), expected)


def test_leaves_weights_and_statistics_alone() -> None:
    model, x, y = _case(*NETWORKS["convnet"])
    before = {name: value.clone() for name, value in model.state_dict().items()}
    region_gradient_norms(model, x=x, y=y, regions=regions(model))
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_memory_budget_sets_the_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    """A budget of two networks: two records per pass, and never none."""
    model, x, y = _case(*NETWORKS["mlp"])
    size = sum(p.numel() for p in model.parameters())
    for budget, steps in ((2 * size, [2, 4, 6, 7]), (size // 2, [1, 2, 3, 4, 5, 6, 7])):
        monkeypatch.setattr(gradients, "BUDGET", budget)
        seen: list[int] = []
        region_gradient_norms(
            model, x=x, y=y, regions=regions(model), on_chunk=lambda done, total, seen=seen: seen.append(done)
        )
        assert seen == steps


def test_no_records() -> None:
    model, x, y = _case(*NETWORKS["mlp"])
    assert region_gradient_norms(model, x=x[:0], y=y[:0], regions=regions(model)).shape == (0, 3)
