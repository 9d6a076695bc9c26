"""What every part of the proof is told, and how it answers: rows that are kept as soon as they are measured."""

import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from cifar_tune.data.spec import DataSpec

Cell = str | float | int | bool | None
Row = Mapping[str, Cell]


@dataclass(frozen=True, slots=True)
class Setting:
    """On what, how long, and where.

    Attributes:
        device: name of a torch device.
        images: where the images are, as JSON of a `DataSpec`.
        seconds: how long the part may take; it ends by itself a little before.
        small: whether only the script itself is tried: least work, figures without meaning.
        folder: scratch of the part; its rows go into `rows.jsonl` there.
        root: the folder that holds the package, its tests and its studies.
    """

    device: str
    images: str
    seconds: float
    small: bool
    folder: str
    root: str

    @property
    def torch_device(self) -> torch.device:
        """The device."""
        return torch.device(self.device)

    @property
    def rows(self) -> Path:
        """Where the rows go."""
        return Path(self.folder, "rows.jsonl")

    def data(self, train: int, val: int) -> DataSpec:
        """So many of the images, or all where there are not as many."""
        return DataSpec.model_validate_json(self.images).model_copy(update={"train_size": train, "val_size": val})

    def write(self, row: Row) -> None:
        """Keep a row: what follows may fail, or take too long."""
        with self.rows.open("a") as file:
            file.write(json.dumps(dict(row)) + "\n")

    def as_json(self) -> str:
        """For the process of a part."""
        return json.dumps(asdict(self))


def read_rows(path: Path) -> list[Row]:
    """The rows so far; one that was cut off is left out."""
    rows: list[Row] = []
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            rows.append(json.loads(line))
        except ValueError:
            continue
    return rows


class Clock:
    """Says whether there is time for something more."""

    def __init__(self, seconds: float) -> None:
        self._until = time.monotonic() + 0.9 * seconds

    @property
    def left(self) -> float:
        """Seconds that are left."""
        return self._until - time.monotonic()
