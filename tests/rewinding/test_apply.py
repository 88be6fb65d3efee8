"""Rewinding on a state of five numbers, and through the pipeline."""

from __future__ import annotations

import pytest
import torch

from core.defence import recipe_of
from core.models import ConvNet
from core.pipeline import Records, make, rewind_weights, train
from core.rewinding import CWRF, Finetune
from core.rewinding.apply import frozen, rewind
from core.training import TrainConfig

BASE = {"w": torch.tensor([1.0, 2.0, 3.0]), "bias": torch.tensor([4.0]), "running_mean": torch.tensor([5.0])}
INITIAL = {"w": torch.tensor([-1.0, -2.0, -3.0]), "bias": torch.tensor([-4.0]), "running_mean": torch.tensor([-5.0])}
MASKS = {"w": torch.tensor([True, False, True]), "bias": torch.tensor([False])}


@pytest.mark.parametrize(("mode", "w"), [("A1", [0, 2, 0]), ("A2", [-1, 2, -3]), ("A3", [-1, 2, -3])])
def test_by_hand(mode, w):
    out = rewind(base=BASE, initial=INITIAL, masks=MASKS, mode=mode)
    assert out["w"].tolist() == w
    assert out["bias"].tolist() == [4]
    assert out["running_mean"].tolist() == [5]  # no weight: it stays with the base
    out["bias"][0] = 0
    assert BASE["bias"].item() == 4  # a copy


def test_what_is_frozen():
    assert frozen(masks=MASKS, mode="A3") == MASKS and frozen(masks=MASKS, mode="A1") == MASKS
    assert {name: mask.tolist() for name, mask in frozen(masks=MASKS, mode="A2").items()} == {
        "w": [False, True, False],
        "bias": [True],
    }


@pytest.fixture(scope="module")
def trained():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn((40, 1, 6, 6), generator=generator)
    y = torch.randint(3, (40,), generator=generator)
    records = Records((x, y))
    make_model = lambda: make(ConvNet(channels=(4, 4)), (1, 6, 6), 3, seed=1)  # noqa: E731
    recipe = TrainConfig(epochs=2, batch_size=16)
    plain = train(make_model(), records, recipe=recipe, seed=0)
    other = train(make_model(), records, recipe=recipe, seed=5)  # stands for the scoring run
    return make_model, records, recipe, plain, other


@pytest.mark.parametrize("base", ["trained", "pve"])
@pytest.mark.parametrize("mode", ["A1", "A2", "A3"])
def test_the_pipeline_rewinds_freezes_and_tunes(trained, mode, base):
    make_model, records, recipe, plain, scoring = trained
    model = make_model()
    config = CWRF(fraction=0.2, mode=mode, base=base, finetune=Finetune(epochs=2))
    kept = plain.final if base == "trained" else scoring.final
    rewound = rewind_weights(model, base=kept, target=scoring.initial, scores=scoring.scores, config=config)
    weights = dict(model.named_parameters())
    total = sum(p.numel() for p in weights.values())
    assert rewound.layers["rewound"].sum() == round(0.2 * total) == sum(int(m.sum()) for m in rewound.masks.values())
    tuning, held = recipe_of(recipe, config), frozen(masks=rewound.masks, mode=mode)
    done = train(model, records, start=rewound.state, recipe=tuning, seed=0, held=held, scores=False)
    for name, value in kept.items():
        if name not in weights:  # batch-norm buffers
            assert torch.equal(rewound.state[name], value)
            continue
        mask = rewound.masks[name]
        target = torch.zeros_like(value) if mode == "A1" else scoring.initial[name]
        assert torch.equal(rewound.state[name][mask], target[mask])
        assert torch.equal(rewound.state[name][~mask], value[~mask])
        still, moves = (~mask, mask) if mode == "A2" else (mask, ~mask)
        assert torch.equal(done.final[name][still], rewound.state[name][still])
        assert not moves.any() or not torch.equal(done.final[name][moves], rewound.state[name][moves])
    assert [row["epoch"] for row in done.log] == []  # nothing watched


def test_the_most_vulnerable_weights_are_the_ones_rewound(trained):
    make_model, _, _, plain, scoring = trained
    config = CWRF(fraction=0.1)
    rewound = rewind_weights(
        make_model(), base=plain.final, target=scoring.initial, scores=scoring.scores, config=config
    )
    marked = torch.cat([torch.from_numpy(scoring.scores[n])[m] for n, m in rewound.masks.items()])
    others = torch.cat([torch.from_numpy(scoring.scores[n])[~m] for n, m in rewound.masks.items()])
    assert marked.min() >= others.max()


def test_no_fine_tuning_leaves_the_rewound_state(trained):
    make_model, records, recipe, plain, scoring = trained
    config = CWRF(finetune=Finetune(epochs=0))
    rewound = rewind_weights(
        make_model(), base=plain.final, target=scoring.initial, scores=scoring.scores, config=config
    )
    done = train(make_model(), records, start=rewound.state, recipe=recipe_of(recipe, config), seed=0, scores=False)
    assert all(torch.equal(done.final[name], value) for name, value in rewound.state.items()) and done.log == []
