"""Studies and exports that are older than `data.resize` squash their images, as they always did."""

import json
from dataclasses import replace
from pathlib import Path

import optuna
import pytest
from optuna.storages import RDBStorage

from cifar_tune.data.prepared import prepare
from cifar_tune.reports.best_config import best_yaml
from cifar_tune.storage import attributes
from cifar_tune.storage.records import load_record
from cifar_tune.storage.stored_studies import read_stored_spec
from cifar_tune.study.opening import about_defaults, open_study, stored_study, with_its_defaults
from cifar_tune.study_spec.difference import differences
from cifar_tune.study_spec.run_config import read_run_config
from cifar_tune.study_spec.specification import StudySpec
from tests.data.images import oblong, write_folder
from tests.reports.factory import MadeTrial, make_record

from .conftest import spec_of


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Images that are cropped where nobody says how."""
    write_folder(tmp_path / "images/train", {"ant": 8, "bee": 8})
    oblong(60, 40).save(tmp_path / "images/train/ant/000.png")
    return tmp_path / "images"


def spec_for(root: Path, **data: object) -> StudySpec:
    return spec_of({"data": {"name": "image_folder", "root": str(root), **data}})


def test_a_stored_study_goes_on_with_the_images_that_it_began_with(storage: RDBStorage, root: Path) -> None:
    squashed = spec_for(root, resize="squash")
    study = open_study(storage, squashed, prepare(squashed.data))
    older = squashed.stored()
    del older["data"]["resize"]
    study.set_user_attr(attributes.SPEC, older)
    given = spec_for(root)
    for _ in range(2):  # the second time the study holds what it means
        spec = with_its_defaults(storage, given)
        assert spec.data == squashed.data
        assert stored_study(storage, spec) is not None
        assert list(about_defaults(given, spec)) == ["this study goes on as it began, with data.resize: squash"]
        open_study(storage, spec, prepare(spec.data))
    assert load_record(storage, "test").spec.data.resize == "squash"


def test_a_new_study_lets_the_shapes_decide_and_its_export_says_how(storage: RDBStorage, root: Path) -> None:
    spec = spec_for(root)
    open_study(storage, spec, prepare(spec.data))
    assert with_its_defaults(storage, spec).data.resize is None
    stored = optuna.load_study(study_name="test", storage=storage).user_attrs
    assert read_stored_spec("test", json.loads(json.dumps(stored[attributes.SPEC]))) == spec
    assert stored[attributes.DATA]["resize"] == "crop"
    assert [str(each) for each in differences(spec, spec_for(root, resize="pad"))] == ["data.resize: added 'pad'"]


@pytest.mark.parametrize("name", ["digits", "cifar10"])
def test_studies_of_square_images_are_what_they_were(name: str) -> None:
    spec = spec_of({"data": {"name": name}})
    older = spec.stored()
    del older["data"]["resize"]
    assert read_stored_spec("test", older) == spec


def test_an_export_says_how_and_an_older_one_means_squash(tmp_path: Path, root: Path) -> None:
    spec = spec_of(
        {"data": {"name": "image_folder", "root": str(root)}, "search_space": {"lr": {"low": 0.1, "high": 1}}}
    )
    record = replace(make_record(spec, [MadeTrial({"lr": 0.1}, 0.5)]), data={"resize": "crop"})
    assert record.best is not None
    path = tmp_path / "best.yaml"
    text = best_yaml(record, record.best, path)
    path.write_text(text)
    assert read_run_config(path).data.resize == "crop"
    without = "".join(line for line in text.splitlines(keepends=True) if "resize" not in line)
    assert len(without) < len(text)
    path.write_text(without)
    assert read_run_config(path).data.resize == "squash"
    path.write_text(f"data: {{name: image_folder, root: '{root}'}}")
    assert read_run_config(path).data.resize is None
