import re

import pytest
from pydantic import TypeAdapter, ValidationError

from core.config import BadInput
from core.models import MLP, MODELS, ConvNet, Model, ResNet18, ViT

TABLE, GREY, COLOUR = (446,), (1, 8, 8), (3, 32, 32)


def test_the_kind_chooses_the_config():
    adapter = TypeAdapter(Model)
    for kind, config in MODELS.items():
        assert type(adapter.validate_python({"kind": kind})) is config
    with pytest.raises(ValidationError):
        adapter.validate_python({"kind": "resnet"})


@pytest.mark.parametrize("config", [MLP(), ConvNet(), ResNet18(), ViT()])
def test_defaults_take_images(config):
    config.fits(GREY)
    config.fits(COLOUR)


@pytest.mark.parametrize(
    ("config", "shape", "message"),
    [
        (ConvNet(), TABLE, "ConvNet takes images; records with 446 features need an MLP"),
        (ResNet18(), TABLE, "need an MLP"),
        (ViT(), TABLE, "need an MLP"),
        (ViT(dim=64, heads=3), COLOUR, "3 heads do not divide dim 64"),
        (ViT(patch=5), COLOUR, "patches of 5 do not divide images of 32×32"),
        (ViT(), (3, 32, 16), "square images, these are 16×32"),
        (ResNet18(width=4, norm="group"), GREY, "one number per group .* 8×8 pixels: raise model.width to 8"),
        (ResNet18(width=32, norm="group"), (1, 1, 1), "raise model.width to 64"),
    ],
)
def test_what_does_not_fit_says_why(config, shape, message):
    assert re.search(message, config.is_compatible(shape))
    with pytest.raises(BadInput, match=message):
        config.fits(shape)


@pytest.mark.parametrize(
    ("config", "field"),
    [(MLP, {"hidden": (0,)}), (ConvNet, {"channels": ()}), (ResNet18, {"width": 0}), (ViT, {"depth": 0})],
)
def test_sizes_out_of_range_are_refused(config, field):
    with pytest.raises(ValidationError):
        config(**field)


def test_group_norm_that_has_numbers_to_normalise_is_taken():
    for config, shape in (
        (ResNet18(width=4, norm="group"), (1, 9, 9)),
        (ResNet18(width=4), GREY),
        (ResNet18(width=8, norm="group"), GREY),
        (ResNet18(width=64, norm="group"), (1, 1, 1)),
        (ConvNet(norm="group"), GREY),
    ):
        assert config.is_compatible(shape) is None
    assert "need an MLP" in ResNet18(norm="group").is_compatible(TABLE)


def test_every_field_has_help_text():
    for config in MODELS.values():
        assert config.title
        for name, field in config.model_fields.items():
            assert field.description or name == "kind", (config, name)
