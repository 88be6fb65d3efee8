"""The form builder on small models, driven through Streamlit's own test client."""

from pathlib import Path
from typing import Annotated, ClassVar, Literal

import pytest
from pydantic import Field
from streamlit.testing.v1 import AppTest

from core.config import Config
from pages import forms


class Plain(Config):
    """No options of its own."""

    kind: Literal["plain"] = "plain"
    weight: float = Field(0.25, ge=0, le=1)


class Relaxed(Config):
    """Stops at a target."""

    title: ClassVar[str] = "Relaxed loss"
    kind: Literal["relaxed"] = "relaxed"
    weight: float = Field(0.25, ge=0, le=1)
    alpha: float = Field(0.5, gt=0)
    noise: float = Field(0.0, ge=0)


class Public(Config):
    """A public set."""

    kind: Literal["one", "two"] = "one"
    names: ClassVar[dict[str, str]] = {"one": "Set One", "two": "Set Two"}
    noise: float = Field(0.5, ge=0, le=0.5)


class Inner(Config):
    """Nested."""

    rate: float | None = Field(None, gt=0, le=100, description="Empty: the outer one.")
    sizes: tuple[Annotated[int, Field(ge=1)], ...] = (32, 64)


class Example(Config):
    """One of each."""

    epochs: int = Field(20, gt=0, lt=100, description="Passes over the members.")
    lr: float = Field(5e-4, gt=0, le=10)
    augment: bool = False
    optimizer: Literal["sgd", "adamw"] = "sgd"
    attacks: tuple[Literal["loss", "lira"], ...] = ("loss",)
    folder: Path | None = None
    own: dict[str, float] = Field(default_factory=lambda: {"head": 0.5})
    inner: Inner = Inner()
    objective: Annotated[Plain | Relaxed | Public, Field(discriminator="kind")] = Plain()
    extra: Inner | None = None


class Needs(Config):
    """Fields without a default."""

    path: Path
    size: int = Field(ge=3)


def drawn(**arguments) -> AppTest:
    def script(**arguments):
        import streamlit as st

        from pages.forms import form, validated
        from tests.pages.test_forms import Example

        data = form(Example, arguments.pop("value", None), arguments.pop("key", "f"), **arguments)
        st.session_state["data"] = data
        st.session_state["config"] = validated(Example, data)

    app = AppTest.from_function(script, kwargs=arguments, default_timeout=30).run()
    assert not app.exception
    return app


def config(app: AppTest) -> Example:
    assert not app.exception
    return app.session_state["config"]


def test_an_untouched_form_gives_the_defaults_back() -> None:
    # compared as data: the script's own import of this module makes its own classes
    assert config(drawn()).model_dump() == Example().model_dump()


def test_an_untouched_form_gives_a_value_back() -> None:
    value = Example(
        epochs=3,
        lr=1e-5,
        augment=True,
        folder="/data",
        own={"a": 0.1},
        inner=Inner(rate=0.5, sizes=(8,)),
        objective=Public(kind="two", noise=0.125),
        extra=Inner(),
    )
    assert config(drawn(value=value.model_dump())).model_dump() == value.model_dump()


def test_bounds_help_labels_and_digits_come_from_the_field() -> None:
    app = drawn()
    epochs, lr = app.number_input(key="f/epochs"), app.number_input(key="f/lr")
    assert (epochs.min, epochs.max, epochs.help) == (1, 99, "Passes over the members.")
    assert (lr.label, lr.proto.format, lr.value) == ("Learning rate", "%g", 5e-4)
    assert lr.step == pytest.approx(1e-4)
    rate = app.number_input(key="f/inner.rate")
    assert rate.value is None and (rate.min, rate.max) == (0, 100)
    assert forms.words("weight_decay") == "Weight decay"


