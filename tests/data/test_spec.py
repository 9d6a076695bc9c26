from typing import Any

import pytest
from pydantic import ValidationError

from cifar_tune.data.spec import DataSpec


def test_defaults() -> None:
    spec = DataSpec()
    assert spec.model_dump() == {
        "name": "cifar10",
        "root": None,
        "ignore": None,
        "path_column": None,
        "label_column": None,
        "split_column": None,
        "image_size": 32,
        "resize": None,
        "val_size": None,
        "folds": None,
        "fold": None,
        "train_size": None,
        "split_seed": 0,
        "download": True,
    }


@pytest.mark.parametrize(
    ("fields", "key", "message"),
    [
        ({"name": "image_folder"}, "root", "image_folder needs the folder"),
        ({"name": "table"}, "root", "table needs the CSV or Parquet file"),
        ({"name": "arrays"}, "root", "arrays needs the .npz file"),
        ({"name": "digits", "label_column": "y"}, "label_column", "only table takes it"),
        ({"name": "mnist", "resize": "crop"}, "resize", "leave resize out"),
        ({"name": "digits", "root": "data"}, "root", "leave root out"),
        ({"name": "cifar10", "ignore": ["test"]}, "ignore", "only image_folder"),
        ({"name": "digits", "ignore": ["test"]}, "ignore", "only image_folder"),
        ({"name": "cifar10", "image_size": 64}, "image_size", "32 pixels"),
        ({"name": "digits", "image_size": 7}, "image_size", "greater than or equal to 8"),
        ({"name": "digits", "image_size": 257}, "image_size", "less than or equal to 256"),
        ({"name": "digits", "resize": "crop"}, "resize", "leave resize out"),
        ({"name": "cifar10", "resize": "pad"}, "resize", "leave resize out"),
        ({"name": "image_folder", "root": "x", "resize": "cut"}, "resize", "'squash', 'crop' or 'pad'"),
        ({"val_size": 0}, "val_size", "greater than or equal to 1"),
        ({"val_size": 0.1}, "val_size", "valid integer"),
        ({"val_size": "5000"}, "val_size", "valid integer"),
        ({"train_size": True}, "train_size", "valid integer"),
        ({"split_seed": -1}, "split_seed", "greater than or equal to 0"),
        ({"download": "yes"}, "download", "valid boolean"),
        ({"name": "cifar1000"}, "name", "'cifar10', 'image_folder', 'digits'"),
        ({"vale_size": 5}, "vale_size", "not permitted"),
    ],
)
def test_a_broken_rule_names_the_key_that_has_to_change(fields: dict[str, Any], key: str, message: str) -> None:
    with pytest.raises(ValidationError) as raised:
        DataSpec.model_validate(fields)
    [error] = raised.value.errors()
    assert error["loc"] == (key,)
    assert message in error["msg"]


def test_all_broken_rules_are_reported_at_once() -> None:
    with pytest.raises(ValidationError) as raised:
        DataSpec.model_validate({"image_size": 64, "split_seed": -1, "val_size": -1})
    assert {error["loc"][0] for error in raised.value.errors()} == {"image_size", "split_seed", "val_size"}


@pytest.mark.parametrize(
    ("given", "read"), [(["test", "val"], ("test", "val")), ("test", ("test",)), ([], None), (None, None)]
)
def test_what_is_ignored_may_be_one_name_or_a_list(given: object, read: tuple[str, ...] | None) -> None:
    spec = DataSpec.model_validate({"name": "image_folder", "root": "pictures", "ignore": given})
    assert spec.ignore == read
    assert DataSpec.model_validate(spec.model_dump(mode="json")) == spec


def test_every_field_is_described() -> None:
    assert all(field.description for field in DataSpec.model_fields.values())


def test_it_survives_json() -> None:
    spec = DataSpec(name="image_folder", root="pictures", val_size=100)
    assert DataSpec.model_validate_json(spec.model_dump_json()) == spec
