"""What other processes do in the tests of the lease."""

import fcntl
import json
import time
from itertools import count
from pathlib import Path

from cifar_tune.errors import CifarTuneError
from cifar_tune.storage.lease import acquire
from cifar_tune.storage.rdb import close, open_storage
from cifar_tune.storage.urls import storage_url

STUDIES = tuple(f"contested-{number}" for number in range(6))

CONTEND = "import sys; from tests.storage.contenders import contend; contend(*sys.argv[1:])"
"""The program of one of two processes that want the same leases; its arguments are those of `contend`."""

READY = "ready\n"
"""What it prints before it waits."""


def contend(folder: str, *urls: str) -> None:
    """Open each database and take the same leases, at the same time as another process; the winner keeps them.

    Prints a line for each: the number of the database, the study, and `won` or the message. Before each step it waits
    until the test unlocks the next file of the folder; these are called 0, 1 and so on.
    """
    steps = count()

    def wait() -> None:
        print(READY, end="", flush=True)
        with (Path(folder) / str(next(steps))).open() as file:
            fcntl.flock(file, fcntl.LOCK_SH)

    for number, url in enumerate(urls):
        wait()
        storage = open_storage(storage_url(url))
        for study in STUDIES:
            end = "won"
            try:
                acquire(storage.engine, study)
            except CifarTuneError as error:
                end = str(error)
            print(json.dumps([number, study, end]), flush=True)
            wait()
        close(storage)


HOLD = "import sys; from tests.storage.contenders import hold; hold(*sys.argv[1:])"
"""The program of a process that holds the lease of the study of a database; it takes both as arguments."""


def hold(url: str, study: str) -> None:
    """Take a lease, say so, and never give it back."""
    acquire(open_storage(storage_url(url)).engine, study)
    print("held", flush=True)
    time.sleep(600)
