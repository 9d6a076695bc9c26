"""What a model is to be converted to, and what is wrong with that request; seen before loading. Without torch."""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from cifar_tune.conversion.formats import FORMATS, Weights
from cifar_tune.errors import Problem, UserError


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to make.

    Attributes:
        target: an entry of `FORMATS`.
        weights: their type in the file.
        with_preprocessing: the file takes bytes and normalises them; else it takes normalised images.
        file: to be written.
        images: a directory of images to compare on; None: the validation images of the training.
    """

    target: str
    weights: Weights
    with_preprocessing: bool
    file: Path
    images: Path | None

    def require_possible(self) -> None:
        """See whether the format can have such weights, and whether all that is needed is installed.

        Raises:
            UserError: no; names what can be done.
        """
        target = FORMATS[self.target]
        if self.weights not in target.weights:
            can = " or ".join(f"--to {name}" for name, each in FORMATS.items() if self.weights in each.weights)
            raise UserError(Problem(f"{self.target} files cannot have them here; {can} can", "--weights", self.weights))
        other = next((name for name, each in FORMATS.items() if each.suffix == self.file.suffix.lower()), self.target)
        if other != self.target:
            rule = f"ends like a file of --to {other}, and --to {self.target} was given: change one of them"
            raise UserError(Problem(rule, "--output", str(self.file)))
        if not self.file.parent.exists():
            raise UserError(Problem("there is no such folder", "--output", str(self.file.parent)))
        missing = [name for name in target.packages if find_spec(name) is None]
        if missing:
            rule = f"needs the package {missing[0]}, which is not installed: pip install 'cifar-tune[{self.target}]'"
            raise UserError(Problem(rule, "--to", self.target))
        if self.images is not None and not self.images.is_dir():
            rule = "is a file; give the folder that it lies in" if self.images.exists() else "there is no such folder"
            raise UserError(Problem(rule, "--images", str(self.images)))
