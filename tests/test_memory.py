"""The garbage collector is on again after the block, however that ended, and left off where it was."""

import gc

import pytest

from cifar_tune.memory import uncollected


def test_it_is_off_inside_and_on_after_an_error() -> None:
    def read() -> None:
        with uncollected():
            assert not gc.isenabled()
            raise KeyError

    with pytest.raises(KeyError):
        read()
    assert gc.isenabled()


def test_where_it_was_off_it_stays_off() -> None:
    gc.disable()
    try:
        with uncollected():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
