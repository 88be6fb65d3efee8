"""The configs of architectures: their sizes, and which records they take."""

from __future__ import annotations

from math import ceil, gcd
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from core.config import BadInput, Config

Width = Annotated[int, Field(ge=1, le=8192)]


class ModelConfig(Config):
    """Base of all architectures. `kind` is the registry name."""

    title: ClassVar[str] = ""

    def is_compatible(self, shape: tuple[int, ...]) -> str | None:
        """None where the architecture takes records of this shape, (C, H, W) or (F,), else the reason in words."""
        if len(shape) == 3:
            return None
        return f"{self.title} takes images; records with {shape[0]} features need an MLP"

    def fits(self, shape: tuple[int, ...]) -> None:
        """BadInput where the architecture does not take records of this shape."""
        reason = self.is_compatible(shape)
        if reason is not None:
            raise BadInput(reason)


class MLP(ModelConfig):
    """Fully connected layers with ReLU, without batch-norm. Takes tables, and images as a flat row of pixels."""

    kind: Literal["mlp"] = "mlp"
    title: ClassVar[str] = "MLP"
    hidden: tuple[Width, ...] = Field((256, 128), max_length=16)
    """Units of each hidden layer, from the input on."""

    def is_compatible(self, shape: tuple[int, ...]) -> str | None:
        """An MLP takes everything."""
        return None


Norm = Literal["batch", "group"]


class ConvNet(ModelConfig):
    """A small network: 3×3 convolutions with a norm, halved in size after every second one, and a linear head."""

    kind: Literal["convnet"] = "convnet"
    title: ClassVar[str] = "ConvNet"
    channels: tuple[Width, ...] = Field((32, 64, 64), min_length=1, max_length=16)
    """Channels of each convolution, from the input on."""
    norm: Norm = "batch"
    """Normalisation: batch norm, or group norm in gcd(32, channels) groups. DP-SGD needs group norm, because batch norm
    mixes the records of a batch; the model before the defence is then trained with it too."""


class ResNet18(ModelConfig):
    """ResNet-18 (He 2016) with the stem for small images: a 3×3 convolution of stride 1, no max-pooling."""

    kind: Literal["resnet18"] = "resnet18"
    title: ClassVar[str] = "ResNet-18"
    width: int = Field(64, ge=4, le=512)
    """Channels of the first stage; the later ones have 2, 4 and 8 times as many. The paper's network has 64."""
    norm: Norm = "batch"
    """Normalisation: batch norm, or group norm in gcd(32, channels) groups. DP-SGD needs group norm, because batch norm
    mixes the records of a batch; the model before the defence is then trained with it too."""

    def is_compatible(self, shape: tuple[int, ...]) -> str | None:
        """Images; with group norm not so small that a group is one number, which normalises to zero."""
        reason = super().is_compatible(shape)
        if reason is not None or self.norm == "batch":
            return reason
        for stage in (1, 2, 4, 8):
            channels, pixels = stage * self.width, ceil(shape[1] / stage) * ceil(shape[2] / stage)
            if channels // gcd(32, channels) * pixels == 1:
                return (
                    f"{self.title} of width {self.width} has one number per group of its group norm on images of "
                    f"{shape[1]}×{shape[2]} pixels: raise model.width to {64 // stage}"
                )
        return None


class ViT(ModelConfig):
    """A small vision transformer (Dosovitskiy 2021)."""

    kind: Literal["vit"] = "vit"
    title: ClassVar[str] = "ViT"
    patch: int = Field(4, ge=1, le=64)
    """Side of the square patches, in pixels; must divide the side of the images."""
    dim: int = Field(192, ge=8, le=2048)
    """Numbers per token; must be a multiple of the number of heads. The hidden layer of each block has 4 × dim."""
    depth: int = Field(6, ge=1, le=48)
    """Encoder blocks."""
    heads: int = Field(3, ge=1, le=64)
    """Attention heads per block."""

    def is_compatible(self, shape: tuple[int, ...]) -> str | None:
        """Square images whose side the patches divide, and heads that divide dim."""
        if self.dim % self.heads:
            return f"{self.title}: {self.heads} heads do not divide dim {self.dim}; choose dim as a multiple of heads"
        reason = super().is_compatible(shape)
        if reason is not None:
            return reason
        _, height, width = shape
        if height != width:
            return f"{self.title} takes square images, these are {width}×{height}; a ConvNet takes any"
        if height % self.patch:
            return f"{self.title}: patches of {self.patch} do not divide images of {height}×{width} pixels"
        return None


Model = Annotated[MLP | ConvNet | ResNet18 | ViT, Field(discriminator="kind")]

MODELS: dict[str, type[ModelConfig]] = {"mlp": MLP, "convnet": ConvNet, "resnet18": ResNet18, "vit": ViT}
"""Every kind of model and its config."""
