"""Importances are the same everywhere, and those of a long study are computed beside."""

import time
from dataclasses import replace
from threading import Event

import pytest
from optuna import delete_study
from starlette.testclient import TestClient

from cifar_tune.errors import CheckError
from cifar_tune.optuna_storage import BatchStorage
from cifar_tune.reports import kept_importances
from cifar_tune.reports.beside import Beside
from tests.reports.factory import MadeTrial, make_spec, store_study

from .asking import get
from .conftest import AppOf, ClientOf


def test_importances_so_far(viewer: TestClient) -> None:
    found = get(viewer, "/v1/studies/made/importances")
    assert abs(sum(found["shares"].values()) - 1) < 1e-9
    assert get(viewer, "/v1/studies/front/importances")["why_none"] or get(viewer, "/v1/studies/front/importances")


def test_the_dashboard_tells_the_same_importances_and_waits_for_those_of_a_long_study(
    app_of: AppOf, client_of: ClientOf, storage: BatchStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    store_study(replace(make_spec({}), name="made/finals"), [MadeTrial(value=0.5)] * 9, storage)
    made, finals = (storage.get_study_id_from_name(name) for name in ("made", "made/finals"))
    for few in (1000, 3):
        monkeypatch.setattr(kept_importances, "FEW", few)
        asked = client_of("viewer", app_of())
        [rows] = get(asked, f"/api/studies/{made}/param_importances")["param_importances"]
        told = get(asked, "/v1/studies/made/importances")
        assert {row["name"]: row["importance"] for row in rows} == told["shares"] != {}
        assert get(asked, f"/api/studies/{finals}/param_importances")["param_importances"] == [[]]
        assert "finalize has planned" in get(asked, "/v1/studies/made%2Ffinals/importances")["why_none"]
    delete_study(study_name="made/finals", storage=storage)


def test_what_takes_long_is_made_beside() -> None:
    beside: Beside[int] = Beside(1)
    may_end, has_ended = Event(), Event()

    def slow() -> int:
        may_end.wait()
        has_ended.set()
        return 1

    assert beside.get("key", "mark", slow) is None
    assert beside.get("key", "mark", slow) is None
    may_end.set()
    has_ended.wait()
    while (found := beside.get("key", "mark", slow)) is None:
        time.sleep(0.001)
    assert found == 1
    assert beside.get("key", "another mark", lambda: 2) == 1  # until the next one is there
    while (found := beside.get("key", "another mark", lambda: 3)) == 1:
        time.sleep(0.001)
    assert found == 2


def test_what_takes_long_is_made_again_where_it_has_failed() -> None:
    """Importances of a study that has ended would else fail until the server is started anew."""
    beside: Beside[int] = Beside(1)

    def away() -> int:
        raise CheckError("the database does not answer")

    with pytest.raises(CheckError):
        beside.get("key", "mark", away, waits=True)
    assert beside.get("key", "mark", lambda: 1, waits=True) == 1
    assert beside.get("key", "mark", away, waits=True) == 1
