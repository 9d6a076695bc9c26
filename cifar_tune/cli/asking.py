"""Questions before something is changed that cannot be changed back at once."""

import sys

import typer
from sqlalchemy.engine import URL

from cifar_tune.errors import UserError
from cifar_tune.storage.rdb import close, open_existing
from cifar_tune.streams import say
from cifar_tune.study.evolving import previewed
from cifar_tune.study_spec.specification import StudySpec


def confirm_evolution(spec: StudySpec, url: URL, is_agreed: bool) -> None:
    """Show what has changed in the study file and what `run --evolve` would carry over, and ask.

    Where nothing would change, do neither.

    Args:
        spec: what the study file says now.
        url: of the storage.
        is_agreed: with `--yes`: show what has changed, and do not ask; the run says what it carries over.

    Raises:
        UserError: there is nobody to ask.
        typer.Abort: the answer is no.
    """
    storage = open_existing(url)
    if storage is None:
        return
    try:
        preview = previewed(storage, spec)
    finally:
        close(storage)
    for sentence in preview.changes if is_agreed else (*preview.changes, *preview.consequences):
        say(sentence, err=True)
    if is_agreed or not preview.consequences:
        return
    if not _is_somebody_there():
        raise UserError("nothing was changed, since nobody can be asked here: add --yes to carry the trials over")
    typer.confirm("Carry them over?", abort=True, err=True)


def _is_somebody_there() -> bool:
    return sys.stdin.isatty()
