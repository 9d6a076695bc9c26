"""What the modules `optuna_*` rely on, tried on the installed Optuna.

Each check has one sentence about Optuna as its docstring. Where it is true no more, the test fails with that sentence.
"""

import ast
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest

from tests.optuna_contract.attributes import (
    artifacts,
    constraints,
    constraints_in_the_dashboard,
    enqueued,
    notes_of_the_dashboard,
    quasi_random_counters,
    rungs,
)
from tests.optuna_contract.modules import counts, ended, internals, questions, rows, storage_module, studies, tables
from tests.optuna_contract.objects import (
    a_trial_as_stored,
    a_trial_from_its_id,
    hyperband,
    ids,
    importances,
    private_names,
    search_spaces,
    storage_of_a_study,
    studies_in_memory,
    what_waits,
)
from tests.optuna_contract.queries import (
    attributes_once,
    columns_of_tables,
    questions_about_all_studies,
    questions_about_ended_trials,
    questions_about_trials,
    studies_as_rows,
    trials_in_bulk,
    version_of_the_tables,
    what_is_gone,
    what_makes_no_sense,
    whole_trials,
)

pytestmark = pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")

FOLDER = Path(__file__).with_name("optuna_contract")
CHECKS: tuple[Callable[[Path], None], ...] = (
    private_names,
    ids,
    storage_of_a_study,
    a_trial_from_its_id,
    studies_as_rows,
    a_trial_as_stored,
    enqueued,
    rungs,
    quasi_random_counters,
    constraints,
    constraints_in_the_dashboard,
    notes_of_the_dashboard,
    artifacts,
    what_waits,
    search_spaces,
    hyperband,
    importances,
    studies_in_memory,
    columns_of_tables,
    questions_about_trials,
    questions_about_all_studies,
    questions_about_ended_trials,
    attributes_once,
    what_makes_no_sense,
    trials_in_bulk,
    what_is_gone,
    version_of_the_tables,
    whole_trials,
)


@pytest.mark.parametrize("check", CHECKS, ids=[check.__name__ for check in CHECKS])
def test_optuna_is_what_we_rely_on(check: Callable[[Path], None], tmp_path: Path) -> None:
    try:
        check(tmp_path)
    except Exception as error:  # noqa: BLE001 (whatever it is, the sentence says what changed)
        what = f"{type(error).__name__}: {error}".splitlines()[0]
        pytest.fail(
            f"Optuna {optuna.__version__} has changed what cifar_tune/optuna_*.py relies "
            f"on. This is not true any more: {check.__doc__} ({what})",
            pytrace=False,
        )


def test_every_check_is_run() -> None:
    written = {
        node.name
        for file in FOLDER.glob("*.py")
        for node in ast.parse(file.read_text()).body
        if isinstance(node, ast.FunctionDef) and ast.unparse(node.args) in ("folder: Path", "_folder: Path")
    }
    assert written - {"database"} == {check.__name__ for check in CHECKS}


@pytest.mark.parametrize("module", [internals, storage_module, tables, rows, questions, ended, counts, studies])
def test_everything_in_there_is_checked(module: Callable[[], Any]) -> None:
    source = ast.parse(Path(str(module().__file__)).read_text())
    public: set[str] = set()
    for node in source.body:
        match node:
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                assert "Relies on" in (ast.get_docstring(node) or ""), f"{name} does not say what it relies on"
                public.add(name)
            case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
                public.add(name)
    used = {
        node.attr if isinstance(node, ast.Attribute) else node.value
        for file in FOLDER.glob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Attribute | ast.Constant)
    }
    assert {name for name in public if not name.startswith("_")} - used == set()
