"""Errors in words, and the walk over all fields that the command line and the forms are made from."""

from __future__ import annotations

from typing import Annotated, Literal

import pytest
from pydantic import Field, ValidationError

from core.config import Config, explain, fields, kinds


class Round(Config):
    """A circle."""

    kind: Literal["round"] = "round"
    size: int = Field(1, ge=1)
    """Size."""
    radius: float = 1.0
    """Radius."""


class Square(Config):
    """A square."""

    kind: Literal["square"] = "square"
    size: int = Field(2, ge=1)
    """Size."""


class Whole(Config):
    """Everything."""

    shape: Annotated[Round | Square, Field(discriminator="kind")] = Round()
    """The shape."""
    extra: Square | None = None
    """An optional one."""
    name: str = "x"
    """A name."""


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"shape": {"kind": "round", "size": 0}}, "shape.size: should be greater than or equal to 1 (got 0)"),
        ({"shape": {"kind": "oval"}}, "shape.kind: should be one of 'round', 'square' (got 'oval')"),
        ({"shape": {"kind": "square", "radius": 1}}, "shape.radius: there is no such field"),
        ({"nmae": 1}, "nmae: there is no such field"),
        ({"shape": {"kind": "round", "radius": float("inf")}}, "shape.radius: should be a finite number (got inf)"),
    ],
)
def test_one_line_with_field_value_and_range(value, message):
    with pytest.raises(ValidationError) as caught:
        Whole.model_validate(value)
    assert explain(caught.value, Whole) == message


def test_many_errors_are_counted():
    with pytest.raises(ValidationError) as caught:
        Whole.model_validate({name: 1 for name in "abcde"})
    assert explain(caught.value, Whole).endswith("c: there is no such field; and 2 more")


def test_fields_are_walked_with_kinds_flattened():
    found = [(path, kind, default) for path, kind, _, default in fields(Whole)]
    assert found == [
        ("shape.kind", "", "round"),
        ("shape.size", "", 1),
        ("shape.radius", "round", 1.0),
        ("extra", "", None),
        ("extra.kind", "", None),
        ("extra.size", "", 2),
        ("name", "", "x"),
    ]
    assert kinds(Whole) == {"round", "square"}


def test_a_config_is_a_value():
    with pytest.raises(ValidationError):
        Round().size = 3
    assert Round() == Round() and hash(Round()) == hash(Round())
