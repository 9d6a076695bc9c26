"""Which paused trials go on."""

from cifar_tune.pruners.promotion import Ladder


def test_rungs_are_powers_of_the_factor_times_the_first() -> None:
    ladder = Ladder(2, 3, 2)
    assert [ladder.rung_at(epoch) for epoch in (1, 2, 3, 6, 18, 54, 55)] == [None, 0, None, 1, 2, 3, None]
    assert [ladder.epoch_of(rung) for rung in range(4)] == [2, 6, 18, 54]


def test_the_best_half_is_promoted_and_the_first_one_always() -> None:
    ladder = Ladder(1, 3, 2)
    ladder.reach(0, 0, 0.5)
    assert ladder.is_promoted(0, 0)
    for number, value in enumerate((0.4, 0.6, 0.3), start=1):
        ladder.reach(number, 0, value)
    assert [number for number in range(4) if ladder.is_promoted(number, 0)] == [0, 2]
    assert ladder.next({1: 0, 3: 0}) is None
    ladder.reach(4, 0, 0.1)
    ladder.reach(5, 0, 0.2)
    assert ladder.next({1: 0, 3: 0}) == 1


def test_equal_values_are_promoted_together() -> None:
    ladder = Ladder(1, 3, 2)
    for number in range(10):
        ladder.reach(number, 0, 0.1 if number < 8 else 0.2)
    assert all(ladder.is_promoted(number, 0) for number in range(10))
    for number in range(10, 16):
        ladder.reach(number, 0, 0.3)
    assert not any(ladder.is_promoted(number, 0) for number in range(8))


def test_higher_rungs_come_first_and_the_worst_of_the_lowest_are_hopeless() -> None:
    ladder = Ladder(1, 3, 2)
    for number, value in enumerate((0.9, 0.8, 0.7)):
        ladder.reach(number, 0, value)
    ladder.reach(2, 1, 0.75)
    paused = {0: 0, 1: 0, 2: 1}
    assert ladder.best(paused) == 2
    assert ladder.next(paused) == 2
    assert list(ladder.hopeless(paused, 2)) == [1]
    assert list(ladder.hopeless(paused, 0)) == [2, 0, 1]
    assert ladder.best({}) is None


def test_what_is_said_twice_counts_once() -> None:
    ladder = Ladder(1, 3, 2)
    for _ in range(3):
        ladder.reach(0, 0, 0.9)
    ladder.reach(1, 0, 0.5)
    assert not ladder.is_promoted(1, 0)
