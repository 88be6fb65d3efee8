"""A stand-in for a GPU: a device of its own whose tensors are kept in ordinary memory, to run experiments on.

    python tests/other_device.py '[{…experiment…}, …]'

Prints the summaries as JSON, each with the number of operations that ran here. As on CUDA, an operation on tensors of
two devices fails, and so does `.numpy()` on a tensor that was not brought to the CPU first. What it cannot imitate:
random generators of the device (they are ordinary ones here), bf16, other processes (reference models are trained in
this one) and memory that runs out.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch.utils import _pytree as tree
from torch.utils import backend_registration

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

NAME = "elsewhere"
MOVES = {"aten::copy_", "aten::_copy_from"}
INDEXES = {"aten::index", "aten::index_put", "aten::index_put_", "aten::_index_put_impl_"}
"""Their indices, the second argument, may lie on the CPU."""
JOINS = {"aten::cat", "aten::stack"}
"""The only operations that do not take a single number from the CPU either."""


class Tensor(torch.Tensor):
    """A tensor of the other device; `inner` is the ordinary one behind it."""

    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, inner: torch.Tensor) -> Tensor:
        return torch.Tensor._make_wrapper_subclass(
            cls,
            inner.shape,
            strides=inner.stride(),
            storage_offset=inner.storage_offset(),
            dtype=inner.dtype,
            device=torch.device(NAME, 0),
        )

    def __init__(self, inner: torch.Tensor) -> None:
        self.inner = inner

    @classmethod
    def __torch_dispatch__(cls, operation, types, args=(), kwargs=None):
        return compute(operation, *args, **(kwargs or {}))


class Generator:
    """Ordinary generators in the place of the device's, which has none."""

    def __new__(cls, where: object = None) -> torch._C.Generator:
        return torch._C.Generator()


class Module(backend_registration._DummyBackendModule):
    """What torch asks a kind of device for."""

    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.bfloat16]


computed: list[str] = []
"""Names of the operations that this device was asked for."""


def compute(operation, *args, **kwargs):
    """One operation: on the ordinary tensors, its results put back on the device."""
    name = operation._schema.name
    given = tree.tree_leaves((args, kwargs))
    here = [value for value in given if isinstance(value, Tensor)]
    strange = [value for value in given if isinstance(value, torch.Tensor) and not isinstance(value, Tensor)]
    checked = tree.tree_leaves((args[:1], args[2:], kwargs)) if name in INDEXES else given
    mixed = [value for value in strange if any(value is one for one in checked)]
    written = mixed and name.endswith("_") and args[0] is mixed[0]
    if here and name not in MOVES and (written or any(value.ndim or name in JOINS for value in mixed)):
        raise RuntimeError(f"{name}: expected all tensors to be on the same device, found {NAME} and cpu")
    computed.append(name)
    to_cpu = "device" in kwargs and torch.device(kwargs["device"]).type == "cpu"
    args, kwargs = tree.tree_map(_inner, (args, kwargs))
    known = {id(value.inner): value for value in here} | {id(value): value for value in strange}

    def back(value):
        if not isinstance(value, torch.Tensor):
            return value
        return known.get(id(value), value if to_cpu else Tensor(value))

    return tree.tree_map(back, operation(*args, **kwargs))


def _inner(value):
    if isinstance(value, Tensor):
        return value.inner
    return torch.device("cpu") if isinstance(value, torch.device) else value


def in_this_process(function, tasks, *, shared=(), **how):
    """In the place of `core.parallel.fan_out`: processes of their own would not know what was set here."""
    return (function(*shared, *task) for task in tasks)


def install() -> torch.library.Library:
    """Make the device known to torch and the one that the engine computes on; before the engine's other imports."""
    backend_registration._setup_privateuseone_for_python_backend(NAME, backend_module=Module())
    library = torch.library.Library("_", "IMPL")
    library.fallback(compute, dispatch_key="PrivateUse1")
    from core import parallel
    from core.training import device

    torch.Generator = Generator
    device.device = lambda: torch.device(NAME)
    device.low_precision = lambda: None  # autocast would need kernels of this device
    parallel.fan_out = in_this_process
    return library


def main() -> None:
    library = install()  # what it registers lasts as long as it does
    from core.experiment import Experiment, run
    from core.store import Store

    summaries: list[dict[str, Any]] = []
    for experiment in json.loads(sys.argv[1]):
        computed.clear()
        with tempfile.TemporaryDirectory() as folder:
            summary = run(Experiment.model_validate(experiment), Store(folder))
        summaries.append(summary | {"operations": len(computed)})
    print(json.dumps(summaries))
    del library


if __name__ == "__main__":
    main()
