"""Forms made from config models: one widget per field, help and bounds from the field, nothing written twice.

A form is drawn with `form`, which returns a plain dict, and checked with `validated`, which returns the config or
says in one line what is wrong. What a person typed is remembered beside the widgets, so it survives a change of
kind (a field that both kinds have keeps its value) and a change of page (Streamlit forgets widgets not drawn).
Do not put a form with a choice of kinds inside `st.form`: the fields of the new kind would come one submit late.
"""

from __future__ import annotations

import math
import types
import typing
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeVar

import streamlit as st
from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from core.config import Config, configs_in, explain

NUMBER_WIDTH, WIDTH = 150, 220
"""Pixels of a number, and of text or a choice: two numbers fit beside each other at 390 px."""

_SPELLED = {
    "lr": "Learning rate",
    "lam": "λ",
    "alpha": "α",
    "gamma": "γ",
    "sigma": "Noise σ",
    "delta": "δ",
    "target_epsilon": "Target ε",
    "clip": "Clipping norm C",
    "temperature": "Temperature T",
    "kl": "KL direction",
    "std": "Standard deviation",
    "non_members": "Non-members",
    "finetune": "Fine-tuning",
    "models": "Reference models",
    "queries": "Questions",
    "lira_variance": "LiRA variance",
    "rmia_gamma": "RMIA γ",
    "rmia_a": "RMIA a",
}

_OPTIONS: dict[str, dict[Any, str]] = {
    "selection": {
        "pve": "vulnerability (PVE)",
        "magnitude": "size of the weight",
        "random": "chance",
        "past": "PAST γ",
    },
    "rewind_to": {"initial": "initial values", "early": "an early epoch", "fresh": "new random values"},
    "base": {"pve": "the scoring run (PVE)", "trained": "the trained model"},
    "mode": {"A3": "A3: freeze, tune the rest", "A2": "A2: tune only these", "A1": "A1: set to zero"},
}
"""Values of a choice that need words, by field."""

M = TypeVar("M", bound=Config)


@dataclass(frozen=True)
class _Place:
    """Where in which form a field is: the form's key, the path down to its model, the kind of that model."""

    key: str
    path: str = ""
    kind: str = ""
    depth: int = 0
    only: Collection[str] | None = None
    exclude: Collection[str] = ()

    def path_of(self, name: str) -> str:
        return f"{self.path}.{name}" if self.path else name

    def widget(self, name: str) -> str:
        """Widget keys name the kind: fields of two kinds may share a name, but not bounds or type."""
        return f"{self.key}/{self.path_of(name)}" + (f"@{self.kind}" if self.kind else "")

    def below(self, name: str, kind: str = "") -> _Place:
        return replace(self, path=self.path_of(name), kind=kind, depth=self.depth + 1)

    def shows(self, name: str) -> bool:
        path = self.path_of(name)
        if any(path == other or path.startswith(f"{other}.") for other in self.exclude):
            return False
        return self.only is None or any(
            path == other or path.startswith(f"{other}.") or other.startswith(f"{path}.") for other in self.only
        )


def form(
    model_type: type[M],
    value: M | dict[str, Any] | None,
    key: str,
    only: Collection[str] | None = None,
    exclude: Collection[str] = (),
) -> dict[str, Any]:
    """Draw the fields of a config model and return what they say, for `model_type.model_validate`.

    `value` is what the form starts from (None: the defaults). `key` keeps forms on a page apart; a form that
    should start anew for another experiment needs another key. `only` and `exclude` name fields,
    nested ones with dots ("train.lr"); fields not drawn keep their value. Fields of types that have no widget
    (mappings) keep their value too.
    """
    given = value.model_dump() if isinstance(value, BaseModel) else dict(value or {})
    return _fields(model_type, given, _Place(key=key, only=only, exclude=exclude))


