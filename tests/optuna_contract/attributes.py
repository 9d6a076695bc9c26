"""Under which keys Optuna and its dashboard keep what."""

import json
import threading
from io import BytesIO
from pathlib import Path
from urllib.request import urlopen
from wsgiref.simple_server import make_server

import optuna
from optuna.artifacts import FileSystemArtifactStore, upload_artifact
from optuna.samplers import QMCSampler
from optuna_dashboard import save_note, wsgi

from .modules import SPACE, asked, internals


def enqueued(_folder: Path) -> None:
    """`Study.enqueue_trial` keeps the parameters under the system attribute ENQUEUED."""
    study = optuna.create_study()
    study.enqueue_trial({"x": 0.25})
    assert study.trials[0].system_attrs == {internals().ENQUEUED: {"x": 0.25}}
    assert study.ask(SPACE).params == {"x": 0.25}


def rungs(_folder: Path) -> None:
    """Successive halving, asked about a trial, keeps its value under RUNG and 0, 1, 2, one for each rung."""
    pruner = optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=2)
    _, trial = asked(direction="maximize", pruner=pruner)
    for step, value in enumerate((0.1, 0.2, 0.3), start=1):
        trial.report(value, step)
        trial.should_prune()
    rung = internals().RUNG
    assert dict(internals().as_stored(trial).system_attrs) == {f"{rung}0": 0.1, f"{rung}1": 0.2}


def quasi_random_counters(_folder: Path) -> None:
    """A quasi-random sampler counts its points in one study attribute, whose name begins with QMC_COUNTER."""
    study = optuna.create_study(sampler=QMCSampler(seed=0, warn_independent_sampling=False))
    for _ in range(4):
        study.tell(study.ask(SPACE), 0.0)
    attrs = study._storage.get_study_system_attrs(study._study_id)
    counters = [value for key, value in attrs.items() if key.startswith(internals().QMC_COUNTER)]
    assert counters == [2]


def constraints(_folder: Path) -> None:
    """`Trial.set_constraint` keeps a value under CONSTRAINT and its name, and `FrozenTrial.constraints` reads it."""
    study, trial = asked()
    trial.set_constraint("size", 2.0)
    assert study.trials[0].system_attrs == {f"{internals().CONSTRAINT}size": 2.0}
    assert study.trials[0].constraints == {"size": 2.0}


def constraints_in_the_dashboard(_folder: Path) -> None:
    """optuna-dashboard shows the constraints that are stored under CONSTRAINTS_OF_OPTUNA_4."""
    study, trial = asked(optuna.storages.get_storage(None))
    internals().show_constraints(trial, [2.0, -1.0])
    assert list(study.trials[0].system_attrs) == [internals().CONSTRAINTS_OF_OPTUNA_4]
    study.tell(trial, 0.5)
    with make_server("127.0.0.1", 0, wsgi(study._storage)) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        with urlopen(f"http://127.0.0.1:{server.server_port}/api/studies/{study._study_id}?after=0") as answer:
            shown = json.load(answer)
        thread.join()
    assert [each["constraints"] for each in shown["trials"]] == [[2.0, -1.0]]


def notes_of_the_dashboard(_folder: Path) -> None:
    """optuna-dashboard keeps a note in pieces of NOTE_PIECE characters under NOTE_TEXT, and counts in NOTE_VERSION."""
    study = optuna.create_study()
    text = internals().NOTE_PIECE * "a" + "b"
    save_note(study, text)
    attrs = study._storage.get_study_system_attrs(study._study_id)
    stem = internals().NOTE_TEXT
    assert attrs == {internals().NOTE_VERSION: 1, f"{stem}0": text[:-1], f"{stem}1": "b"}


def artifacts(folder: Path) -> None:
    """`upload_artifact` describes a file in a system attribute of its trial, under ARTIFACT and the file's id."""
    _, trial = asked()
    store = FileSystemArtifactStore(folder)
    store.write("other", BytesIO(b"text"))
    found = upload_artifact(artifact_store=store, file_path=str(folder / "other"), study_or_trial=trial)
    ((key, value),) = internals().as_stored(trial).system_attrs.items()
    assert key == f"{internals().ARTIFACT}{found}"
    assert json.loads(value).keys() == {"artifact_id", "filename", "mimetype", "encoding"}
