"""Which weights are rewound, and rewinding them: `config` and `select` are free of torch, `apply` is the engine."""

from core.rewinding.config import CWRF, Finetune
from core.rewinding.select import masks, select

__all__ = ["CWRF", "Finetune", "masks", "select"]