def validated(model_type: type[M], data: dict[str, Any]) -> M | None:
    """The config, or None after an error message in one line."""
    try:
        return model_type.model_validate(data)
    except ValidationError as error:
        st.error(explain(error, model_type))
        return None


def told(model_type: type[M], data: dict[str, Any], say: Callable[[M], str], otherwise: str) -> str:
    """What `say` says of the config; `otherwise` where it is none, which the page says elsewhere."""
    try:
        return say(model_type.model_validate(data))
    except ValidationError:
        return otherwise


def words(name: str) -> str:
    """A field's name as a label: "weight_decay" → "Weight decay"."""
    if name in _SPELLED:
        return _SPELLED[name]
    text = name.replace("_", " ")
    return text[:1].upper() + text[1:]


def sign(name: str) -> str:
    """What stands for a field before its value: the sign that ends its label ("Target ε" → "ε"), else its name."""
    last = _SPELLED.get(name, name).split()[-1]
    return last if len(last) == 1 else name.replace("_", " ")


def _fields(model: type[BaseModel], given: dict[str, Any], place: _Place) -> dict[str, Any]:
    """Single values flow beside each other; groups follow below them."""
    out: dict[str, Any] = {}
    groups: list[tuple[str, FieldInfo]] = []
    flow = st.container(horizontal=True, vertical_alignment="bottom")
    for name, field in model.model_fields.items():
        kind, optional = _unwrap(field.annotation)
        start = given[name] if name in given else _default(field)
        choices = typing.get_args(kind) if typing.get_origin(kind) is Literal else ()
        if name == "kind" and place.kind:
            out[name] = place.kind
        elif len(choices) == 1 and not optional:
            out[name] = choices[0]
        elif not place.shows(name):
            if start is not PydanticUndefined:
                out[name] = start
        elif configs_in(field.annotation):
            groups.append((name, field))
            out[name] = start
        else:
            with flow:
                drawn = _single(name, field, start, place)
            if drawn is not PydanticUndefined:
                out[name] = drawn
    for name, field in groups:
        out[name] = _group(name, field, out[name], place)
    return out


# ---- groups of fields


def _group(name: str, field: FieldInfo, start: Any, place: _Place) -> dict[str, Any] | None:
    """A nested config, or a choice between several; optional ones can be switched off."""
    configs = configs_in(field.annotation)
    _, optional = _unwrap(field.annotation)
    label = field.title or words(name)
    if optional:
        drawn = _remembered(
            place,
            name,
            start is not None and start is not PydanticUndefined,
            lambda k, value: st.toggle(label, value, key=k),
            field,
        )
        if not drawn:
            return None
    start = start if isinstance(start, dict) else {}
    if len(configs) > 1:
        with st.container(border=True):
            return _union(name, field, configs, start, place)
    if optional or place.depth:
        with st.container(border=True):
            if not optional:
                st.markdown(f"**{label}**", help=field.description)
            return _fields(configs[0], start, place.below(name))
    with st.expander(label):
        if field.description:
            st.caption(field.description)
        return _fields(configs[0], start, place.below(name))


def _union(
    name: str, field: FieldInfo, configs: list[type[Config]], start: dict[str, Any], place: _Place
) -> dict[str, Any]:
    """First which kind, then the fields of that kind."""
    by_kind = {kind: config for config in configs for kind in typing.get_args(config.model_fields["kind"].annotation)}
    inner = place.below(name)
    kind = _remembered(
        inner,
        "kind",
        start.get("kind", next(iter(by_kind))),
        lambda k, value: st.selectbox(
            field.title or words(name),
            list(by_kind),
            list(by_kind).index(value),
            format_func=lambda kind: _title(by_kind[kind], kind),
            key=k,
            help=field.description,
        ),
        None,
    )
    chosen = by_kind[kind]
    summary = (chosen.__doc__ or "").strip().split("\n")[0]
    if summary:
        st.caption(summary)
    if start.get("kind") in by_kind and start["kind"] != kind:
        start = _shared(start, by_kind[start["kind"]], chosen)
    return _fields(chosen, start, place.below(name, kind))


