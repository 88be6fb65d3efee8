"""The scores of layers added up over the regions of a network, and which regions' risks cannot be told apart."""

from __future__ import annotations

import pandas as pd


def by_region(layers: pd.DataFrame) -> pd.DataFrame:
    """One row per region in forward order from rows per layer (the scores stage's `layers` table).

    Columns: region, weights (number), weight_share, learnability_share, vulnerability_share (each sums to 1).
    """
    sums = layers.groupby("region", sort=False)[["count", "learnability_share", "vulnerability_share"]].sum()
    sums.insert(1, "weight_share", sums["count"] / sums["count"].sum())
    return sums.rename(columns={"count": "weights"}).reset_index()


def overlapping(risk: pd.DataFrame) -> list[str]:
    """The regions whose interval overlaps that of the region with the highest AUC, itself left out.

    risk: region, auc, low, high. The intervals stand for the same records, so this is a cautious reading: a paired
    test can tell two regions apart whose intervals overlap, hardly ever the other way round.
    """
    if risk.empty:
        return []
    top = risk.loc[risk["auc"].idxmax()]
    return list(risk.loc[(risk["high"] >= top["low"]) & (risk["region"] != top["region"]), "region"])


def critical_by_region(shares: pd.DataFrame, layers: pd.DataFrame) -> pd.DataFrame:
    """Which share of each region is critical, for every r, from the same per layer.

    shares: layer, r, share (of the layer's weights). layers: name, region, count. Columns: region, count (weights of
    the region), r, share, regions in forward order.
    """
    rows = shares[["layer", "r", "share"]].merge(layers[["name", "region", "count"]], left_on="layer", right_on="name")
    sums = rows.assign(critical=rows["share"] * rows["count"]).groupby(["r", "region"], sort=False)
    found = sums[["critical", "count"]].sum().reset_index()
    return found.assign(share=found["critical"] / found["count"])[["region", "count", "r", "share"]]
