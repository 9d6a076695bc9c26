"""`cifar-tune check`."""

from itertools import chain
from typing import Annotated

import typer

from cifar_tune.cli import options
from cifar_tune.errors import all_at_once
from cifar_tune.streams import is_read, say


def check(
    study: options.Study,
    storage: options.Storage = None,
    devices: Annotated[str, typer.Option(help="auto, cpu, or a list such as cuda:0,cuda:1.")] = "auto",
    settings: options.Set = None,
) -> None:
    """Check a study without training it: file, data, device, every model's size and speed, and the hours it takes."""
    from cifar_tune.cli.find_study import find_spec
    from cifar_tune.cli.spec_lines import spec_lines
    from cifar_tune.plugins.execute import plugin_errors_told
    from cifar_tune.storage.urls import storage_url
    from cifar_tune.study.plain_lines import PlainLines

    url = storage_url(storage)
    read = find_spec(study, url, settings)
    transfer = None
    if read.spec.transfer_from is not None:
        from cifar_tune.study.transfer import look_up_transfer

        with read.problems.placing():
            transfer = look_up_transfer(url, read.spec)
    # only now: it takes torch, which a wrong file need not wait for
    from cifar_tune.data.prepared import prepare
    from cifar_tune.study.checking import auto_workers_lines, probe_lines
    from cifar_tune.study_spec.data_fit import require_fit
    from cifar_tune.training.device import resolve_device

    decoding = PlainLines(read.spec).decoding
    names = [name.strip() for name in devices.split(",")]
    with read.problems.placing(), all_at_once() as stage:
        for name in names:
            with stage:
                resolve_device(name)
        with stage:
            data = prepare(read.spec.data, decoding)
            require_fit(read.spec, data.classes, data.val_counts)
    for line in spec_lines(read.spec):  # after the data: their errors would be lost behind so many lines
        say(line)
    for line in () if transfer is None else transfer.lines(read.spec):
        say(f"# {line}")
    for note in (*read.notes, *(() if transfer is None else transfer.notes)):
        say(f"note: {note}")
    with read.problems.placing(), plugin_errors_told(read.spec.plugins):
        workers = list(auto_workers_lines(read.spec, names))  # before this process takes room on a GPU
        for line in chain(probe_lines(read.spec, data, names), workers):
            say(line)
            if not is_read():
                return
    say(f"{read.spec.name}: everything is in order")