def _title(config: type[Config], kind: str) -> str:
    """What a kind is called: by kind, by class, by the first line of its docstring."""
    names = getattr(config, "names", {})
    first = (config.__doc__ or "").strip().split("\n")[0].rstrip(".")
    return str(names.get(kind) or getattr(config, "title", "") or first or words(kind))


def _shared(start: dict[str, Any], old: type[Config], new: type[Config]) -> dict[str, Any]:
    """Of the values of another kind, those that the new kind has too and that somebody chose."""
    return {
        name: value
        for name, value in start.items()
        if name in new.model_fields and name in old.model_fields and value != _default(old.model_fields[name])
    }


# ---- single fields


def _single(name: str, field: FieldInfo, start: Any, place: _Place) -> Any:
    """The widget for one value; the value itself where no widget fits its type."""
    kind, optional = _unwrap(field.annotation)
    label, about = field.title or words(name), field.description
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    spelled = partial(_option, field=name)
    if origin is Literal or (kind is bool and optional):
        options = [*([None] if optional else []), *(args or (True, False))]
        return _remembered(
            place,
            name,
            start if start in options else options[0],
            lambda k, value: st.selectbox(
                label, options, options.index(value), format_func=spelled, key=k, help=about, width=WIDTH
            ),
            field,
        )
    if kind is bool:
        start = bool(start) if start is not PydanticUndefined else False
        return _remembered(place, name, start, lambda k, value: st.toggle(label, value, key=k, help=about), field)
    if kind in (int, float):
        return _number(name, field, start, place)
    if origin is tuple and typing.get_origin(args[0]) is Literal:
        options = list(typing.get_args(args[0]))
        chosen = [] if start is PydanticUndefined else list(start)
        return tuple(
            _remembered(
                place,
                name,
                chosen,
                lambda k, value: st.multiselect(label, options, value, format_func=_option, key=k, help=about),
                field,
            )
        )
    if origin is tuple:
        return _sequence(name, field, _unwrap(args[0])[0], start, place)
    if kind in (str, Path):
        text = "" if start is None or start is PydanticUndefined else str(start)
        typed = _remembered(
            place, name, text, lambda k, value: st.text_input(label, value, key=k, help=about, width=WIDTH), field
        ).strip()
        if not typed:
            return None if optional else PydanticUndefined if field.is_required() else ""
        return Path(typed) if kind is Path else typed
    return start


def _number(name: str, field: FieldInfo, start: Any, place: _Place) -> Any:
    kind, optional = _unwrap(field.annotation)
    low, high = _bounds(field, whole=kind is int)
    cast: Callable[[Any], Any] = int if kind is int else float
    required = start is PydanticUndefined
    start = None if required or start is None else cast(start)
    extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
    step = int(str(extra.get("step", 1))) if kind is int else _step(start, high)
    empty = "empty" if optional or required else None
    drawn = _remembered(
        place,
        name,
        start,
        lambda k, value: st.number_input(
            field.title or words(name),
            min_value=low,
            max_value=high,
            value=None if value is None else cast(value),
            step=step,
            format="%d" if kind is int else "%g",
            key=k,
            help=field.description,
            width=NUMBER_WIDTH,
            placeholder=empty,
        ),
        field,
    )
    return PydanticUndefined if required and drawn is None else drawn


def _sequence(name: str, field: FieldInfo, item: Any, start: Any, place: _Place) -> tuple[Any, ...]:
    """Several values in one line of text. What cannot be read stays text, for validation to name."""
    typed = _remembered(
        place,
        name,
        ""
        if start is PydanticUndefined
        else ", ".join(f"{part:g}" if isinstance(part, float) else str(part) for part in start),
        lambda k, value: st.text_input(
            field.title or words(name),
            value,
            key=k,
            help=f"{field.description or ''} Separate several by commas.".strip(),
            width=WIDTH,
        ),
        None,
    )
    return tuple(_read(part.strip(), item) for part in typed.split(",") if part.strip())


