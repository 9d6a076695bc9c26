"""`cifar-tune delete`."""

from typing import Annotated

import typer

from cifar_tune.cli import options
from cifar_tune.streams import say


def delete(
    study: options.Study,
    storage: options.Storage = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Remove a study, its trials and its checkpoints, and the record of how often its test set was opened."""
    import optuna

    from cifar_tune.cli.find_study import find_stored
    from cifar_tune.storage.lease import acquire
    from cifar_tune.storage.openings import read_openings, times
    from cifar_tune.storage.records import load_optuna_study
    from cifar_tune.storage.urls import storage_url
    from cifar_tune.study.folder_claim import own_folder, remove_folder

    url = storage_url(storage)
    name, database = find_stored(study, url)
    stored = load_optuna_study(database, name)
    trials = len(stored.get_trials(deepcopy=False))
    openings = read_openings(stored.user_attrs)
    if not yes:
        typer.confirm(f"Remove the study {name!r} with its {trials} trials for good?", abort=True, err=True)
    lease = acquire(database.engine, name)  # not while somebody runs it
    with lease.kept():  # a study of many trials takes a while
        folder = own_folder(name, stored.user_attrs, database, url)
        lease.renew()
        optuna.delete_study(study_name=name, storage=database)
        left = remove_folder(folder) if folder is not None else []
    say(f"removed {name} ({trials} trials)")
    if left:
        say(f"note: its checkpoints could not be removed: {', '.join(map(str, left))}", err=True)
    if openings:
        say(
            f"note: its test set was opened {times(openings)}, and nothing remembers that any more: figures of a study "
            f"that takes its place are influenced by it all the same",
            err=True,
        )
