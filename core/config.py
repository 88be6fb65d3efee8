"""The base of every config: frozen, strict, and worded for a person who mistyped."""

from __future__ import annotations

import os
import types
import typing
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.fields import FieldInfo


class Config(BaseModel):
    """A frozen value; unknown fields and non-finite numbers are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)


class BadInput(ValueError):
    """What a person gave cannot be used. The message is one line: what is wrong and what to do."""


def explain(error: ValidationError, model: type[Config] | None = None) -> str:
    """The first problems of a validation error as one line: field, value and allowed range.

    `model`: the config that was validated; with it the kinds of unions, which are no fields, are left out of names.
    """
    tags = kinds(model) if model else set()
    problems = []
    for item in error.errors(include_url=False)[:3]:
        where = ".".join(str(part) for part in item["loc"] if part not in tags)
        text = item["msg"].removeprefix("Value error, ").replace("Input should", "should")
        if item["type"] == "union_tag_invalid":
            where, text = f"{where}.kind", f"should be one of {item['ctx']['expected_tags']}"
            value = f" (got {item['ctx']['tag']!r})"
        elif item["type"] == "extra_forbidden":
            text, value = "there is no such field", ""
        else:
            value = "" if isinstance(item.get("input"), dict | list | tuple) else f" (got {item.get('input')!r})"
        problems.append(f"{where}: {text}{value}" if where else text)
    more = len(error.errors()) - len(problems)
    return "; ".join(problems) + (f"; and {more} more" if more > 0 else "")


def whole_number(variable: str) -> int | None:
    """The environment variable as a whole number from 1 up; None where it is not set."""
    given = os.environ.get(variable)
    if not given:
        return None
    if not given.isdecimal() or int(given) < 1:
        raise BadInput(f"{variable} must be a whole number from 1 up (got {given!r})")
    return int(given)


def fields(model: type[Config], prefix: str = "") -> Iterator[tuple[str, str, FieldInfo, Any]]:
    """(dotted name, for which kind, field, default) of every setting below a config model, kinds flattened."""
    for name, field in model.model_fields.items():
        path = prefix + name
        configs = configs_in(field.annotation)
        optional = type(None) in typing.get_args(field.annotation)
        if not configs or optional:
            yield path, "", field, field.default
        if configs and any("kind" in c.model_fields for c in configs):
            kinds = [kind for c in configs for kind in typing.get_args(c.model_fields["kind"].annotation)]
            note = FieldInfo(annotation=str, description=f"{field.description} One of: {', '.join(kinds)}.")
            yield f"{path}.kind", "", note, getattr(field.default, "kind", None)
        seen: set[str] = {f"{path}.kind"}
        for config in configs:
            only = "" if len(configs) == 1 else str(typing.get_args(config.model_fields["kind"].annotation)[0])
            for inner, kind, f, default in fields(config, f"{path}."):
                if inner not in seen:
                    seen.add(inner)
                    shared = sum(inner.removeprefix(f"{path}.").split(".")[0] in c.model_fields for c in configs) > 1
                    yield inner, kind or ("" if shared else only), f, default


def configs_in(annotation: Any) -> list[type[Config]]:
    """The config classes in an annotation: itself, or those of a union."""
    if isinstance(annotation, type) and issubclass(annotation, Config):
        return [annotation]
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated or origin in (typing.Union, types.UnionType):
        return [c for part in typing.get_args(annotation) for c in configs_in(part)]
    return []


def kinds(model: type[Config]) -> set[str]:
    """All values that `kind` takes anywhere below a config model."""
    found: set[str] = set()
    for name, field in model.model_fields.items():
        if name == "kind":
            found |= set(typing.get_args(field.annotation))
        for config in configs_in(field.annotation):
            found |= kinds(config)
    return found


def merge(old: Any, new: Any) -> Any:
    """`new` laid over `old`; where the kind changes nothing of the old kind stays."""
    if not isinstance(old, dict) or not isinstance(new, dict):
        return new
    if new.get("kind", old.get("kind")) != old.get("kind"):
        return new
    return old | {name: merge(old.get(name), value) for name, value in new.items()}


def nested(flat: dict[str, Any]) -> dict[str, Any]:
    """{"a.b": 1} → {"a": {"b": 1}}."""
    out: dict[str, Any] = {}
    for path, value in flat.items():
        *parents, last = path.split(".")
        place = out
        for part in parents:
            place = place.setdefault(part, {})
            if not isinstance(place, dict):
                raise BadInput(f"{path} does not go with switching {part} off")
        place[last] = value
    return out
