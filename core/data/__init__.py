"""Where records come from and how they are split: built-in sets, files a person brings, and the dataset of a run.

Torch-free; `core.data.to_tensors` is the one exception and only the engine imports it.
"""

from core.data.config import DATA, Data, DataConfig, Digits, ImageParquet, TableParquet, TorchvisionData
from core.data.dataset import Dataset, build, read_records
from core.data.loading import load

__all__ = [
    "DATA",
    "Data",
    "DataConfig",
    "Dataset",
    "Digits",
    "ImageParquet",
    "TableParquet",
    "TorchvisionData",
    "build",
    "load",
    "read_records",
]
