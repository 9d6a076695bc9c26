"""What other programs call our names."""

from collections import Counter

import pytest

from cifar_tune.data.source_table import SOURCES
from cifar_tune.data.spec import DataSpec
from cifar_tune.errors import nearest_name
from cifar_tune.knobs.models import MODELS
from cifar_tune.knobs.table import KNOBS
from cifar_tune.study_spec.metrics import Metrics
from cifar_tune.study_spec.pruners import PRUNERS
from cifar_tune.study_spec.reader import SECTIONS
from cifar_tune.study_spec.samplers import SAMPLERS
from cifar_tune.study_spec.search_space import DIMENSION_KEYS
from cifar_tune.synonyms import SYNONYMS, same_thing

VOCABULARIES = {
    "knobs": tuple(KNOBS),
    **{knob.name: tuple(knob.names) for knob in KNOBS.values() if knob.names},
    "sections": SECTIONS,
    "objective": ("metric", "direction"),
    "directions": ("maximize", "minimize"),
    "budget": ("trials", "timeout", "trial_timeout"),
    "data": tuple(DataSpec.model_fields),
    "sources": tuple(SOURCES),
    "dimension": DIMENSION_KEYS,
    "metrics": tuple(Metrics()),
    "samplers": tuple(SAMPLERS),
    "pruners": tuple(PRUNERS),
    **{
        f"parameters of {name}": tuple(parameter.name for parameter in choice.parameters)
        for name, choice in PRUNERS.items()
    },
}
"""All names that a study file can hold, by the place where they stand beside each other."""


def test_every_entry_of_the_table_is_a_name_of_ours() -> None:
    known = {name for names in VOCABULARIES.values() for name in names}
    assert SYNONYMS.keys() <= known


@pytest.mark.parametrize("place", VOCABULARIES)
def test_a_synonym_leads_to_one_name_in_each_place(place: str) -> None:
    names = VOCABULARIES[place]
    here = {name: others for name, others in SYNONYMS.items() if name in names}
    count = Counter(other for others in here.values() for other in others)
    assert [other for other, times in count.items() if times > 1] == []
    for name, others in here.items():
        for other in set(others) - {"none"}:  # a name of ours where something can be left out
            assert other not in names, f"{other} is a name of ours, so {name} is never suggested"
            assert same_thing(other, names) == name
            assert nearest_name(other, names) == name


@pytest.mark.parametrize("written", ["batch-size", "Batch_Size", "batchSize", "BATCHSIZE", "batch size", "batch.size"])
def test_how_a_name_is_written_makes_no_difference(written: str) -> None:
    assert same_thing(written, KNOBS) == "batch_size"


def test_what_means_nothing_is_no_synonym() -> None:
    assert same_thing("qqqq", KNOBS) is None
    assert same_thing("", KNOBS) is None
    assert same_thing("learning_rate", ["epochs"]) is None


@pytest.mark.parametrize(
    ("wrong", "meant"),
    [
        ("resnett", "resnet18"),
        ("resnet", "resnet18"),
        ("vgg", "vgg11"),
        ("resnett50", "resnet50"),
    ],
)
def test_of_names_that_are_equally_near_the_first_one_is_meant(wrong: str, meant: str) -> None:
    assert nearest_name(wrong, MODELS) == meant
