"""What each stage computes and writes between two folders of the store, one function per kind.

`training` makes weights, `scoring` scores them, `auditing` judges models. Every function takes (build, experiment,
key). Files: weights as safetensors, tables as Parquet, the rest as JSON.
"""

from core.stages.auditing import audit, experiment, preview, shadows
from core.stages.scoring import onion, ranking, rescore, scores
from core.stages.training import data, finetune, load, rewind, train

_ALL = (audit, data, experiment, finetune, load, onion, preview, ranking, rescore, rewind, scores, shadows, train)

STAGES = {stage.__name__: stage for stage in _ALL}
"""Kind of stage → what computes it."""
