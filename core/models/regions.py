"""The named parts of a network in forward order, and the type of every weight (torch)."""

from __future__ import annotations

import re
from typing import Any

from torch import nn

from core.models.build import ConvNetNet, MLPNet
from core.models.torchvision_cpu import torchvision

PATTERNS: list[tuple[type[nn.Module], list[tuple[str, str]]]] = [
    (MLPNet, [(r"hidden(\d+)\.", r"layer \1"), (r"head\.", "head")]),
    (ConvNetNet, [(r"block(\d+)\.", r"block \1"), (r"head\.", "head")]),
    (
        torchvision.models.ResNet,
        [(r"(conv1|bn1)\.", "stem"), (r"layer(\d+)\.", r"stage \1"), (r"fc\.", "head")],
    ),
    (
        torchvision.models.VisionTransformer,
        [
            (r"(class_token$|conv_proj\.|encoder\.pos_embedding$)", "patch embedding"),
            (r"encoder\.layers\.encoder_layer_(\d+)\.", "encoder block"),
            (r"(encoder\.ln|heads)\.", "head"),
        ],
    ),
]
"""For each network, what its parameters' names start with and the region that means."""


def regions(model: nn.Module) -> dict[str, list[str]]:
    """Region → names of its parameters, in forward order; every trainable parameter is in exactly one."""
    patterns = next((rules for kind, rules in PATTERNS if isinstance(model, kind)), None)
    if patterns is None:
        raise TypeError(f"no regions are defined for a {type(model).__name__}")
    found: dict[str, list[str]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            found.setdefault(_region(name, patterns), []).append(name)
    return found


def _region(name: str, patterns: list[tuple[str, str]]) -> str:
    for pattern, region in patterns:
        match = re.match(pattern, name)
        if match:
            # torchvision counts encoder layers from 0, people from 1
            return f"{region} {int(match[1]) + 1}" if region == "encoder block" else match.expand(region)
    raise KeyError(f"the parameter {name} belongs to no region")


def weight_types(model: nn.Module) -> dict[str, str]:
    """Parameter → conv, linear, norm, attention+MLP or embedding; a bias has the type of its module."""
    types = {}
    for prefix, module in model.named_modules():
        for name, parameter in module.named_parameters(prefix=prefix, recurse=False):
            if parameter.requires_grad:
                types[name] = _type(name, module)
    return {name: types[name] for name, parameter in model.named_parameters() if parameter.requires_grad}


def _type(name: str, module: nn.Module) -> str:
    if re.search(r"(^class_token|^conv_proj\.|pos_embedding$)", name):
        return "embedding"
    if re.search(r"\.(self_attention|mlp)\.", name):
        return "attention+MLP"
    if isinstance(module, nn.modules.batchnorm._NormBase | nn.GroupNorm | nn.LayerNorm):
        return "norm"
    if isinstance(module, nn.modules.conv._ConvNd):
        return "conv"
    if isinstance(module, nn.Linear):
        return "linear"
    raise TypeError(f"the parameter {name} sits in a {type(module).__name__}, whose type is not known")


def describe(model: nn.Module) -> list[dict[str, Any]]:
    """One row per trainable parameter in forward order: name, region, type, shape, count."""
    types = weight_types(model)
    parameters = dict(model.named_parameters())
    return [
        {
            "name": name,
            "region": region,
            "type": types[name],
            "shape": tuple(parameters[name].shape),
            "count": parameters[name].numel(),
        }
        for region, names in regions(model).items()
        for name in names
    ]
