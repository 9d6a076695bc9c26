"""`cifar-tune status`."""

import json
from typing import Annotated

import typer

from cifar_tune.cli import options
from cifar_tune.streams import say


def status(
    study: Annotated[
        str | None, typer.Argument(metavar="[STUDY]", help="One study. Default: all studies.", show_default=False)
    ] = None,
    storage: options.Storage = None,
    server: options.Server = None,
    as_json: options.Json = False,
) -> None:
    """Show the studies of the storage, or one study: trials by state, the best so far, what is running.

    One study also has a table of its last trials.

    With --json: {"storage" (with a server its address), "studies": [...]}, or one such object for one study: name,
    objective (the first), objectives, constraints, budget_trials (of a grid at most its combinations), trainings (of
    each configuration: 1 without `repeats`), finished, counts (by state), reasons (why trials ended), stopped (null, or
    why the rule `stop`, or `repeats`, has ended it: words, rule, finished, budget), owner (null: nobody runs it), lease
    (null: nobody has it; or host, pid, seconds_left, and is_free: true where the next run takes over at once, since the
    owner is dead or has not renewed it), best (null, or number, value, values by metric, params; with `repeats` the
    values are means, and trainings are their trials, standard_errors those of the means, by metric), front (the same of
    every trial on the Pareto front; null with one objective), test_openings (as `finalize --json` has them),
    test_openings_elsewhere (of the same test images for other studies: study, opened, person, host, identity,
    test_accuracy, test_images), running (where owner is null: left behind by a run that was killed) and parked (lists
    of number, epoch, epochs, value), paused (the same and rung, from 1, of trials that the pruner promotion lets wait),
    drawn and enqueued (numbers of trials that have not begun: with all parameters, and with those that somebody gave),
    evolved_from (null, or from: the earlier version's name, version, and how many trials were carried and left: see
    `run --evolve`), failed (numbers and errors of failed trials), elapsed_seconds, data. A study that another tool made
    has name and foreign: true alone; one that another version made, and this one cannot read, name and unreadable; one
    of which the database holds what makes no sense, name and damaged (a sentence), and then the exit code is 1.
    """
    from cifar_tune.cli.desk import address_of, server_desk
    from cifar_tune.cli.study_status import all_statuses, status_and_trials, status_lines, trial_lines
    from cifar_tune.errors import CheckError
    from cifar_tune.storage.rdb import open_existing, without_studies
    from cifar_tune.storage.urls import shown, storage_url

    address = address_of(storage, server)
    if address:
        from cifar_tune.cli.served_studies import served_status, served_statuses

        with server_desk(address) as desk:
            place, begin = desk.server, "cifar-tune submit"
            if study is None:
                statuses = served_statuses(desk)
            else:
                found, last = served_status(study, desk)
    else:
        url = storage_url(storage)
        place, begin = shown(url), "cifar-tune run"
        if study is None:
            statuses = all_statuses(url)
            place += "" if statuses or as_json or open_existing(url) else f": {without_studies(url)}"
        else:
            found, last = status_and_trials(study, url)
    if study is not None:
        lines = [*status_lines(found), *trial_lines(found, last)]
        typer.echo(json.dumps(found, indent=2) if as_json else "\n".join(lines))
        return
    if as_json:
        typer.echo(json.dumps({"storage": place, "studies": statuses}, indent=2))
    elif not statuses:
        say(f"no studies in {place}; begin one with: {begin} studies/quickstart.yaml")
    else:
        typer.echo("\n\n".join("\n".join(status_lines(each)) for each in statuses))
    if any("damaged" in each for each in statuses):
        raise typer.Exit(CheckError.exit_code)
