"""Weights on disk: written as safetensors, read from safetensors or a plain state dict, never by running a pickle."""

from __future__ import annotations

import pickle
import re
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from core.config import BadInput
from core.models.regions import describe

LIMIT_BYTES = 4 * 2**30
EXPECTED = "a safetensors file or a state dict saved with torch.save(model.state_dict(), …)"
WRAPPERS = ("state_dict", "model_state_dict", "model")


def save(weights: nn.Module | Mapping[str, Tensor], path: Path, metadata: dict[str, str] | None = None) -> None:
    """Write weights and buffers as safetensors; metadata are texts kept in the file's header."""
    state = weights.state_dict() if isinstance(weights, nn.Module) else weights
    # a copy each: safetensors refuses tensors that share memory, and channels_last is not contiguous
    flat = {name: t.detach().to("cpu", copy=True).contiguous() for name, t in state.items()}
    save_file(flat, path, metadata=metadata)


def read(path: Path) -> dict[str, Tensor]:
    """Name → tensor on the CPU; BadInput where the file is missing, too large, damaged or needs code to be read.

    The format is told by the content. Wrappers (a dict with the key state_dict, model_state_dict or model) and the
    prefix `module.` of data-parallel training are removed.
    """
    path = path.expanduser()
    if not path.is_file():
        raise BadInput(f"{path}: no such file; expected {EXPECTED}")
    size = path.stat().st_size
    if not 0 < size <= LIMIT_BYTES:
        found = "is empty" if size == 0 else f"is {size / 2**30:.1f} GB, the limit is {LIMIT_BYTES / 2**30:g} GB"
        raise BadInput(f"{path}: {found}; expected {EXPECTED}")
    content = _read_safetensors(path) if _is_safetensors(path) else _read_torch(path)
    return _state(content, path)


def _is_safetensors(path: Path) -> bool:
    """8 bytes of header length, then a header that starts with a brace."""
    with path.open("rb") as file:
        start = file.read(9)
    return len(start) == 9 and start[8:] == b"{" and int.from_bytes(start[:8], "little") <= path.stat().st_size


def _read_safetensors(path: Path) -> object:
    try:
        return load_file(path)
    except (SafetensorError, ValueError, KeyError) as error:
        raise BadInput(f"{path}: is a damaged safetensors file ({error})") from None


def _read_torch(path: Path) -> object:
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                size = sum(info.file_size for info in archive.infolist())
            if size > LIMIT_BYTES:
                raise BadInput(f"{path}: unpacks to {size / 2**30:.1f} GB, the limit is {LIMIT_BYTES / 2**30:g} GB")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what is wrong with the file is said once, below
            return torch.load(path, weights_only=True, map_location="cpu")
    except BadInput:
        raise
    except Exception as error:  # torch raises many kinds of error on bytes that are no checkpoint
        wanted = re.search(r"(?:GLOBAL |global:? |class )([\w.]+\.[\w.]+)", str(error))
        if isinstance(error, pickle.UnpicklingError) and wanted:
            raise BadInput(
                f"{path}: cannot be read without running code in it (it asks for {wanted[1]}), so it is refused; "
                "save the weights alone: torch.save(model.state_dict(), …), or safetensors"
            ) from None
        raise BadInput(f"{path}: is not a readable checkpoint; expected {EXPECTED}") from None


def _state(content: object, path: Path) -> dict[str, Tensor]:
    for wrapper in WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
            break
    if not isinstance(content, Mapping) or not content:
        raise BadInput(f"{path}: holds {_kind(content)}; expected {EXPECTED}")
    for name, value in content.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise BadInput(f"{path}: {name!s} is {_kind(value)}, not a tensor; expected {EXPECTED}")
        if value.layout != torch.strided or value.is_quantized:
            raise BadInput(f"{path}: {name} is sparse or quantised; expected plain tensors")
    if all(name.startswith("module.") for name in content):
        return {name.removeprefix("module."): value for name, value in content.items()}
    return dict(content)


def _kind(value: object) -> str:
    if isinstance(value, Mapping) and not value:
        return "nothing"
    return f"a {type(value).__name__}"


def fit(model: nn.Module, state: Mapping[str, Tensor], what: str = "trained weights") -> None:
    """Load the state into the model; BadInput names the first differences: classes, keys, shapes, values."""
    own = model.state_dict()
    _check_classes(model, own, state, what)
    problems = [f"{name} is missing" for name in own if name not in state]
    problems += [f"{name} is unexpected" for name in state if name not in own]
    problems += [
        f"{name} is {size(state[name])} instead of {size(own[name])}"
        for name in own
        if name in state and state[name].shape != own[name].shape
    ]
    problems += [
        f"{name} holds {state[name].dtype} instead of {own[name].dtype}".replace("torch.", "")
        for name in own
        if name in state and state[name].is_floating_point() != own[name].is_floating_point()
    ]
    if problems:
        more = f"; and {len(problems) - 3} more differences" if len(problems) > 3 else ""
        raise BadInput(f"{what} do not fit this architecture: {'; '.join(problems[:3])}{more}")
    for name, value in own.items():
        # as they will be stored: a value may be finite in 64 bits and infinite in 32
        if not torch.isfinite(state[name].to(value.dtype)).all():
            raise BadInput(f"{what}: {name} holds values that are not finite; the training behind them went wrong")
    model.load_state_dict(dict(state))


def _check_classes(model: nn.Module, own: Mapping[str, Tensor], state: Mapping[str, Tensor], what: str) -> None:
    """A head that differs in its number of classes only is said to be just that."""
    head = [row["name"] for row in describe(model) if row["region"] == "head" and len(row["shape"]) == 2][-1]
    given = state.get(head)
    if given is None or given.ndim != 2 or given.shape[1:] != own[head].shape[1:] or len(given) == len(own[head]):
        return
    hint = (
        "; where classes merely lack records, bring a Parquet file that names them all"
        if len(given) > len(own[head])
        else ""
    )
    raise BadInput(f"{what} are for {len(given)} classes, the data have {len(own[head])}{hint}")


def size(tensor: Tensor) -> str:
    """A tensor's shape in words."""
    return "×".join(str(side) for side in tensor.shape) or "a single number"
