"""The one training loop, used plain, with score accumulation and with frozen weights; and its recipe.

`recipe` is free of torch, so forms and the command line can read it; `loop` and `device` are the engine.
"""

from core.training.recipe import TrainConfig

__all__ = ["TrainConfig"]
