import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.config import BadInput
from core.data import Digits
from core.data.splits import SPLITS, flip, split

sizes = st.integers(0, 12)


def config(m=2, n=2, r=1, p=1, seed=0):
    return Digits(members=m, non_members=n, reference=r, population=p, seed=seed)


@given(m=st.integers(1, 12), n=st.integers(1, 12), r=sizes, p=sizes, spare=sizes, seed=st.integers(0, 2**32))
def test_splits_are_disjoint_in_range_and_of_the_sizes_asked(m, n, r, p, spare, seed):
    count = m + n + r + p + spare
    rows = split(count, config(m, n, r, p, seed))
    together = np.concatenate([rows[name] for name in SPLITS])
    assert [len(rows[name]) for name in SPLITS] == [m, n, r, p]
    assert len(np.unique(together)) == len(together)
    assert ((together >= 0) & (together < count)).all()


@given(flags=st.lists(st.sampled_from("mno"), min_size=8, max_size=40), seed=st.integers(0, 1000), data=st.data())
def test_flags_hold_and_splits_stay_disjoint(flags, seed, data):
    members = np.array([flag == "m" for flag in flags])
    listed = np.array([flag == "n" for flag in flags])
    if members.sum() == 0 or listed.sum() == 0:
        return
    m = data.draw(st.integers(1, int(members.sum())))
    n = data.draw(st.integers(1, int(listed.sum())))
    r = data.draw(st.integers(0, int((~members).sum()) - n))
    rows = split(len(flags), config(m, n, r, 0, seed), members=members, non_members=listed)
    assert members[rows["members"]].all() and listed[rows["non_members"]].all()
    assert not members[np.concatenate([rows["reference"], rows["population"]])].any()
    together = np.concatenate(list(rows.values()))
    assert len(np.unique(together)) == len(together) == m + n + r


def test_the_seed_decides_and_nothing_else():
    assert all((split(50, config(seed=4))[k] == split(50, config(seed=4))[k]).all() for k in SPLITS)
    assert any((split(50, config(seed=4))[k] != split(50, config(seed=5))[k]).any() for k in SPLITS)


def test_every_row_is_a_member_equally_often():
    counts = np.zeros(10)
    for seed in range(2000):
        counts[split(10, config(3, 3, 2, 2, seed=seed))["members"]] += 1
    assert abs(counts / 2000 - 0.3).max() < 0.05  # five standard errors


def test_too_few_records_says_how_many_there_are_and_what_was_asked():
    with pytest.raises(BadInput, match=r"there are 5 records, but 6 are needed .*members 2, non-members 2"):
        split(5, config())


@pytest.mark.parametrize(
    ("members", "non_members", "message"),
    [
        ("1000000000", None, "there are 1 records that were members of the model, but 2"),
        ("1110000000", "0001000000", "there are 1 records listed as non-members, but 2"),
        ("1111111000", None, "there are 3 records outside the model's members, but 4"),
    ],
)
def test_too_few_flagged_records(members, non_members, message):
    def flags(text):
        return None if text is None else np.array([c == "1" for c in text])

    with pytest.raises(BadInput, match=message):
        split(10, config(), members=flags(members), non_members=flags(non_members))


def test_flips_change_the_share_asked_in_every_split_and_always_to_another_class():
    y = np.random.default_rng(0).integers(0, 4, 1000)
    splits = {"members": np.arange(500), "non_members": np.arange(500, 900), "reference": np.arange(900, 1000)}
    noisy = flip(y, splits, classes=4, share=0.1, seed=1)
    assert [(noisy != y)[where].sum() for where in splits.values()] == [50, 40, 10]
    assert noisy.min() >= 0 and noisy.max() < 4
    assert set(((noisy - y) % 4)[noisy != y]) == {1, 2, 3}
    assert (flip(y, splits, classes=4, share=0, seed=1) == y).all()
    assert (flip(y, splits, classes=4, share=0.1, seed=1) == noisy).all()