def test_what_is_typed_arrives() -> None:
    app = drawn()
    app.number_input(key="f/epochs").set_value(7)
    app.toggle(key="f/augment").set_value(True)
    app.selectbox(key="f/optimizer").set_value("adamw")
    app.multiselect(key="f/attacks").set_value(["lira", "loss"])
    app.text_input(key="f/folder").set_value(" /data ")
    app.number_input(key="f/inner.rate").set_value(0.5)
    app.text_input(key="f/inner.sizes").set_value("16,  8 ,4")
    app.run()
    got = config(app)
    assert (got.epochs, got.augment, got.optimizer, got.attacks) == (7, True, "adamw", ("lira", "loss"))
    assert (got.folder, got.inner.rate, got.inner.sizes) == (Path("/data"), 0.5, (16, 8, 4))


def test_a_choice_of_kinds_is_labelled_and_changes_the_fields() -> None:
    app = drawn()
    choice = app.selectbox(key="f/objective.kind")
    assert choice.options == ["No options of its own", "Relaxed loss", "Set One", "Set Two"]
    choice.set_value("relaxed").run()
    assert config(app).objective.model_dump() == Relaxed().model_dump()
    app.selectbox(key="f/objective.kind").set_value("two").run()
    assert config(app).objective.model_dump() == Public(kind="two").model_dump()


def test_a_shared_field_keeps_its_value_over_a_change_of_kind() -> None:
    app = drawn()
    app.number_input(key="f/objective.weight@plain").set_value(0.75).run()
    app.selectbox(key="f/objective.kind").set_value("relaxed").run()
    assert config(app).objective.weight == 0.75
    app.number_input(key="f/objective.alpha@relaxed").set_value(2.0).run()
    app.selectbox(key="f/objective.kind").set_value("plain").run()
    assert config(app).objective.weight == 0.75
    app.selectbox(key="f/objective.kind").set_value("relaxed").run()
    assert config(app).objective.alpha == 2.0


def test_an_untouched_or_impossible_shared_value_gives_way_to_the_new_default() -> None:
    app = drawn()
    app.selectbox(key="f/objective.kind").set_value("relaxed").run()
    app.selectbox(key="f/objective.kind").set_value("one").run()
    assert config(app).objective.noise == 0.5  # nobody chose Relaxed's 0.0
    app.selectbox(key="f/objective.kind").set_value("relaxed").run()
    app.number_input(key="f/objective.noise@relaxed").set_value(3.0).run()
    app.selectbox(key="f/objective.kind").set_value("one").run()
    assert config(app).objective.noise == 0.5  # 3.0 is out of Public's bounds


def test_a_given_value_is_shared_too() -> None:
    app = drawn(value={"objective": {"kind": "plain", "weight": 0.5}})
    app.selectbox(key="f/objective.kind").set_value("relaxed").run()
    assert config(app).objective.weight == 0.5
    app = drawn(value={"objective": Relaxed().model_dump()})
    app.selectbox(key="f/objective.kind").set_value("one").run()
    assert config(app).objective.noise == 0.5  # Relaxed's default was given, but not chosen


def test_an_optional_group_can_be_switched_on_and_off() -> None:
    app = drawn()
    app.toggle(key="f/extra").set_value(True).run()
    assert config(app).extra.model_dump() == Inner().model_dump()
    app.text_input(key="f/extra.sizes").set_value("5").run()
    assert config(app).extra.sizes == (5,)
    app.toggle(key="f/extra").set_value(False).run()
    assert config(app).extra is None


def test_what_is_wrong_is_said_in_one_line() -> None:
    app = drawn()
    app.text_input(key="f/inner.sizes").set_value("16, many").run()
    assert config(app) is None
    (error,) = app.error
    assert "inner.sizes.1" in error.value and "'many'" in error.value
    app.text_input(key="f/inner.sizes").set_value("16").run()
    app.number_input(key="f/lr").set_value(0.0).run()  # the excluded end of the range
    assert "lr" in app.error[0].value and "greater than 0" in app.error[0].value


