"""The configs of data: where the records come from, how many each split takes, which labels are flipped."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from core.config import Config


class DataConfig(Config):
    """Fields every source of records shares. `kind` names the source."""

    title: ClassVar[str] = ""
    label_noise: float = Field(0.0, ge=0, lt=1)
    """Share of labels flipped at random to another class, in every split alike. Flipped members are canaries."""
    members: int = Field(500, ge=1)
    """Records the model is trained on."""
    non_members: int = Field(500, ge=1)
    """Records the model never sees: they give the test accuracy and the other half of every audit."""
    reference: int = Field(400, ge=0)
    """Non-members a defence may use (PVE un-learns them); kept apart from those the audit uses."""
    population: int = Field(300, ge=0)
    """Further non-members that attacks compare with; kept apart from all other splits."""
    seed: int = Field(0, ge=0)
    """Decides which record falls into which split and which labels are flipped."""
    member_indices: Path | None = None
    """For a model you bring: a JSON, CSV or NPZ file with the row numbers it was trained on, under the name
    `members`, counted from 0 (built-in sets: train rows first, then test rows). Optionally also `non_members`."""
    mean: tuple[float, ...] = ()
    """For a model you bring: the mean its inputs were normalised with, one per channel (pixels from 0 to 1) or
    per feature. Empty: measured from the records."""
    std: tuple[Annotated[float, Field(gt=0)], ...] = ()
    """For a model you bring: the standard deviation its inputs were normalised with. Empty: measured."""


class Digits(DataConfig):
    """1 797 handwritten digits of 8×8 grey pixels, bundled with scikit-learn: nothing to download."""

    kind: Literal["digits"] = "digits"
    title: ClassVar[str] = "Handwritten digits (built in)"
    label_noise: float = Field(0.1, ge=0, lt=1)
    """Share of labels flipped at random to another class, in every split alike. Flipped members are canaries."""


class TorchvisionData(DataConfig):
    """A public image set that torchvision downloads on demand; its train and test parts are merged."""

    kind: Literal["cifar10", "cifar100", "fashion_mnist", "svhn"] = "cifar10"
    """Which public image set."""
    title: ClassVar[str] = "Public image set (downloaded)"
    names: ClassVar[dict[str, str]] = {
        "cifar10": "CIFAR-10",
        "cifar100": "CIFAR-100",
        "fashion_mnist": "FashionMNIST",
        "svhn": "SVHN",
    }
    folder: Path = Path("~/.cache/rewindlab")
    """Folder the set is downloaded to, and looked for first."""


class ImageParquet(DataConfig):
    """Images in a Parquet file as public dataset hubs store them: columns `img` (with `bytes`) and `label`.

    An optional boolean column `member` says which records a model you bring was trained on.
    """

    kind: Literal["images"] = "images"
    title: ClassVar[str] = "Images (Parquet)"
    path: Path
    """Parquet file with the columns img.bytes (encoded images of one size) and label; optionally member."""


class TableParquet(DataConfig):
    """A table of numbers: a column `label`, and every other column is a feature.

    An optional boolean column `member` says which records a model you bring was trained on.
    """

    kind: Literal["table"] = "table"
    title: ClassVar[str] = "Table (Parquet, CSV or NPZ)"
    path: Path
    """Parquet or CSV file with a column label and numeric features, or an NPZ file with the arrays x and y;
    optionally member."""


Data = Annotated[Digits | TorchvisionData | ImageParquet | TableParquet, Field(discriminator="kind")]

DATA: dict[str, type[DataConfig]] = {
    "digits": Digits,
    **dict.fromkeys(TorchvisionData.names, TorchvisionData),
    "images": ImageParquet,
    "table": TableParquet,
}
"""Every kind of data and its config."""
