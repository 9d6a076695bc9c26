"""The garbage collector is on again after reading, however that ended, and left off where it was."""

import gc

import pytest

from cifar_tune.storage.records import bulk_reading


def test_it_is_off_inside_and_on_after_an_error() -> None:
    def read() -> None:
        with bulk_reading():
            assert not gc.isenabled()
            raise KeyError

    with pytest.raises(KeyError):
        read()
    assert gc.isenabled()


def test_where_it_was_off_it_stays_off() -> None:
    gc.disable()
    try:
        with bulk_reading():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