def test_only_and_exclude_hide_fields_and_keep_their_values() -> None:
    app = drawn(value={"epochs": 3, "inner": {"sizes": (9,)}}, only=["lr", "inner.rate"])
    assert [w.key for w in app.number_input] == ["f/lr", "f/inner.rate"]
    assert not app.text_input and not app.selectbox
    assert (config(app).epochs, config(app).inner.sizes) == (3, (9,))
    app = drawn(value={"objective": {"kind": "relaxed", "alpha": 2}}, exclude=["objective", "inner.sizes"])
    assert config(app).objective.alpha == 2
    assert "f/inner.sizes" not in [w.key for w in app.text_input]
    assert "f/inner.rate" in [w.key for w in app.number_input]


def test_two_forms_on_a_page_do_not_meet() -> None:
    def script():
        import streamlit as st

        from pages.forms import form
        from tests.pages.test_forms import Example

        st.session_state["out"] = [form(Example, None, key)["epochs"] for key in ("a", "ab")]

    app = AppTest.from_function(script, default_timeout=30).run()
    app.number_input(key="a/epochs").set_value(5)
    app.number_input(key="ab/epochs").set_value(6).run()
    assert not app.exception
    assert app.session_state["out"] == [5, 6]


def test_widgets_are_told_their_start_at_every_draw() -> None:
    """A browser that missed the first run still shows the number, not the lowest one that the field takes."""
    app = drawn()
    for _ in range(2):
        assert app.number_input(key="f/epochs").proto.default == config(app).epochs
        app.run()
    app.number_input(key="f/epochs").set_value(7).run()
    assert app.run().number_input(key="f/epochs").proto.default == config(app).epochs == 7


def test_what_was_typed_survives_a_run_without_the_form() -> None:
    def script():
        import streamlit as st

        from pages.forms import form
        from tests.pages.test_forms import Example

        if not st.toggle("elsewhere", key="elsewhere"):
            st.session_state["out"] = form(Example, None, "f")

    app = AppTest.from_function(script, default_timeout=30).run()
    app.number_input(key="f/epochs").set_value(5)
    app.text_input(key="f/inner.sizes").set_value("7").run()
    app.toggle(key="elsewhere").set_value(True).run()
    app.toggle(key="elsewhere").set_value(False).run()
    assert not app.exception
    assert app.session_state["out"]["epochs"] == 5
    assert app.session_state["out"]["inner"]["sizes"] == (7,)


def test_fields_without_a_default_start_empty_and_are_asked_for() -> None:
    def script():
        from pages.forms import form, validated
        from tests.pages.test_forms import Needs

        validated(Needs, form(Needs, None, "n"))

    app = AppTest.from_function(script, default_timeout=30).run()
    assert not app.exception
    assert "path" in app.error[0].value and "size" in app.error[0].value
    app.text_input(key="n/path").set_value("x.parquet")
    app.number_input(key="n/size").set_value(4).run()
    assert not app.error and not app.exception


def test_every_field_of_a_whole_experiment_has_a_form() -> None:
    def script():
        import streamlit as st

        from core.experiment import Experiment
        from pages.forms import form, validated

        st.session_state["same"] = validated(Experiment, form(Experiment, None, "e")) == Experiment()

    app = AppTest.from_function(script, default_timeout=30).run()
    assert not app.exception and app.session_state["same"]


def test_folded_fields_follow_another_start():
    def app() -> None:
        import streamlit as st

        from pages import frame

        start = {"n": st.session_state.get("base", 1)}
        said = frame.folded_fields("k", lambda value: f"n {value['n']}", start, lambda then: then | {"n": 7})
        st.text(f"{said['n']}")

    page = AppTest.from_function(app).run()
    assert (page.expander[0].label, page.text[0].value) == ("n 1", "1")
    page.session_state["folded-k"] = True
    assert page.run().text[0].value == "7"
    page.session_state["folded-k"] = False
    page.run()
    assert (page.expander[0].label, page.text[0].value) == ("n 7", "7")  # what was said stays
    page.session_state["base"] = 5  # another experiment
    page.run()
    assert (page.expander[0].label, page.text[0].value) == ("n 5", "5")
