"""`cifar-tune delete`."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from cifar_tune.cli import options
from cifar_tune.streams import say
from cifar_tune.wording import counted

if TYPE_CHECKING:
    from cifar_tune.study.removing import Removed


def delete(
    study: options.Study,
    storage: options.Storage = None,
    server: options.Server = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Remove a study, its trials and its checkpoints, and the record of how often its test set was opened.

    What finalize has made for it, STUDY/finals and STUDY/networks, goes with it. A study that was submitted must have
    ended; its name is free afterwards.
    """
    from cifar_tune.cli.desk import address_of, server_desk
    from cifar_tune.cli.find_study import find_stored
    from cifar_tune.errors import DamagedError
    from cifar_tune.optuna_questions import numbers_of_trials
    from cifar_tune.service.names import is_submitted
    from cifar_tune.service.people import local_user
    from cifar_tune.service.schema import upgrade, version_of
    from cifar_tune.service.storage_desk import StorageDesk
    from cifar_tune.storage.openings import read_openings
    from cifar_tune.storage.stored_studies import study_names, while_it_is_there
    from cifar_tune.storage.urls import storage_url
    from cifar_tune.study.removing import remove_with_linked

    address = address_of(storage, server)
    if address:
        from cifar_tune.cli.served_studies import served_name

        with server_desk(address) as desk:
            name = served_name(study, desk)
            status = desk.study(name)["status"]
            trials = 0 if status is None else sum(status["counts"].values())
            openings = [] if status is None else list(status["test_openings"])
            _ask(name, trials, yes)
            _tell(desk.delete(name), trials, openings)
        return
    url = storage_url(storage)
    name, database = find_stored(study, url)
    trials, openings = 0, list[object]()
    if name in study_names(database) or not is_submitted(database.engine, name):
        with while_it_is_there(database, name):
            own = database.get_study_id_from_name(name)
            trials, _ = numbers_of_trials(database.engine, own)
            try:
                openings += read_openings(database.get_study_user_attrs(own))
            except DamagedError as error:  # it is to be removed whatever is in it
                say(f"note: {error}", err=True)
    _ask(name, trials, yes)
    if version_of(database.engine) is None:
        with while_it_is_there(database, name):
            removed = remove_with_linked(database, name, url)
    else:
        upgrade(database.engine)
        removed = StorageDesk(database.engine, url, local_user()).delete(name)
    _tell(removed, trials, openings)


def _ask(name: str, trials: int, yes: bool) -> None:
    if not yes:
        typer.confirm(f"Remove the study {name!r} with its {counted(trials, 'trial')} for good?", abort=True, err=True)


def _tell(removed: "Removed", trials: int, openings: Sequence[object]) -> None:
    say(f"removed {removed.study} ({counted(trials, 'trial')}){''.join(f', and {each}' for each in removed.linked)}")
    if removed.left:
        say(f"note: its checkpoints could not be removed: {', '.join(map(str, removed.left))}", err=True)
    if openings:
        from cifar_tune.storage.openings import times

        say(
            f"note: its test set was opened {times(openings)}, and nothing remembers that any more: figures of a study "
            f"that takes its place are influenced by it all the same",
            err=True,
        )
