"""`cifar-tune stop`."""

from cifar_tune.cli import options
from cifar_tune.streams import say


def stop(study: options.Study, storage: options.Storage = None, server: options.Server = None) -> None:
    """Park a study that is running here or on another machine, and wait until it is parked.

    Its trials are parked as after Ctrl-C: `cifar-tune run` goes on with them. A study that was submitted is paused
    until somebody resumes it, also while it waits in the queue. Where nobody runs a study that was not submitted, there
    is nothing to do, and the exit code is 0 too.
    A server that is asked for this answers at once, and the study parks after its epoch.
    """
    from cifar_tune.cli.desk import address_of, desk_of
    from cifar_tune.cli.find_study import find_stored
    from cifar_tune.cli.stop_lines import stop_lines, stopped_lines
    from cifar_tune.cli.stopping import stop_stored
    from cifar_tune.storage.urls import storage_url

    if address_of(storage, server):
        with desk_of(storage, server) as desk:
            for line in stopped_lines(desk, study):
                say(line)
        return
    url = storage_url(storage)
    name, database = find_stored(study, url)
    stopped = stop_stored(database, url, name, lambda text: say(text, err=True))
    for line in stop_lines(database, name, study, stopped.parked, stopped.is_submitted):
        say(line)
