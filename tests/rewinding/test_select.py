"""From a fraction and a scope to counts and masks."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.config import BadInput
from core.importance.index import ScoreIndex
from core.rewinding import CWRF, masks, select

SCORES = {
    "stem.weight": np.array([9.0, 8, 7, 1, 1, 1, 1, 1]),
    "stem.norm": np.array([6.0, 2]),
    "head.weight": np.array([5.0, 4, 3, 2, 0, 0, 0, 0]),
    "head.bias": np.array([10.0, 0]),
}
LAYERS = pd.DataFrame(
    {
        "name": list(SCORES),
        "region": ["stem", "stem", "head", "head"],
        "type": ["conv", "norm", "linear", "linear"],
        "count": [8, 2, 8, 2],
    }
)
INDEX = ScoreIndex.of(SCORES)


def counts(**config) -> list[int]:
    return select(index=INDEX, layers=LAYERS, config=CWRF(**config))["rewound"].tolist()


def test_global_takes_the_highest_of_all():
    assert counts(fraction=0.05) == [0, 0, 0, 1]
    assert counts(fraction=0.25) == [3, 1, 0, 1]
    table = select(index=INDEX, layers=LAYERS, config=CWRF(fraction=0.25))
    assert table["threshold"].tolist() == [6, 6, 6, 6]
    assert table["share"].tolist() == [3 / 8, 0.5, 0, 0.5]
    assert "rewound" not in LAYERS


def test_per_layer_takes_the_share_of_every_layer():
    assert counts(fraction=0.5, ranking="per layer") == [4, 1, 4, 1]
    table = select(index=INDEX, layers=LAYERS, config=CWRF(fraction=0.25, ranking="per layer"))
    assert table["rewound"].tolist() == [2, 0, 2, 0]  # a quarter of two weights rounds to none
    assert table["threshold"].tolist() == [8, np.inf, 4, np.inf]


def test_per_type_takes_the_share_of_every_type():
    # linear: 10 weights, the five highest are 10, 5, 4, 3, 2
    assert counts(fraction=0.5, ranking="per type") == [4, 1, 4, 1]
    assert counts(fraction=0.1, ranking="per type") == [1, 0, 0, 1]


def test_regions_and_exclusions_shrink_what_the_fraction_is_of():
    assert counts(fraction=0.3, regions=("stem",)) == [3, 0, 0, 0]
    assert counts(fraction=0.3, regions=("head",)) == [0, 0, 2, 1]
    assert counts(fraction=0.3, exclude=("conv",)) == [0, 1, 2, 1]  # 12 weights left: 10, 6, 5 and 4
    assert counts(fraction=0.5, exclude=("head.bias", "norm", "conv")) == [0, 0, 4, 0]
    assert counts(fraction=0.5, regions=("stem",), exclude=("norm",)) == [4, 0, 0, 0]


def test_a_layers_own_share_is_outside_the_ranking():
    # the other 12 weights compete for 3 places: 10, 6, 5
    assert counts(fraction=0.25, layer_fractions={"stem.weight": 0.5}) == [4, 1, 1, 1]
    assert counts(fraction=0.25, layer_fractions={"stem.weight": 0, "head.bias": 1}) == [0, 1, 1, 2]
    assert counts(fraction=0.25, layer_fractions=dict.fromkeys(SCORES, 0.5)) == [4, 1, 4, 1]


def test_exclusions_win_over_a_layers_own_share():
    assert counts(fraction=0.5, exclude=("conv",), layer_fractions={"stem.weight": 1})[0] == 0
    assert counts(fraction=0.5, regions=("head",), layer_fractions={"stem.weight": 1})[0] == 0


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"regions": ("neck",)}, "unknown region 'neck': this model has stem, head"),
        ({"regions": ("steam",)}, "unknown region 'steam': did you mean stem"),
        ({"exclude": ("embedding!",)}, "unknown layer or weight type 'embedding!'"),
        ({"layer_fractions": {"head.wait": 0.1}}, "unknown layer 'head.wait': did you mean head.weight"),
        ({"exclude": ("conv", "norm", "linear")}, "nothing left to rewind"),
        ({"regions": ("stem",), "exclude": ("conv", "norm")}, "nothing left to rewind"),
    ],
)
def test_errors_name_what_is_unknown(config, message):
    with pytest.raises(BadInput, match=message) as caught:
        counts(**config)
    assert "\n" not in str(caught.value)


def test_a_long_list_of_names_is_cut():
    names = [f"layer{i}" for i in range(40)]
    table = pd.DataFrame({"name": names, "region": "all", "type": "conv", "count": 1})
    index = ScoreIndex.of({name: np.ones(1) for name in names})
    with pytest.raises(BadInput, match=r"layer7 and 32 more$"):
        select(index=index, layers=table, config=CWRF(layer_fractions={"?": 0.1}))


def test_an_index_of_another_model_is_refused():
    with pytest.raises(ValueError, match="different models"):
        select(index=ScoreIndex.of(dict(reversed(SCORES.items()))), layers=LAYERS, config=CWRF())


@given(
    st.floats(0.001, 0.999),
    st.sampled_from(["global", "per layer", "per type"]),
    st.sampled_from([(), ("conv",), ("head.bias", "norm")]),
)
def test_masks_agree_with_the_counts_for_every_ranking(fraction, ranking, exclude):
    table = select(index=INDEX, layers=LAYERS, config=CWRF(fraction=fraction, ranking=ranking, exclude=exclude))
    marked = masks(scores=SCORES, counts=dict(zip(table["name"], table["rewound"], strict=True)))
    for row in table.itertuples():
        mask = marked[row.name]
        assert mask.sum() == row.rewound
        assert row.rewound == 0 or SCORES[row.name][mask].min() >= row.threshold
        assert (SCORES[row.name][~mask] <= row.threshold).all() or row.name in exclude or row.type in exclude
    if ranking == "global":
        in_scope = int(INDEX.sizes.sum()) - sum(
            row.count_
            for row in table.rename(columns={"count": "count_"}).itertuples()
            if row.name in exclude or row.type in exclude
        )
        assert table["rewound"].sum() == round(fraction * in_scope)


def test_a_layer_without_a_count_is_not_marked():
    assert not masks(scores={"a": np.ones(3)}, counts={})["a"].any()
