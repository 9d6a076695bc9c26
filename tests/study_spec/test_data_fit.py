"""What a study asks of its images."""

import pytest

from cifar_tune.errors import UserError
from cifar_tune.study_spec.data_fit import require_fit

from .reading import read

CLASSES = ("airplane", "cat", "dog")


def test_class_weights_name_classes_of_the_data() -> None:
    text = "name: s\nsearch_space: {class_weights: {choices: [none, balanced, {cat: 2.0}, {dgo: 2, cat: 1}]}}\n"
    spec = read(text).spec
    with pytest.raises(UserError) as raised:
        require_fit(spec, CLASSES)
    expected = (
        "search_space.class_weights.choices = 'dgo': there is no such class; the data have airplane, cat, dog "
        "(did you mean 'dog'?)"
    )
    assert str(raised.value) == expected
    require_fit(spec, (*CLASSES, "dgo"))
    with pytest.raises(UserError, match=r"train.class_weights = 'tree': there is no such class; .* c20 and 5 more"):
        require_fit(read("name: s\ntrain: {class_weights: {tree: 2}}\n").spec, [f"c{i}" for i in range(1, 26)])
