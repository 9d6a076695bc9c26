"""How many slots were busy is written, kept for a day, and shown as a line."""

import random

from cifar_tune.optuna_storage import BatchStorage
from cifar_tune.service.usage import BusySlots, busy_slots
from cifar_tune.web.busy_slots import steps_of


def test_many_changes_make_a_line_of_few_steps() -> None:
    draw = random.Random(0)  # noqa: S311
    changes = [(at, draw.randrange(9)) for at in sorted(draw.uniform(0, 20_000) for _ in range(2000))]
    steps, most = steps_of(changes, 0.0, 21_600.0)
    assert len(steps) <= 340
    assert most == 8
    assert [at for at, _ in steps] == sorted(at for at, _ in steps)
    assert steps_of([], 0.0, 1.0) == ([], 0)
    assert steps_of([(-5.0, 1), (3.0, 2), (3.5, 1)], 0.0, 340.0) == ([(0.0, 1), (3.0, 2), (4.0, 1)], 2)
    assert steps_of([(7.0, 2), (9.0, 0)], 0.0, 340.0) == ([(7.0, 2), (10.0, 0)], 2)


def test_what_is_written_of_busy_slots_is_kept_for_a_day(storage: BatchStorage) -> None:
    written = BusySlots(storage.engine)
    for at, busy in ((0.0, 1), (10.0, 2), (20.0, 2), (30.0, 1), (90_000.0, 0), (90_020.0, 3)):
        written.write(busy, at)
    assert busy_slots(storage.engine, 0.0) == [(30.0, 1), (90_000.0, 0), (90_020.0, 3)]
    assert busy_slots(storage.engine, 80_000.0) == [(30.0, 1), (90_000.0, 0), (90_020.0, 3)]
    assert busy_slots(storage.engine, 90_010.0) == [(90_000.0, 0), (90_020.0, 3)]
    BusySlots(storage.engine).write(1, 89_000.0)
    assert busy_slots(storage.engine, 0.0) == [(30.0, 1), (89_000.0, 1)], "the clock was put back"


def test_slots_that_a_killed_server_has_left_as_busy_are_busy_until_it_was_heard_of_last(storage: BatchStorage) -> None:
    begin, killed = 1_000_000.0, BusySlots(storage.engine)
    for seconds in range(0, 3600, 10):
        killed.write(4, begin + seconds)
    shown = [(begin, 4), (begin + 3570, 4)]
    assert busy_slots(storage.engine, begin) == shown  # and no row for each look
    BusySlots(storage.engine).write(1, begin + 7200)  # one run went on without a server
    assert busy_slots(storage.engine, begin) == [*shown, (begin + 3600, 1), (begin + 7200, 1)]
    BusySlots(storage.engine).write(4, begin + 9000)
    assert busy_slots(storage.engine, begin + 8000) == [(begin + 7200, 1), (begin + 9000, 4)]
