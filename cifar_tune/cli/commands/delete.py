"""`cifar-tune delete`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from cifar_tune.cli import options
from cifar_tune.streams import say


def delete(
    study: options.Study,
    storage: options.Storage = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Remove a study, its trials and its checkpoints, and the record of how often its test set was opened.

    What finalize has made for it, STUDY/finals and STUDY/networks, goes with it.
    """
    from cifar_tune.cli.find_study import find_stored
    from cifar_tune.errors import DamagedError
    from cifar_tune.optuna_tables import numbers_of_trials
    from cifar_tune.storage.lease import acquire
    from cifar_tune.storage.linked import linked_to
    from cifar_tune.storage.openings import read_openings, times
    from cifar_tune.storage.records import require_study, study_names
    from cifar_tune.storage.urls import storage_url
    from cifar_tune.study.folder_claim import remove_study
    from cifar_tune.wording import counted

    url = storage_url(storage)
    name, database = find_stored(study, url)
    require_study(database, name)
    own = database.get_study_id_from_name(name)
    trials, _ = numbers_of_trials(database.engine, own)
    try:
        openings: Sequence[object] = read_openings(database.get_study_user_attrs(own))
    except DamagedError as error:  # it is to be removed whatever is in it
        say(f"note: {error}", err=True)
        openings = ()
    if not yes:
        typer.confirm(f"Remove the study {name!r} with its {counted(trials, 'trial')} for good?", abort=True, err=True)
    linked = linked_to(name, study_names(database))
    left: list[Path] = []
    with acquire(database.engine, name).kept():  # not while somebody runs it; a study of many trials takes a while
        for each in linked:
            with acquire(database.engine, each).kept():
                left += remove_study(database, each, url)
        left += remove_study(database, name, url)
    say(f"removed {name} ({counted(trials, 'trial')}){''.join(f', and {each}' for each in linked)}")
    if left:
        say(f"note: its checkpoints could not be removed: {', '.join(map(str, left))}", err=True)
    if openings:
        say(
            f"note: its test set was opened {times(openings)}, and nothing remembers that any more: figures of a study "
            f"that takes its place are influenced by it all the same",
            err=True,
        )
