"""What is submitted is queued as it was written, or refused with all its mistakes."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine
from sqlalchemy.engine import URL

from cifar_tune.errors import Problem, UserError
from cifar_tune.optuna_storage import BatchStorage
from cifar_tune.service.people import Actor
from cifar_tune.service.refusals import NameTakenError
from cifar_tune.service.storage_desk import StorageDesk
from cifar_tune.study_spec.reader import read_study
from cifar_tune.study_spec.yaml_reader import read_yaml
from tests.reports.factory import MadeTrial, make_record

from .conftest import STUDY, DeskOf


def test_what_is_submitted_is_queued_as_it_was_written(desk_of: DeskOf) -> None:
    made = desk_of("anna").submit(STUDY, "mine.yaml", priority=2, workers=1, notify=["https://example.org/hook"])
    assert (made.study, made.owner, made.file, made.text) == ("mine", "anna", "mine.yaml", STUDY)
    assert (made.state, made.wanted, made.priority, made.workers, made.trials) == ("queued", "run", 2, 1, 3)
    assert made.notify == ("https://example.org/hook",)
    assert desk_of("anna").queue() == desk_of("anna").submissions() == [replace(made, text="")]
    assert desk_of("anna").submission("mine") == made


def test_overrides_are_in_the_stored_text(desk_of: DeskOf) -> None:
    text = f"{STUDY}x-note: '1e3'\n"
    made = desk_of("anna").submit(text, settings=["lr=0.1", "budget.trials=7", "name=other"])
    assert (made.study, made.trials) == ("other", 7)
    assert '"x-note": "1e3"' in made.text
    again = desk_of("anna").submit(made.text, settings=["name=again"])
    assert again.text == made.text.replace("name: other", "name: again")


def test_all_mistakes_of_a_file_are_said_at_once(desk_of: DeskOf) -> None:
    with pytest.raises(UserError) as raised:
        desk_of("anna").submit("name: x\ntrain: {optimzer: sgd, epochs: 0}\n", "wrong.yaml")
    assert str(raised.value).splitlines() == [
        "wrong.yaml:2: train.optimzer: unknown key (did you mean 'optimizer'?)",
        "wrong.yaml:2: train.epochs = 0: must be a whole number >= 1 and <= 1000000",
    ]
    assert desk_of("anna").queue() == []


def test_a_rule_sees_the_file_before_anything_in_it_runs(engine: Engine, url: URL, tmp_path: Path) -> None:
    (tmp_path / "ran.py").write_text(f"from pathlib import Path\nPath({str(tmp_path / 'ran')!r}).touch()\n")

    def rule(raw: Mapping[str, Any]) -> list[Problem]:
        return [Problem("may not name plugins", "plugins", raw["plugins"])] if "plugins" in raw else []

    desk = StorageDesk(engine, url, Actor("anna", "editor"), rule)
    with pytest.raises(UserError, match="may not name plugins"):
        desk.submit(f"{STUDY}plugins: [{tmp_path / 'ran.py'}]\n")
    with pytest.raises(UserError, match="may not name plugins"):
        desk.submit(STUDY, settings=[f"plugins=[{tmp_path / 'ran.py'}]"])
    assert not (tmp_path / "ran").exists()
    assert desk.submit(STUDY).state == "queued"


def test_numbers_out_of_bounds_are_refused_together(desk_of: DeskOf) -> None:
    with pytest.raises(UserError) as raised:
        desk_of("anna").submit(STUDY, priority=1001, workers=0, notify=["x"] * 21)
    assert [problem.key for problem in raised.value.problems] == ["priority", "workers", "notify"]


def test_whoever_submits_a_study_whose_budget_is_used_up_is_told(desk_of: DeskOf, storage: BatchStorage) -> None:
    desk = desk_of("anna", "admin")
    spec = read_study(read_yaml(STUDY, "mine.yaml"), "mine.yaml").spec
    make_record(spec, [MadeTrial({"lr": 0.01}, 0.5)] * 3, storage)
    (note,) = desk.submit(STUDY).notes
    assert note == (
        "mine has 3 of 3 trials already, so it trains nothing; for more of them, submit it with a larger budget, "
        "such as --set budget.trials=6"
    )
    desk.cancel("mine")
    assert desk.submit(STUDY, settings=["budget.trials=4"]).notes == ()


def test_addresses_are_hidden_from_others(desk_of: DeskOf) -> None:
    desk_of("anna").submit(STUDY, notify=["https://example.org/secret"])
    assert desk_of("bert").submission("mine").notify == ("***",)
    assert desk_of("vera", "viewer").queue()[0].notify == ("***",)
    assert desk_of("carl", "admin").submission("mine").notify == ("https://example.org/secret",)


def test_a_study_with_other_settings_than_the_stored_one_is_refused(desk_of: DeskOf, storage: BatchStorage) -> None:
    desk = desk_of("anna")
    desk.submit(STUDY)
    desk.cancel("mine")
    make_record(read_study(read_yaml(STUDY, "mine.yaml"), "mine.yaml").spec, [], storage)
    with pytest.raises(NameTakenError, match="belongs to anna"):
        desk_of("bert", "admin").submit(STUDY, settings=["data.val_size=5"])
    with pytest.raises(UserError) as raised:
        desk.submit(STUDY, settings=["search_space.lr.high=0.5"])
    assert str(raised.value).splitlines() == [
        "the storage holds a study 'mine' with other settings (stored -> given):",
        "  search_space.lr.high: 0.1 -> 0.5",
        "Nothing was queued. Give this one another name (`name:` in the file, or --set name=...), or remove the stored "
        "one with: cifar-tune delete mine",
    ]
    assert desk.submit(STUDY, settings=["budget.trials=9"]).trials == 9
