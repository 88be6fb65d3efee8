import subprocess
import sys

import pytest
from pydantic import TypeAdapter, ValidationError

from core.data import DATA, Data, Digits

ADAPTER: TypeAdapter = TypeAdapter(Data)


def test_the_kind_chooses_the_config_and_unknown_kinds_are_refused():
    assert type(ADAPTER.validate_python({"kind": "svhn"})) is DATA["svhn"]
    assert type(ADAPTER.validate_python({"kind": "images", "path": "a.parquet"})) is DATA["images"]
    with pytest.raises(ValidationError, match="'digits'"):
        ADAPTER.validate_python({"kind": "mnits"})


def test_only_the_digits_flip_labels_by_default():
    assert Digits().label_noise == 0.1
    others = [ADAPTER.validate_python({"kind": kind, "path": "a"} if kind in ("images", "table") else {"kind": kind})
              for kind in DATA if kind != "digits"]  # fmt: skip
    assert [config.label_noise for config in others] == [0] * 6


@pytest.mark.parametrize(
    "field", [{"members": 0}, {"non_members": 0}, {"reference": -1}, {"label_noise": 1}, {"seed": -1}, {"std": (0.0,)}]
)
def test_values_out_of_range_are_refused(field):
    with pytest.raises(ValidationError):
        Digits(**field)


def test_every_field_has_help_text():
    for config in DATA.values():
        for name, field in config.model_fields.items():
            assert field.description or name == "kind", (config, name)


def test_json_round_trip():
    for config in (Digits(seed=3, mean=(0.5,)), DATA["images"](path="x.parquet", member_indices="rows.json")):
        assert ADAPTER.validate_json(config.model_dump_json()) == config


def test_importing_data_and_model_configs_does_not_import_torch():
    code = "import sys, core.data, core.models; sys.exit('torch' in sys.modules or 'sklearn' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
