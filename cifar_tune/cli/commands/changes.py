"""`cifar-tune pause`, `resume`, `cancel`, `priority` and `workers`: changes of a submitted study."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from cifar_tune.cli import options
from cifar_tune.errors import Problem, UserError
from cifar_tune.streams import say

if TYPE_CHECKING:
    from cifar_tune.service.desk import Desk
    from cifar_tune.service.submissions import Submission

Study = Annotated[str, typer.Argument(metavar="STUDY", help="The name of a submitted study.", show_default=False)]


def pause(study: Study, storage: options.Storage = None, server: options.Server = None) -> None:
    """Let a submitted study wait until it is resumed; its running trials are parked after their epoch."""
    _change(storage, server, lambda desk: desk.pause(study))


def resume(study: Study, storage: options.Storage = None, server: options.Server = None) -> None:
    """Queue a paused study again."""
    _change(storage, server, lambda desk: desk.resume(study))


def cancel(study: Study, storage: options.Storage = None, server: options.Server = None) -> None:
    """End a submitted study; its running trials are parked, and its results stay.

    It can be submitted again, and goes on where it was.
    """
    _change(storage, server, lambda desk: desk.cancel(study))


def priority(
    study: Study,
    number: Annotated[
        int, typer.Argument(metavar="N", help="The higher, the sooner; -1000 to 1000.", show_default=False)
    ],
    storage: options.Storage = None,
    server: options.Server = None,
) -> None:
    """Change the priority of a submitted study, also while it runs."""
    _change(storage, server, lambda desk: desk.set_priority(study, number))


def workers(
    study: Study,
    number: Annotated[
        str, typer.Argument(metavar="N", help="Trials at a time, or all for as many as fit.", show_default=False)
    ],
    storage: options.Storage = None,
    server: options.Server = None,
) -> None:
    """Change how many trials of a submitted study may run at a time, also while it runs."""
    if number != "all" and not (number.isascii() and number.isdecimal() and len(number) < 10):
        raise UserError(Problem("must be a number of trials, or all", "N", number))
    _change(storage, server, lambda desk: desk.set_workers(study, None if number == "all" else int(number)))


def _change(storage: str | None, server: str | None, change: "Callable[[Desk], Submission]") -> None:
    from cifar_tune.cli.desk import desk_of
    from cifar_tune.cli.queue_lines import state_words
    from cifar_tune.wording import counted

    with desk_of(storage, server) as desk:
        found = change(desk)
    if not found.is_living:
        say(f"{found.study}: {found.state}")
        return
    trials = "as many trials" if found.workers is None else counted(found.workers, "trial")
    most = f"{trials} at a time {'as fit' if found.workers is None else 'at most'}"
    say(f"{found.study}: {state_words(found)}, priority {found.priority}, {most}")
