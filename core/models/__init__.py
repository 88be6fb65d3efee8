"""Architectures, their named regions, and checkpoints. Configs are torch-free; build, regions and checkpoints use torch.

Import those three by their module: pages import this folder and must not wait for torch.
"""

from core.models.config import MLP, MODELS, ConvNet, Model, ModelConfig, ResNet18, ViT

__all__ = ["MLP", "MODELS", "ConvNet", "Model", "ModelConfig", "ResNet18", "ViT"]
