import pytest
import torch
from torch import nn

from core.models import MLP, ConvNet, ResNet18, ViT
from core.models.build import build
from core.models.regions import describe, regions, weight_types

CONFIGS = {
    "mlp": (MLP(), ["layer 1", "layer 2", "head"]),
    "convnet": (ConvNet(), ["block 1", "block 2", "block 3", "head"]),
    "resnet18": (ResNet18(width=4), ["stem", "stage 1", "stage 2", "stage 3", "stage 4", "head"]),
    "vit": (ViT(dim=24, depth=2), ["patch embedding", "encoder block 1", "encoder block 2", "head"]),
}


@pytest.mark.parametrize("kind", CONFIGS)
def test_every_parameter_is_in_exactly_one_region_in_forward_order(kind):
    config, names = CONFIGS[kind]
    model = build(config, (1, 8, 8), 10, 0)
    found = regions(model)
    assert list(found) == names
    assert [name for part in found.values() for name in part] == [name for name, _ in model.named_parameters()]


@pytest.mark.parametrize("kind", CONFIGS)
def test_forward_order_is_the_order_in_which_the_modules_run(kind):
    model = build(CONFIGS[kind][0], (1, 8, 8), 10, 0).eval()
    owner = {name.rpartition(".")[0]: region for region, names in regions(model).items() for name in names}
    ran: list[str] = []
    for name, module in model.named_modules():
        if name in owner and isinstance(module, nn.Linear | nn.Conv2d | nn.LayerNorm | nn.BatchNorm2d):
            module.register_forward_hook(lambda *_, region=owner[name]: ran.append(region))
    model(torch.zeros(1, 1, 8, 8))
    assert list(dict.fromkeys(ran)) == list(regions(model))


def test_frozen_parameters_belong_to_no_region():
    model = build(MLP(), (5,), 3, 0)
    model.hidden1.bias.requires_grad_(False)
    assert regions(model)["layer 1"] == ["hidden1.weight"] and "hidden1.bias" not in weight_types(model)


def test_weight_types():
    vit = weight_types(build(CONFIGS["vit"][0], (1, 8, 8), 10, 0))
    assert {name for name, kind in vit.items() if kind == "embedding"} == {
        "class_token",
        "conv_proj.weight",
        "conv_proj.bias",
        "encoder.pos_embedding",
    }
    block = "encoder.layers.encoder_layer_0"
    assert vit[f"{block}.self_attention.in_proj_weight"] == vit[f"{block}.mlp.0.bias"] == "attention+MLP"
    assert vit[f"{block}.self_attention.out_proj.bias"] == "attention+MLP"
    assert vit[f"{block}.ln_1.weight"] == vit["encoder.ln.bias"] == "norm"
    assert vit["heads.head.weight"] == vit["heads.head.bias"] == "linear"
    resnet = weight_types(build(CONFIGS["resnet18"][0], (3, 32, 32), 10, 0))
    assert resnet["layer2.0.downsample.0.weight"] == "conv" and resnet["layer2.0.downsample.1.bias"] == "norm"
    assert resnet["fc.bias"] == "linear" and set(resnet.values()) == {"conv", "norm", "linear"}
    assert set(weight_types(build(MLP(), (5,), 3, 0)).values()) == {"linear"}


@pytest.mark.parametrize("config", [ConvNet(), ResNet18(width=8)], ids=lambda c: c.kind)
def test_group_norm_has_the_regions_and_types_of_batch_norm(config):
    batch, group = (
        describe(build(config.model_copy(update={"norm": norm}), (1, 8, 8), 10, 0)) for norm in ("batch", "group")
    )
    assert batch == group and "norm" in {row["type"] for row in group}


def test_resnet18_weights_by_type_by_hand():
    counts = dict.fromkeys(("norm", "linear", "conv"), 0)
    for row in describe(build(ResNet18(), (3, 32, 32), 10, 0)):
        counts[row["type"]] += row["count"]
    normed = 64 + 4 * 64 + 4 * 128 + 4 * 256 + 4 * 512 + 128 + 256 + 512  # stem, two per block, three shortcuts
    assert counts == {"norm": 2 * normed, "linear": 513 * 10, "conv": 11_173_962 - 2 * normed - 5130}


def test_description_by_hand():
    assert describe(build(MLP(hidden=(4,)), (5,), 3, 0)) == [
        {"name": "hidden1.weight", "region": "layer 1", "type": "linear", "shape": (4, 5), "count": 20},
        {"name": "hidden1.bias", "region": "layer 1", "type": "linear", "shape": (4,), "count": 4},
        {"name": "head.weight", "region": "head", "type": "linear", "shape": (3, 4), "count": 12},
        {"name": "head.bias", "region": "head", "type": "linear", "shape": (3,), "count": 3},
    ]


def test_unknown_networks_and_layers_are_refused():
    with pytest.raises(TypeError, match="no regions are defined for a Linear"):
        regions(nn.Linear(2, 2))
    with pytest.raises(TypeError, match="sits in a PReLU"):
        weight_types(nn.PReLU())
