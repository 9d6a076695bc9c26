"""Class weights as a value of a knob: a mapping from some of the classes to numbers, which is kept as JSON text.

Optuna and the database hold scalars alone, and names of classes are whatever somebody called a folder, so that no
simpler notation is safe.
"""

import json
import math
from collections.abc import Mapping, Sequence

from cifar_tune.errors import Problem, nearest_name

CLASS_WEIGHTS: Mapping[str, str] = {
    "none": "all images weigh the same",
    "balanced": "each class weighs the same as a whole: an image weighs 1 over the number of images of its class",
}
"""What may stand there instead of a mapping."""

CLASS_WEIGHTS_RULE = "must be none, balanced, or numbers > 0 for some of the classes, such as {cat: 2.0, dog: 0.5}"


def class_weights_text(raw: object) -> str | None:
    """The JSON text of a mapping from classes to finite numbers > 0, which may be such a text already; else None."""
    if isinstance(raw, str):
        try:
            raw = json.loads(raw)
        except ValueError:
            return None
    if not isinstance(raw, Mapping) or not raw:
        return None
    weights: dict[str, float] = {}
    for name, weight in raw.items():
        is_name = isinstance(name, str | int) and not isinstance(name, bool)  # a class called 3 needs no quotes
        is_number = isinstance(weight, int | float) and not isinstance(weight, bool)
        if not is_name or not is_number or not 0 < weight < math.inf:
            return None
        weights[str(name)] = float(weight)
    return json.dumps(weights, ensure_ascii=False, sort_keys=True)


def weights_by_class(text: str) -> dict[str, float]:
    """The numbers in such a text; of `none` and `balanced` there are none."""
    weights: dict[str, float] = {} if text in CLASS_WEIGHTS else json.loads(text)
    return weights


_MOST_LISTED = 20


def unknown_classes(text: str, classes: Sequence[str], key: str) -> list[Problem]:
    """A problem under `key` for each class that such a text names and the data do not have."""
    listed = ", ".join(classes[:_MOST_LISTED])
    more = f" and {len(classes) - _MOST_LISTED} more" if len(classes) > _MOST_LISTED else ""
    rule = f"there is no such class; the data have {listed}{more}"
    return [
        Problem(rule, key, name, nearest=nearest_name(name, classes))
        for name in weights_by_class(text)
        if name not in classes
    ]
