"""Writes a learning-rate range into a study file, and leaves every other byte of it as it is."""

import os
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import yaml

from cifar_tune.errors import Problem, UserError
from cifar_tune.knobs.configuration import Configuration
from cifar_tune.paths import is_stream
from cifar_tune.study_spec.per import Per
from cifar_tune.study_spec.reader import read_document, read_study
from cifar_tune.study_spec.search_space import Range
from cifar_tune.study_spec.yaml_reader import read_yaml
from cifar_tune.unfinished import remove_abandoned, unfinished_file

_PLACE = "search_space.lr"
_BESIDE = ".cifar-tune-new-*"


@dataclass(frozen=True, slots=True)
class LrInStudy:
    """A study file whose `search_space.lr` is a range that can be written.

    Attributes:
        path: of the file.
        text: what it held, with its own line ends.
        per: what the range is searched per, if it is.
    """

    path: Path
    text: str
    per: Per | None = None

    def searched(self, lr: float, config: Configuration) -> float:
        """What the range has to hold for trainings like that of `config` to use this learning rate, in three digits.

        Raises:
            UserError: the configuration lacks what the range is searched per.
        """
        if self.per is None:
            return lr
        if self.per.knob not in config:
            raise UserError(_problem(self.path, f"is searched per {self.per.knob}, which this configuration lacks"))
        return float(f"{self.per.unscaled(lr, config):.3g}")

    def replaced(self, low: float, high: float) -> str:
        """The text with this range.

        Raises:
            UserError: the range cannot be changed by itself, or does not suit the rest of the study.
        """
        ends = {"low": f"{low:.12g}", "high": f"{high:.12g}"}
        text = self.text
        spots = sorted(((self._node(key), new) for key, new in ends.items()), key=_position)
        for node, new in reversed(spots):
            text = text[: node.start_mark.index] + new + text[node.end_mark.index :]
        document = read_yaml(text, str(self.path))
        expected = deepcopy(read_yaml(self.text, str(self.path)).value)
        expected["search_space"]["lr"] |= {"low": low, "high": high}  # type: ignore[index]
        if document.value != expected:
            raise UserError(
                _problem(self.path, "is shared with other parts of the file by an anchor: write it by hand")
            )
        read_study(document, str(self.path))
        return text

    def _node(self, end: str) -> yaml.Node:
        """Where one end of the range stands in the text."""
        node: Any = yaml.compose(self.text, Loader=yaml.SafeLoader)
        for key in ("search_space", "lr", end):
            node = next((value for name, value in node.value if name.value == key), None)
            if node is None:  # a merge key brings it
                raise UserError(_problem(self.path, f"{end} comes from another part of the file: write it by hand"))
        return cast(yaml.Node, node)

    def write(self, low: float, high: float) -> None:
        """Put this range into the file: as a whole, or not at all.

        Raises:
            UserError: as `replaced`; the file changed meanwhile, or cannot be written.
        """
        text = self.replaced(low, high)
        target = self.path.resolve()  # a link stays one
        try:
            if _read(self.path) != self.text:
                raise UserError(Problem("was changed meanwhile, and is left as it is", source=str(self.path)))
            remove_abandoned(target.parent, _BESIDE)
            with unfinished_file(target.parent, _BESIDE) as written:
                with written.open("wb") as file:
                    file.write(text.encode())
                    file.flush()
                    os.fsync(file.fileno())
                written.chmod(target.stat().st_mode)
                written.replace(target)
        except OSError as error:
            raise UserError(Problem(f"cannot be written: {error.strerror}", source=str(self.path))) from error


def lr_in_study(path: Path) -> LrInStudy:
    """Read a study file whose range is to be written later.

    Raises:
        UserError: it is no sound study file, or holds no range of the learning rate to be changed.
    """
    if is_stream(path):
        raise UserError(Problem("is a pipe: name a file to write the range into", source=str(path)))
    document = read_document(path)
    spec = read_study(document, str(path)).spec
    line = document.lines.get(("search_space", "lr"))
    if "lr" in spec.train:
        rule = "lr is fixed here: to search it, move it to search_space, such as lr: {low: 1e-4, high: 1, log: true}"
        raise UserError(Problem(rule, "train.lr", spec.train["lr"], str(path), document.lines.get(("train", "lr"))))
    dimension = spec.search_space.get("lr")
    if dimension is None or line is None:
        rule = "stands nowhere in this file: write lr: {low: 1e-4, high: 1, log: true} under search_space first"
        raise UserError(_problem(path, rule))
    if not isinstance(dimension, Range):
        raise UserError(_problem(path, "holds choices: only low and high can be written", line))
    if not dimension.log:
        raise UserError(_problem(path, "is searched in even steps: give it log: true first", line))
    return LrInStudy(path, _read(path), dimension.per)


def _read(path: Path) -> str:
    """The text with its line ends as they are."""
    return path.read_bytes().decode("utf-8")


def _position(spot: tuple[yaml.Node, str]) -> int:
    position: int = spot[0].start_mark.index
    return position


def _problem(path: Path, rule: str, line: int | None = None) -> Problem:
    return Problem(rule, _PLACE, source=str(path), line=line)
