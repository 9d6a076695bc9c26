"""The pictures and tables of one command, in one folder."""

import json
import math
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from cifar_tune.errors import Problem, UserError
from cifar_tune.files import Content, replace_files
from cifar_tune.plotting import style
from cifar_tune.visible import visible_json

Draw = Callable[[], Figure | str]
"""Draws a picture, or returns the sentence that says why there is nothing to see."""


def write(folder: Path, texts: Mapping[str, str], pictures: Mapping[str, Draw]) -> list[Path]:
    """Write texts and pictures by file name and return their paths; files of an earlier call are overwritten.

    Raises:
        UserError: the folder or a file cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        contents: dict[Path, Content] = {folder / name: text for name, text in texts.items()}
        with style.applied():
            for name, draw in pictures.items():
                drawn = draw()
                figure = style.sentence(drawn) if isinstance(drawn, str) else drawn
                contents[folder / name] = style.png(figure, palette=False)
        replace_files(contents)
    except OSError as error:
        source = str(error.filename or folder)
        raise UserError(Problem(f"cannot be written: {error.strerror}", source=source)) from error
    return [folder / name for name in (*texts, *pictures)]


def require_folder(folder: Path) -> None:
    """See whether the folder can be made, before hours of work whose result could not be written.

    What was not there before is not there afterwards either: the work may fail.

    Raises:
        UserError: it cannot be made.
    """
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    write(folder, {}, {})
    with suppress(OSError):  # somebody else has put something into it meanwhile
        for each in missing:
            each.rmdir()


def json_text(values: Mapping[str, Any]) -> str:
    """JSON as the standard has it: figures that are not finite become null."""
    return visible_json(json.dumps(_finite(values), indent=2, allow_nan=False, ensure_ascii=False)) + "\n"


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value
