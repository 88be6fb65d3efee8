"""torchvision, also where its published Linux wheel (built for CUDA) sits beside a CPU-only torch.

There the wheel's compiled operators cannot load, and `import torchvision` stops at the registration of two of them
("operator torchvision::nms does not exist"). Declaring their schemas first is enough for models and datasets, which
never call them. Where torchvision imports by itself, this module only imports it.
"""

from __future__ import annotations

import sys

import torch

try:
    import torchvision
except RuntimeError as error:
    if "torchvision::" not in str(error):
        raise
    for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        del sys.modules[name]  # the halves of the failed import
    # torch forgets an operator when its library object is collected: keep it
    _schemas = torch.library.Library("torchvision", "DEF")
    for _name in ("nms", "qnms"):
        _schemas.define(f"{_name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    import torchvision

__all__ = ["torchvision"]
