"""Refusals that repeat are counted in one event, so that they fill no table."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from cifar_tune.service import audit
from cifar_tune.service.refusals import UnknownStudyError

from .conftest import STUDY, DeskOf


def test_a_client_in_a_loop_fills_no_table(desk_of: DeskOf, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1_800_000_000.0
    monkeypatch.setattr("cifar_tune.service.audit.time.time", lambda: now)
    desk = desk_of("anna")
    for _ in range(5):
        for study in ("a", "b"):
            with pytest.raises(UnknownStudyError):
                desk.pause(study)
    desk_of("bert").submit(STUDY)
    with pytest.raises(UnknownStudyError):
        desk_of("bert").pause("a")
    found = [(event.id, event.actor, event.target, event.detail.get("times")) for event in desk.events()]
    assert found == [(1, "anna", "a", 5), (2, "anna", "b", 5), (3, "bert", "mine", None), (4, "bert", "a", None)]
    for number in range(2 * audit.MOST_REFUSALS):
        with pytest.raises(UnknownStudyError):
            desk.cancel(f"s{number}")
    assert len(desk.events()) == 2 + audit.MOST_REFUSALS
    assert desk.events()[-1].detail["others"] == audit.MOST_REFUSALS + 2
    now += 61
    with pytest.raises(UnknownStudyError):
        desk.pause("a")
    assert [event.id for event in desk.events()] == list(range(1, audit.MOST_REFUSALS + 4))


def test_refusals_at_the_same_instant_are_all_counted(desk_of: DeskOf) -> None:
    def pause(_: int) -> None:
        with pytest.raises(UnknownStudyError):
            desk_of("anna").pause("a")

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(pause, range(12)))
    [event] = desk_of("anna").events()
    assert event.detail["times"] == 12
