"""Plotly figures from small tables; nothing else draws, and nothing here computes statistics or imports torch.

Every figure takes pandas or numpy and returns a `go.Figure` that went through `layout.finish`: show it with
`st.plotly_chart(fig, config=CONFIG, alt=caption_of(fig))` and print `caption_of(fig)` below it.
"""

from core.figures.agreement import agreement_heatmap
from core.figures.change import before_after
from core.figures.comparisons import against, mode_matrix
from core.figures.concentration import concentration
from core.figures.density import score_density
from core.figures.heatmap import critical_share
from core.figures.histograms import member_histogram, score_histogram
from core.figures.layers import critical_counts, initial_vs_trained, weight_image
from core.figures.layout import CONFIG, caption_of
from core.figures.lira import likelier, lira_figures
from core.figures.onion import overlap_curve, share_shift
from core.figures.regions import risk_by_region, shares_by_region
from core.figures.roc import roc_figure
from core.figures.sensitivity import sensitivity
from core.figures.tradeoff import trade_off
from core.figures.training import curves

__all__ = [
    "CONFIG",
    "against",
    "agreement_heatmap",
    "before_after",
    "caption_of",
    "concentration",
    "critical_counts",
    "critical_share",
    "curves",
    "initial_vs_trained",
    "likelier",
    "lira_figures",
    "member_histogram",
    "mode_matrix",
    "overlap_curve",
    "risk_by_region",
    "roc_figure",
    "score_density",
    "score_histogram",
    "sensitivity",
    "share_shift",
    "shares_by_region",
    "trade_off",
    "weight_image",
]
