"""Architectures, their named regions, and checkpoints.

The configs are torch-free. Import build, regions and checkpoints by their module: pages must not wait for torch.
"""

from core.models.config import MLP, MODELS, ConvNet, Model, ModelConfig, ResNet18, ViT

__all__ = ["MLP", "MODELS", "ConvNet", "Model", "ModelConfig", "ResNet18", "ViT"]
