"""From a config to its source."""

from __future__ import annotations

from core.config import BadInput
from core.data.builtin import load_digits, load_torchvision
from core.data.config import DataConfig, Digits, ImageParquet, TableParquet, TorchvisionData
from core.data.images import load_images
from core.data.source import Source
from core.data.tables import load_table


def load(config: DataConfig) -> Source:
    """Labels of all records now, pixels and features when rows are asked for; BadInput for a file that is no use."""
    match config:
        case Digits():
            return load_digits()
        case TorchvisionData():
            return load_torchvision(config)
        case ImageParquet():
            return load_images(config)
        case TableParquet():
            return load_table(config)
    raise BadInput(f"unknown kind of data: {type(config).__name__}")
