"""GPUs that are played: what executors say there. Without pytest and torch, since each executor imports it."""

import os
import time
from multiprocessing.connection import Connection
from pathlib import Path

from cifar_tune.executors.messages import Ended, Job, Prepared, Quit, Ready, Refused, Rehearsal, Rehearsed, Verdict
from cifar_tune.executors.starting import work_in_process

GB = 1 << 30


def play(room: int, connection: Connection, device: str, slot: int) -> None:
    """An executor of a GPU that trains 1000 images per second for each, and 2500 for all that train at a time.

    The later one has started, the longer it prepares, as real ones do that have to load and compile first.
    """
    training = Path(device)
    connection.send(Ready("cuda:0", {}, room_bytes=room))
    while not isinstance(order := connection.recv(), Quit):
        assert isinstance(order, Rehearsal)
        time.sleep(0.05 * slot)
        (training / f"{slot}").touch()  # all are there before the first of them is told to train
        connection.send(Prepared(4 * GB, room, 80 * GB, images=1.0))
        assert connection.recv() == Verdict(go_on=True)
        connection.send(Rehearsed(min(1000.0, 2500 / len(list(training.iterdir())))))


def fails(when: str, connection: Connection, _device: str, slot: int) -> None:
    """One of two fails: it dies, refuses to start, or meets a problem in one of the two parts."""
    is_bad = slot == int(when[-1])
    connection.send(Refused("no room for it") if is_bad and "refuses" in when else Ready("cuda:0", {}))
    while not isinstance(connection.recv(), Quit):
        if is_bad and "dies" in when:
            os._exit(3)
        if is_bad and "prepares" in when:
            connection.send(Prepared(problem="out of memory"))
            continue
        connection.send(Prepared(GB, 80 * GB, 80 * GB))
        connection.recv()
        connection.send(Rehearsed(problem="out of memory") if is_bad and "trains" in when else Rehearsed(100.0))


def prepares(room: int, connection: Connection, _device: str, _slot: int) -> None:
    """Says what memory it takes, and is then told to train nothing. It can have a trial afterwards."""
    connection.send(Ready("cuda:0", {}, room_bytes=room))
    assert isinstance(connection.recv(), Rehearsal)
    connection.send(Prepared(4 * GB, room, 80 * GB, images=1.0))
    assert connection.recv() == Verdict(go_on=False)
    while not isinstance(order := connection.recv(), Quit):
        assert isinstance(order, Job)
        connection.send(Ended(order.number, "completed"))


def must_not_rehearse(room: int, connection: Connection, _device: str, _slot: int) -> None:
    connection.send(Ready("cuda:0", {}, room_bytes=room))
    assert isinstance(connection.recv(), Quit)


def says_nothing(connection: Connection, _device: str, _slot: int) -> None:
    connection.send(Ready("cuda:0", {}))
    while not isinstance(connection.recv(), Quit):
        pass


def warms_on_the_cpu(connection: Connection, device: str, slot: int) -> None:
    """A real executor on the CPU, which makes that ready as others do with a GPU."""
    from cifar_tune.executors import warming

    warming.WARMED.append("cpu")
    work_in_process(connection, device, slot)


def writes_orders(connection: Connection, device: str, _slot: int) -> None:
    """Writes into the file `device` which orders come, and dies of the first job."""
    connection.send(Ready("cpu", {}))
    with Path(device).open("a") as file:
        while not isinstance(order := connection.recv(), Quit):
            print(type(order).__name__, file=file, flush=True)
            if isinstance(order, Job):
                os._exit(3)
