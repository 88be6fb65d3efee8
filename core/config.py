"""The base of every config: frozen, strict, and worded for a person who mistyped."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, ValidationError


class Config(BaseModel):
    """A frozen value; unknown fields and non-finite numbers are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)


class BadInput(ValueError):
    """What a person gave cannot be used. The message is one line: what is wrong and what to do."""


def explain(error: ValidationError, prefix: str = "") -> str:
    """The first problems of a validation error as one line: field, value and allowed range."""
    problems = []
    for item in error.errors(include_url=False)[:3]:
        where = ".".join(str(part) for part in item["loc"]) or "config"
        text = item["msg"].removeprefix("Value error, ")
        value = "" if isinstance(item.get("input"), dict | list | tuple) else f" (got {item.get('input')!r})"
        problems.append(f"{prefix}{where}: {text}{value}")
    more = len(error.errors()) - len(problems)
    return "; ".join(problems) + (f"; and {more} more" if more > 0 else "")
