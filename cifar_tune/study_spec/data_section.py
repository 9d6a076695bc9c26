"""The section `data` of a study file: where the images are, and how they are split and resized."""

from typing import get_args

from pydantic import ValidationError

from cifar_tune.data.source_table import SOURCES
from cifar_tune.data.spec import DataSpec, Resize
from cifar_tune.knobs.vocabulary import Vocabulary
from cifar_tune.study_spec.problems import Path, Problems
from cifar_tune.study_spec.settings import as_mapping

_NAMES = {"name": tuple(SOURCES), "resize": get_args(Resize)}
"""What may stand in the fields of `data` that hold names."""

_TEST_SIZES = ("n_test", "num_test", "test_fraction", "test_ratio", "test_size", "test_split")
"""What others call a size of the test split. Here it cannot be chosen."""

_RULES = {
    "int_type": "must be a whole number",
    "bool_type": "must be true or false",
    "string_type": "must be text",
    "tuple_type": "must be a list of names",
    "string_too_short": "must not be empty",
    "greater_than_equal": "must be >= {ge}",
    "less_than_equal": "must be <= {le}",
}
"""Pydantic's errors in our words."""


def read_data(raw: object, vocabulary: Vocabulary, problems: Problems) -> DataSpec:
    """Read the `data` section."""
    values = as_mapping(raw, ("data",), "{name: cifar10, val_size: 5000}", problems)
    try:
        return DataSpec.model_validate({key: _whole_if_possible(value) for key, value in values.items()})
    except ValidationError as error:
        for item in error.errors():
            path: Path = ("data", *item["loc"])
            if item["type"] == "extra_forbidden" and item["loc"][0] in _TEST_SIZES:
                problems.unknown_keys.append(path)
                problems.add(path, "unknown key: the test images are those that come apart, or else a sixth of all")
            elif item["type"] == "extra_forbidden":
                problems.unknown_key(path, DataSpec.model_fields, in_train(vocabulary))
            elif item["type"] == "literal_error":
                problems.add_name(path, item["input"], _NAMES[str(item["loc"][0])])
            else:
                ours = _RULES.get(item["type"])
                rule = ours.format(**item.get("ctx", {})) if ours else item["msg"].removeprefix("Value error, ")
                problems.add(path, rule, item["input"])
        return DataSpec()


def in_train(vocabulary: Vocabulary) -> dict[str, str]:
    """Where each knob belongs, for those that were written into another section."""
    return {name: f"train.{name}" for name in vocabulary.knobs}


def _whole_if_possible(value: object) -> object:
    return int(value) if isinstance(value, float) and value.is_integer() else value  # 5e3, as for knobs
