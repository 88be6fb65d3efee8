"""What moved after a rewind, by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from core.importance import moved

LAYERS = pd.DataFrame({"name": ["a", "b"], "region": ["stem", "head"], "type": "linear", "count": [2, 3]})
SCORES = {
    "vulnerability": np.array([4.0, 3.0, 2.0, 1.0, 0.0]),
    "onion_before": np.array([1.0, 3.0, 0.0, 4.0, 2.0]),
    "onion_after": np.array([0.0, 0.0, 5.0, 3.0, 2.0]),
}
REWOUND = np.array([True, False, False, False, True])


def test_shares_of_the_total_by_layer_and_on_the_rewound_weights() -> None:
    found = moved.shares(layers=LAYERS, scores=SCORES, rewound=REWOUND).set_index("name")
    assert list(found["vulnerability"]) == pytest.approx([0.7, 0.3])
    assert list(found["onion_before"]) == pytest.approx([0.4, 0.6])
    assert list(found["onion_after"]) == [0.0, 1.0]
    assert list(found["vulnerability_rewound"]) == pytest.approx([0.4, 0.0])
    assert list(found["onion_after_rewound"]) == pytest.approx([0.0, 0.2])


def test_overlaps_of_the_top_with_all_weights_and_with_the_free_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moved, "FRACTIONS", (0.1, 0.4))  # of 5 weights none and 2, of the 3 free ones none and 1
    found = moved.overlaps(scores=SCORES, rewound=REWOUND).set_index(["free", "new"])
    assert len(found) == 4 and set(found["old"]) == {"vulnerability"}
    # top two of all: {0, 1} at first, {1, 3} in the control, {2, 3} after
    assert found.at[(False, "onion_before"), "overlap"] == 0.5 and found.at[(False, "onion_after"), "overlap"] == 0
    # of the free ones 1, 2, 3: weight 1 at first, 3 in the control, 2 after
    assert found.at[(True, "onion_before"), "overlap"] == 0 and found.at[(True, "onion_after"), "overlap"] == 0
    assert list(found["weights"]) == [2, 2, 1, 1]
    assert found.at[(False, "onion_after"), "chance"] == 0.4
