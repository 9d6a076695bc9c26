"""Puts a model into its folder, all of it or nothing, and never over files of others. Without torch."""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from cifar_tune.errors import Problem, UserError
from cifar_tune.files import UNFINISHED, Content, replace_files
from cifar_tune.model_files.card import card
from cifar_tune.model_files.description import (
    CARD_FILE,
    DESCRIPTION_FILE,
    MOST_BYTES,
    ModelDescription,
    parse_description,
)
from cifar_tune.model_files.reading import read_file
from cifar_tune.unfinished import remove_abandoned, unfinished_folder


def require_model_folder(folder: Path) -> None:
    """See, before hours of training, whether a model can be written into the folder; nothing is left behind.

    Raises:
        UserError: it holds something else than a model of ours, or cannot be written.
    """
    require_ours(folder)
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with unfinished_folder(folder, UNFINISHED):
            pass
    except OSError as error:
        raise UserError(_unwritable(folder, error)) from error
    finally:
        _remove(missing)


def place(folder: Path, description: ModelDescription, files: Mapping[str, Content]) -> list[Path]:
    """Write description and card, and these files beside them. Files of the model that was there are removed.

    Args:
        folder: made where it is not there; holds nothing, or a model of ours.
        description: of the model.
        files: further files by their path below the folder; card and description, if they are not made again.

    Returns:
        All that was written.

    Raises:
        UserError: the folder holds something else, or cannot be written.
    """
    former = require_ours(folder)
    kept = {copy.file for copy in description.plugins}
    removed = [] if former is None else [folder / copy.file for copy in former.plugins if copy.file not in kept]
    for link in sorted(_links(folder, {*kept, *map(str, removed), *files})):
        raise UserError(Problem("is a link, and plugin files are written into real folders only", source=str(link)))
    named: dict[str, Content] = {CARD_FILE: card(description), **files}
    named[DESCRIPTION_FILE] = named.pop(DESCRIPTION_FILE, description.text())  # last: without it there is no model
    contents: dict[Path, Content] = {folder / name: content for name, content in named.items()}
    missing = [each for path in contents for each in path.parents if not each.exists()]
    try:
        for path in contents:
            path.parent.mkdir(parents=True, exist_ok=True)
        replace_files(contents, removed)
    except OSError as error:
        _remove(sorted(set(missing), key=lambda each: -len(each.parts)))
        raise UserError(_unwritable(folder, error)) from error
    return list(contents)


def _links(folder: Path, names: Iterable[str]) -> set[Path]:
    """The links among the folders that these files lie in: what is written or removed through one lies elsewhere."""
    paths = [folder / name for name in names]
    between = {each for path in paths for each in path.parents if folder in each.parents}
    return {each for each in between if each.is_symlink()}


def require_ours(folder: Path) -> ModelDescription | None:
    """The model that is there; None where the folder is empty or not there.

    Raises:
        UserError: it holds something else.
    """
    remove_abandoned(folder, UNFINISHED)  # killed processes leave such folders
    try:
        names = sorted(each.name for each in folder.iterdir())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UserError(_unwritable(folder, error)) from error
    if not names:
        return None
    if DESCRIPTION_FILE in names:
        with suppress(UserError):
            return parse_description(read_file(folder / DESCRIPTION_FILE, MOST_BYTES), str(folder))
    shown = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
    rule = f"holds other files ({shown}), and no model of cifar-tune that could be replaced: name a new folder"
    raise UserError(Problem(rule, source=str(folder)))


def _unwritable(folder: Path, error: OSError) -> Problem:
    return Problem(f"cannot be written: {error.strerror}", source=str(error.filename or folder))


def _remove(folders: Iterable[Path]) -> None:
    for each in folders:
        with suppress(OSError):  # it was never made, or somebody has put something into it
            each.rmdir()