def _read(text: str, item: Any) -> Any:
    try:
        return item(text) if item in (int, float) else text
    except ValueError:
        return text


def _option(value: Any, field: str = "") -> str:
    named = {None: "not set", True: "yes", False: "no"}
    if value in _OPTIONS.get(field, {}):
        return _OPTIONS[field][value]
    return named[value] if value is None or isinstance(value, bool) else str(value)


# ---- what fields say of themselves


def _unwrap(annotation: Any) -> tuple[Any, bool]:
    """(the type, whether None is allowed) of an annotation, without Annotated."""
    if typing.get_origin(annotation) is typing.Annotated:
        return _unwrap(typing.get_args(annotation)[0])
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        parts = typing.get_args(annotation)
        rest = [part for part in parts if part is not type(None)]
        if len(rest) == 1:
            return _unwrap(rest[0])[0], len(rest) < len(parts)
        return annotation, len(rest) < len(parts)
    return annotation, False


def _default(field: FieldInfo) -> Any:
    value = field.get_default(call_default_factory=True) if not field.is_required() else PydanticUndefined
    return value.model_dump() if isinstance(value, BaseModel) else value


def _bounds(field: FieldInfo, *, whole: bool) -> tuple[Any, Any]:
    """Lowest and highest value a number field takes, None where open. Pydantic refuses an excluded end itself."""
    low = high = None
    for item in [*field.metadata, *_nested_metadata(field.annotation)]:
        for parts in getattr(item, "metadata", None) or [item]:
            if (end := getattr(parts, "ge", getattr(parts, "gt", None))) is not None:
                low = int(end) + (1 if hasattr(parts, "gt") else 0) if whole else float(end)
            if (end := getattr(parts, "le", getattr(parts, "lt", None))) is not None:
                high = int(end) - (1 if hasattr(parts, "lt") else 0) if whole else float(end)
    return low, high


def _nested_metadata(annotation: Any) -> list[Any]:
    """What Annotated says inside an optional type."""
    if typing.get_origin(annotation) is typing.Annotated:
        return list(typing.get_args(annotation)[1:])
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return [item for part in typing.get_args(annotation) for item in _nested_metadata(part)]
    return []


def _step(value: float | None, high: float | None) -> float:
    """What the plus and minus of a field add: one in the first digit of its value."""
    size = abs(value or 0.0) or (high or 1.0) / 10
    return 10.0 ** math.floor(math.log10(size * 0.999))


# ---- memory


def _remembered(place: _Place, name: str, start: Any, draw: Callable[[str, Any], Any], field: FieldInfo | None) -> Any:
    """Draw a widget that starts from what was typed before under this path, else from `start`.

    Values are remembered once they differ from where they started: a shared field nobody touched takes the default
    of the new kind. The widget is given its start at every draw: one put into session state is sent to the browser
    once, and a browser that misses it (a run cut short by the next) shows the lowest value instead.
    """
    memory: dict[str, Any] = st.session_state.setdefault(f"{place.key}/", {})
    path = place.path_of(name)
    typed = memory.get(path, start)
    drawn = draw(place.widget(name), typed if field is None or _takes(field, typed) else start)
    if drawn != start or path in memory:
        memory[path] = drawn
    return drawn


def _takes(field: FieldInfo, value: Any) -> bool:
    """Whether a remembered value is one for this field; another kind's field of that name may have other bounds."""
    if configs_in(field.annotation):  # the switch of an optional group, not its content
        return isinstance(value, bool)
    annotated: Any = typing.Annotated[field.annotation, field]
    try:
        TypeAdapter(annotated).validate_python(value)
    except ValidationError:
        return False
    return True
