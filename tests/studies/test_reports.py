"""The tables of hand-tuned reports as studies: whole grids under equal conditions, which can be made smaller."""

import re
from pathlib import Path

import pytest
import torch

from cifar_tune.knobs.configuration import complete
from cifar_tune.models.build import build_model, count_parameters
from cifar_tune.study_spec.overrides import parse_override
from cifar_tune.study_spec.reader import read_study_file
from cifar_tune.study_spec.search_space import Choices

FOLDER = Path(__file__).parents[2] / "studies" / "reports"
TABLES = sorted(FOLDER.glob("*.yaml"))
SMALLER = ("epochs=3", "data.train_size=500", "seed=0", "name=smaller")
FOLDERS = ("data.name=image_folder", "data.root=data/cifar10-jpeg")

all_tables = pytest.mark.parametrize("file", TABLES, ids=lambda file: str(file.stem))


@all_tables
def test_every_level_is_measured_under_equal_conditions(file: Path) -> None:
    spec = read_study_file(file).spec
    assert (spec.sampler.name, spec.pruner.name) == ("grid", "none")
    assert spec.budget.trials == spec.space.size()
    seeds = spec.search_space["seed"]
    assert isinstance(seeds, Choices)
    assert len(seeds.choices) >= 3, "fewer give no confidence interval"
    assert spec.data.val_size == 5000


@all_tables
def test_its_comments_compare_by_what_it_searches(file: Path) -> None:
    spec = read_study_file(file).spec
    commands = re.findall(r"cifar-tune compare (\S+) --by (\S+)", file.read_text())
    assert {name for name, _ in commands} == {spec.name}
    assert {knob for _, knob in commands} <= set(spec.search_space) - {"seed"}
    assert spec.name == f"report-{file.stem.replace('_', '-')}"


@all_tables
def test_it_can_be_made_smaller(file: Path) -> None:
    spec = read_study_file(file, [parse_override(text) for text in (*SMALLER, *FOLDERS)]).spec
    whole = read_study_file(file).spec.space.size()
    assert whole is not None
    assert spec.space.size() == whole // 3
    assert (spec.largest_epochs, spec.data.train_size, spec.train["seed"]) == (3, 500, 0)


@all_tables
def test_its_models_can_be_built(file: Path) -> None:
    spec = read_study_file(file).spec
    shaping = {"model", "width", "norm", "norm_placement"}
    for outcome in spec.space.outcomes(shaping):
        with torch.device("meta"):
            model = build_model(complete({**spec.train, **outcome}), (3, 32, 32), 10)
        assert count_parameters(model) > 0


def test_the_readme_of_the_folder_lists_every_table() -> None:
    listed = re.findall(r"^\| `(\w+\.yaml)`", (FOLDER / "README.md").read_text(), re.MULTILINE)
    assert sorted(listed) == [file.name for file in TABLES]
