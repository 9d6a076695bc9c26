"""Each owner submits as much as the limits allow, also where many do so at the same instant."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from cifar_tune.errors import UserError
from cifar_tune.service.owners import Owner
from cifar_tune.service.refusals import QuotaError

from .conftest import STUDY, DeskOf


def test_quotas_are_kept(desk_of: DeskOf) -> None:
    desk_of("root", "admin").set_owner(Owner("*", queued=2))
    desk_of("root", "admin").set_owner(Owner("anna", trials=7))
    desk = desk_of("anna")
    desk.submit(STUDY)
    desk.submit(STUDY, settings=["name=second"])
    with pytest.raises(QuotaError, match="anna may have 2 waiting studies at most, and has 2"):
        desk.submit(STUDY, settings=["name=third"])
    desk.pause("second")
    with pytest.raises(
        QuotaError, match="may have 7 trials in studies that have not ended, and has 6, so the 3 of this"
    ):
        desk.submit(STUDY, settings=["name=third"])
    desk.submit(STUDY, settings=["name=third", "budget.trials=1"])
    desk_of("bert").submit(STUDY, settings=["name=of-bert", "budget.trials=100"])
    assert limits_of_all(desk_of) == {"*": (None, 2, None), "anna": (None, None, 7), "bert": (None, None, None)}
    assert desk_of("root", "admin").set_owner(Owner("anna", weight=2.0)) == Owner("anna", 2.0, None, 2, 7)
    assert desk_of("root", "admin").set_owner(Owner("anna", slots=1), resets=True) == Owner("anna", 1.0, 1, 2, None)


def test_limits_that_are_lowered_leave_what_is_there_and_refuse_more(desk_of: DeskOf) -> None:
    admin, desk = desk_of("root", "admin"), desk_of("anna")
    desk.submit(STUDY)
    desk.submit(STUDY, settings=["name=second"])
    admin.set_owner(Owner("anna", queued=1, trials=2))
    assert [each.state for each in desk.queue()] == ["queued", "queued"]
    desk.pause("second")
    with pytest.raises(QuotaError, match="anna may have 1 waiting studies at most, and has 1"):
        desk.resume("second")
    desk.cancel("mine")
    assert desk.resume("second").state == "queued"
    with pytest.raises(QuotaError, match="1 waiting studies"):
        desk.submit(STUDY, settings=["budget.trials=9"])
    admin.set_owner(Owner("anna", queued=5))
    with pytest.raises(QuotaError, match="and has 3, so the 9 of this study are too many"):
        desk.submit(STUDY, settings=["budget.trials=9"])


@pytest.mark.parametrize("weight", [0.0, -1.0, 1e-9, 1e9, float("inf"), float("nan")])
def test_weights_are_of_a_size_that_shares_can_have(desk_of: DeskOf, weight: float) -> None:
    with pytest.raises(UserError, match=r"weight = .*: must be between 0\.001 and 1000"):
        desk_of("root", "admin").set_owner(Owner("anna", weight=weight))


def test_a_quota_is_kept_by_those_who_submit_at_the_same_instant(desk_of: DeskOf) -> None:
    desk_of("root", "admin").set_owner(Owner("anna", queued=3))
    barrier = Barrier(6)

    def submit(number: int) -> bool:
        barrier.wait()
        try:
            desk_of("anna").submit(STUDY, settings=[f"name=s{number}"])
        except QuotaError:
            return False
        return True

    with ThreadPoolExecutor(6) as threads:
        assert sum(threads.map(submit, range(6))) == 3
    assert len(desk_of("anna").queue()) == 3


def limits_of_all(desk_of: DeskOf) -> dict[str, tuple[object, ...]]:
    """Weight, waiting studies and trials that are said of each owner."""
    return {each.name: (each.weight, each.queued, each.trials) for each in desk_of("anna").owners()}
