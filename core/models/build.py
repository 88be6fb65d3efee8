"""From a config to a network with seeded initial weights (torch)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from math import ceil, gcd, prod

import torch
from torch import nn

from core.config import BadInput
from core.models.config import MLP, ConvNet, ModelConfig, ResNet18, ViT
from core.models.torchvision_cpu import torchvision

HEAD_STD = 0.02


def group_norm(channels: int) -> nn.GroupNorm:
    """The group norm that stands for a batch norm under DP-SGD, as Opacus' ModuleValidator.fix chooses it."""
    return nn.GroupNorm(gcd(32, channels), channels)


NORMS: dict[str, Callable[[int], nn.Module]] = {"batch": nn.BatchNorm2d, "group": group_norm}


class MLPNet(nn.Sequential):
    """flatten, hidden1, relu1, …, head."""


class ConvNetNet(nn.Sequential):
    """block1 (conv, norm, maybe pool, relu), …, pool, flatten, head."""


class Block(torchvision.models.resnet.BasicBlock):
    """torchvision's residual block without in-place operations: DP-SGD's hooks on the layers forbid them."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.relu = nn.ReLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        inner = self.relu(self.bn1(self.conv1(x)))
        inner = self.bn2(self.conv2(inner))
        return self.relu(inner + (x if self.downsample is None else self.downsample(x)))


class SmallImageResNet(torchvision.models.ResNet):
    """torchvision's ResNet with a 3×3 stem of stride 1, no max-pooling, and any width."""

    def __init__(self, *, channels: int, classes: int, width: int, norm: Callable[[int], nn.Module]):
        self.width = width
        super().__init__(Block, [2, 2, 2, 2], num_classes=classes, norm_layer=norm)
        self.conv1 = nn.Conv2d(channels, width, 3, padding=1, bias=False)
        nn.init.kaiming_normal_(self.conv1.weight, mode="fan_out", nonlinearity="relu")
        self.bn1 = norm(width)
        self.relu = nn.ReLU()
        self.maxpool = nn.Identity()
        self.fc = nn.Linear(8 * width, classes)

    def _make_layer(self, block, planes, blocks, stride=1, dilate=False):
        """torchvision's stages have 64, 128, 256 and 512 channels; ours are as wide relative to `width`."""
        if planes == 64:
            self.inplanes = self.width
        return super()._make_layer(block, planes * self.width // 64, blocks, stride, dilate)


def build(config: ModelConfig, shape: tuple[int, ...], classes: int, seed: int) -> nn.Module:
    """The network on the CPU in fp32, for records (C, H, W) or (F,); the same seed gives the same weights.

    The global random state stays as it was. BadInput where the architecture does not take such records.
    """
    config.fits(shape)
    with torch.random.fork_rng(devices=[]):
        # torch.manual_seed would reseed CUDA's generators too, and those are not restored here
        torch.default_generator.manual_seed(seed)
        match config:
            case MLP():
                return _mlp(config, prod(shape), classes)
            case ConvNet():
                return _convnet(config, shape, classes)
            case ResNet18():
                return SmallImageResNet(channels=shape[0], classes=classes, width=config.width, norm=NORMS[config.norm])
            case ViT():
                return _vit(config, shape, classes)
    raise BadInput(f"unknown kind of model: {type(config).__name__}")


def _mlp(config: MLP, features: int, classes: int) -> nn.Module:
    layers: OrderedDict[str, nn.Module] = OrderedDict(flatten=nn.Flatten())
    for i, width in enumerate(config.hidden, start=1):
        layers[f"hidden{i}"] = nn.Linear(features, width)
        layers[f"relu{i}"] = nn.ReLU()
        features = width
    layers["head"] = nn.Linear(features, classes)
    return MLPNet(layers)


def _convnet(config: ConvNet, shape: tuple[int, ...], classes: int) -> nn.Module:
    channels, height, width = shape
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for i, out in enumerate(config.channels, start=1):
        block: OrderedDict[str, nn.Module] = OrderedDict(
            conv=nn.Conv2d(channels, out, 3, padding=1, bias=False), norm=NORMS[config.norm](out)
        )
        if i % 2 == 0 and min(height, width) > 4:
            # before the ReLU: the same outputs and gradients to the bit, on a quarter of the values
            block["pool"] = nn.MaxPool2d(2)
            height, width = height // 2, width // 2
        block["relu"] = nn.ReLU()
        layers[f"block{i}"] = nn.Sequential(block)
        channels = out
    # to at most 4×4 like adaptive pooling, whose backward pass on CUDA is not repeatable
    window = ceil(height / 4), ceil(width / 4)
    layers["pool"] = nn.AvgPool2d(window, ceil_mode=True) if window != (1, 1) else nn.Identity()
    layers["flatten"] = nn.Flatten()
    layers["head"] = nn.Linear(channels * ceil(height / window[0]) * ceil(width / window[1]), classes)
    return ConvNetNet(layers)


def _vit(config: ViT, shape: tuple[int, ...], classes: int) -> nn.Module:
    model = torchvision.models.VisionTransformer(
        image_size=shape[1],
        patch_size=config.patch,
        num_layers=config.depth,
        num_heads=config.heads,
        hidden_dim=config.dim,
        mlp_dim=4 * config.dim,
        num_classes=classes,
    )
    if shape[0] != 3:
        model.conv_proj = nn.Conv2d(shape[0], config.dim, config.patch, stride=config.patch)
        nn.init.trunc_normal_(model.conv_proj.weight, std=(shape[0] * config.patch**2) ** -0.5)
        nn.init.zeros_(model.conv_proj.bias)
    # torchvision starts the head at zero, where rewinding it would be the same as removing it
    nn.init.trunc_normal_(model.heads.head.weight, std=HEAD_STD)
    return model
