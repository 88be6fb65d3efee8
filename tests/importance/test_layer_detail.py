"""One layer read from safetensors, thinned and described."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file

from core.config import BadInput
from core.importance.layer_detail import Layer, read_layer


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    trained, vulnerability = tmp_path / "train", tmp_path / "pve"
    trained.mkdir()
    vulnerability.mkdir()
    one = np.arange(6, dtype=np.float32).reshape(2, 3)
    other = np.ones(4, np.float32)
    save_file({"a": one, "b": other}, trained / "initial.safetensors")
    save_file({"a": one + 1, "b": other}, trained / "final.safetensors")
    save_file({"a": one * 2, "b": other}, vulnerability / "scores.safetensors")
    return trained, vulnerability


def test_reads_the_named_layer_in_its_shape(folders: tuple[Path, Path]) -> None:
    trained, vulnerability = folders
    layer = read_layer("a", trained=trained, vulnerability=vulnerability)
    assert layer.initial.tolist() == [[0, 1, 2], [3, 4, 5]]
    assert layer.trained.tolist() == [[1, 2, 3], [4, 5, 6]]
    assert layer.vulnerability.tolist() == [[0, 2, 4], [6, 8, 10]]


def test_an_unknown_layer_is_named(folders: tuple[Path, Path]) -> None:
    trained, vulnerability = folders
    with pytest.raises(BadInput, match=r"initial\.safetensors has no layer 'c'"):
        read_layer("c", trained=trained, vulnerability=vulnerability)


def test_facts_by_hand() -> None:
    """Critical weights moved by 1 and 2, the others by .5 and 0; of the two largest, one (−4) is critical."""
    layer = Layer(
        initial=np.array([[1.0, -2.0], [3.0, 0.5]], np.float32),
        trained=np.array([[2.0, -4.0], [3.5, 0.5]], np.float32),
        vulnerability=np.zeros((2, 2), np.float32),
    )
    facts = layer.facts(np.array([[True, True], [False, False]]))
    assert facts == {"critical_moved": 1.5, "others_moved": 0.25, "among_largest": 0.5}


def test_facts_of_an_empty_group_are_nan() -> None:
    layer = Layer(*[np.array([1.0, 2.0], np.float32)] * 3)
    none, every = layer.facts(np.zeros(2, bool)), layer.facts(np.ones(2, bool))
    assert math.isnan(none["critical_moved"]) and math.isnan(none["among_largest"]) and none["others_moved"] == 0
    assert math.isnan(every["others_moved"]) and every["among_largest"] == 1


def test_a_small_layer_is_sampled_whole_and_in_order() -> None:
    layer = Layer(np.arange(4.0).reshape(2, 2), np.arange(4.0).reshape(2, 2) + 10, np.zeros((2, 2)))
    rows = layer.sample(np.array([[False, True], [False, False]]))
    assert rows["initial"].tolist() == [0, 1, 2, 3]
    assert rows["trained"].tolist() == [10, 11, 12, 13]
    assert rows["critical"].tolist() == [False, True, False, False]


def test_few_critical_weights_all_survive_thinning() -> None:
    values = np.arange(10_000.0)
    critical = values % 1000 == 7
    rows = Layer(values, values, values).sample(critical, most=100)
    assert len(rows) == 100
    assert rows.loc[rows["critical"], "initial"].tolist() == values[critical].tolist()


@given(
    st.lists(st.booleans(), min_size=1, max_size=200),
    st.integers(2, 60),
)
def test_a_sample_is_full_unique_and_fair(marks: list[bool], most: int) -> None:
    critical = np.array(marks)
    values = np.arange(len(marks), dtype=np.float64)
    rows = Layer(values, values, values).sample(critical, most=most)
    assert len(rows) == min(most, len(marks))
    assert rows["initial"].is_unique
    assert (rows["critical"].to_numpy() == critical[rows["initial"].astype(int)]).all()
    assert rows["critical"].sum() >= min(critical.sum(), most // 2)
