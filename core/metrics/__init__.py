"""What an attack achieved, with intervals: ROC, AUC, TPR at low FPR, balanced accuracy, empirical ε, several seeds.

Everywhere: scores are [N], higher = more likely a member; is_member is [N] bool; torch is never needed.
"""

from core.metrics.across_seeds import bootstrap, mean_interval
from core.metrics.auc import Paired, auc, paired_delong
from core.metrics.balanced import Balanced, balanced_accuracy, best_balanced_accuracy, best_threshold
from core.metrics.calibration import calibration_error
from core.metrics.epsilon import (
    Epsilon,
    best_epsilon_threshold,
    empirical_epsilon,
    epsilon_lower_bound,
    one_run_audit,
    one_run_epsilon,
)
from core.metrics.exposure import Exposure, exposure, mean_exposure
from core.metrics.intervals import Interval, clopper_pearson, wilson
from core.metrics.low_fpr import LowFpr, allowed_false_positives, tpr_at_fpr
from core.metrics.roc import Roc, roc, table, thin
from core.metrics.tradeoff import (
    Box,
    Matched,
    common_accuracy,
    hypervolume,
    matched,
    over_seeds,
    paired_differences,
    pareto_front,
    risk_at_accuracy,
    volumes,
)

__all__ = [
    "Balanced",
    "Box",
    "Epsilon",
    "Exposure",
    "Interval",
    "LowFpr",
    "Matched",
    "Paired",
    "Roc",
    "allowed_false_positives",
    "auc",
    "balanced_accuracy",
    "best_balanced_accuracy",
    "best_epsilon_threshold",
    "best_threshold",
    "bootstrap",
    "calibration_error",
    "clopper_pearson",
    "common_accuracy",
    "empirical_epsilon",
    "epsilon_lower_bound",
    "exposure",
    "hypervolume",
    "matched",
    "mean_exposure",
    "mean_interval",
    "one_run_audit",
    "one_run_epsilon",
    "over_seeds",
    "paired_delong",
    "paired_differences",
    "pareto_front",
    "risk_at_accuracy",
    "roc",
    "table",
    "thin",
    "tpr_at_fpr",
    "volumes",
    "wilson",
]
