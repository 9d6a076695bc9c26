"""`cifar-tune stop`."""

from cifar_tune.cli import options
from cifar_tune.streams import say


def stop(study: options.Study, storage: options.Storage = None) -> None:
    """Park a study that is running here or on another machine, and wait until it is parked.

    Its trials are parked as after Ctrl-C: `cifar-tune run` goes on with them. Where nobody runs the study, there is
    nothing to do, and the exit code is 0 too.
    """
    from cifar_tune.cli.find_study import find_stored
    from cifar_tune.optuna_tables import naming_damage, states_of_trials
    from cifar_tune.storage.stored_studies import require_study
    from cifar_tune.storage.urls import storage_url
    from cifar_tune.storage.wishes import this_person
    from cifar_tune.study.parking import park

    url = storage_url(storage)
    name, database = find_stored(study, url)
    require_study(database, name)
    parked = list(park(database, name, this_person(), lambda text: say(text, err=True)))
    if not parked:
        say(f"nobody runs {name}")
    for each in parked:
        if each.has_answered:
            say(f"{each.owner} has parked {each.study}")
        else:
            say(f"{each.owner} died without an answer; {each.study} goes on at its checkpoints")
    with naming_damage(name):
        states = states_of_trials(database.engine, database.get_study_id_from_name(name))
    counts = ", ".join(sorted(f"{count} {state.name}" for state, count in states.items()))
    say(f"{name}: {counts or 'no trials'}")
    if parked:
        say(f"go on with the same command, or with: cifar-tune run {study}")
