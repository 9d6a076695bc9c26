"""Options and arguments that several commands share."""

import math
from collections.abc import Callable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from cifar_tune.errors import Problem, UserError, nearest_name
from cifar_tune.paths import STDIN, given_path, is_stream
from cifar_tune.storage.linked import parent_of

Study = Annotated[
    str,
    typer.Argument(metavar="STUDY", help="A study file, or the name of a study in the storage.", show_default=False),
]


def _config_file(param: typer.CallbackParam, given: Path) -> Path:
    return STDIN if str(given) == "-" else given_path(given, str(param.metavar))


def _config_option(param: typer.CallbackParam, given: Path | None) -> Path | None:
    return None if given is None else _config_file(param, given)


def path(param: typer.CallbackParam, given: Path | None) -> Path | None:
    """Read an option that is a path; the callback of such options."""
    return None if given is None else given_path(given, param.opts[0])


def within(low: float, high: float = math.inf) -> Callable[[typer.CallbackParam, float | None], float | None]:
    """The callback of an option that is a number within bounds: what lies beyond is refused as in a study file."""

    def checked(param: typer.CallbackParam, given: float | None) -> float | None:
        if given is None or low <= given <= high:
            return given
        rule = f"must be at least {low:g}" if high == math.inf else f"must be between {low:g} and {high:g}"
        raise UserError(Problem(rule, param.opts[0], given))

    return checked


Config = Annotated[
    Path,
    typer.Argument(
        metavar="CONFIG", help="A file with data and train, such as an exported best.yaml.", callback=_config_file
    ),
]
ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        help="Take this configuration file, as for train, instead of the best trial.",
        show_default=False,
        callback=_config_option,
    ),
]
Storage = Annotated[
    str | None,
    typer.Option(
        "--storage",
        metavar="URL",
        help="The database. Default: CIFAR_TUNE_STORAGE, or sqlite:///storage/cifar_tune.db.",
        show_default=False,
    ),
]
Server = Annotated[
    str | None,
    typer.Option(
        "--server",
        metavar="URL",
        help="Ask this server instead of the database. Default: CIFAR_TUNE_SERVER.",
        show_default=False,
    ),
]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Fix a knob (epochs=5), or change a dotted path (data.root=images). Repeatable.",
        show_default=False,
    ),
]
Device = Annotated[str, typer.Option(help="auto, cpu, mps, cuda:0.")]
Output = Annotated[
    Path | None,
    typer.Option(
        "--output",
        metavar="DIR",
        help="The folder. Default: reports/ and the name of CONFIG; for a file of an export, beside it.",
        show_default=False,
        callback=path,
    ),
]
StudyOutput = Annotated[
    Path | None,
    typer.Option(
        "--output", metavar="DIR", help="The folder. Default: reports/STUDY/.", show_default=False, callback=path
    ),
]


class PictureFormat(StrEnum):
    """What pictures can be written as, beside PNG."""

    SVG = "svg"
    PDF = "pdf"


PictureFormats = Annotated[
    list[PictureFormat] | None,
    typer.Option("--format", help="Also write each picture as svg or pdf. May be given twice.", show_default=False),
]
Write = Annotated[
    Path | None,
    typer.Option(
        metavar="STUDY.yaml",
        help="Write the suggestion into this study file.",
        show_default=False,
        callback=path,
    ),
]
Places = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="Where the images are: data.root, data.download.", show_default=False
    ),
]
Save = Annotated[
    Path | None,
    typer.Option(
        "--save",
        metavar="FOLDER",
        help="Write the trained model into this folder; a model that is there is replaced.",
        show_default=False,
        callback=path,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def is_read_once(study: str) -> bool:
    """Whether a STUDY argument is a pipe or stdin, which nobody can read a second time."""
    return study == "-" or is_stream(Path(study))


def study_file(text: str, stored_names: Callable[[], Sequence[str]]) -> Path | None:
    """The file that a STUDY argument names; None if it is the name of a stored study.

    Args:
        text: the argument.
        stored_names: the names of the stored studies. It is called where the argument looks like a file and there is
            none: other programs may give a study such a name.

    Raises:
        UserError: if it looks like a file, and there is neither such a file nor such a study; names the nearest file.
    """
    if text == "-":
        return STDIN
    if not text:
        raise UserError(Problem("must be a study file, or the name of a study", "STUDY", text))
    try:
        path = given_path(text, "STUDY")
    except UserError:
        if text in stored_names():
            return None
        raise
    try:
        if path.is_file() or is_stream(path):
            return path
        if path.exists() and not path.is_dir():
            raise UserError(Problem("is a device, and no study file", text))
        if path.is_dir() and ("/" in text or not path.name):  # a study may be named like a folder
            if text in stored_names():
                return None
            raise UserError(Problem("is a folder; name a study file in it", text))
    except OSError as error:  # such as a name that is too long for a file
        if text in stored_names():
            return None
        raise UserError(Problem(f"cannot be read: {error.strerror}", text)) from error
    above = text.rpartition("/")[0]  # finalize names what it makes STUDY/finals
    is_name = path.suffix not in (".yaml", ".yml") and ("/" not in text or parent_of(text) is not None)
    if is_name or not {text, above}.isdisjoint(stored_names()):
        return None
    folder = path.parent
    names = [file.name for file in folder.glob("*.y*ml")] if folder.is_dir() else []
    nearest = nearest_name(path.name, names)
    raise UserError(Problem("there is no such study file", text, nearest=str(folder / nearest) if nearest else None))
