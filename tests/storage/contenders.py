"""What other processes do in the tests of the lease."""

import time
from collections.abc import Sequence
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier
from os import getpid

from sqlalchemy.engine import URL

from cifar_tune.errors import CifarTuneError
from cifar_tune.storage.lease import acquire
from cifar_tune.storage.rdb import close, open_storage
from cifar_tune.storage.urls import storage_url

STUDIES = tuple(f"contested-{number}" for number in range(6))
Try = tuple[int, str, int, str]
"""The database, the study, the process, and how it ended: `won`, or the message."""


def contend(urls: Sequence[URL], barrier: Barrier, tries: "Queue[Try]") -> None:
    """Open each database and take the same leases, at the same time as another process; the winner keeps them."""
    for number, url in enumerate(urls):
        barrier.wait()
        storage = open_storage(url)
        for study in STUDIES:
            try:
                acquire(storage.engine, study)
                tries.put((number, study, getpid(), "won"))
            except CifarTuneError as error:
                tries.put((number, study, getpid(), str(error)))
            barrier.wait()
        close(storage)


HOLD = "import sys; from tests.storage.contenders import hold; hold(*sys.argv[1:])"
"""The program of a process that holds the lease of the study of a database; it takes both as arguments."""


def hold(url: str, study: str) -> None:
    """Take a lease, say so, and never give it back."""
    acquire(open_storage(storage_url(url)).engine, study)
    print("held", flush=True)
    time.sleep(600)
