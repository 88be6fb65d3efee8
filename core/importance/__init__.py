"""Which weights matter: learnability and privacy vulnerability per weight, their index and their statistics."""

from core.importance.config import ImportanceConfig
from core.importance.index import ScoreIndex

__all__ = ["ImportanceConfig", "ScoreIndex"]
