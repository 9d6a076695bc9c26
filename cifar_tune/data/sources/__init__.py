"""The sources of images. A new one is one module, one entry here, and one name in `DataSpec.name`."""

from collections.abc import Mapping
from importlib import import_module
from typing import cast

from cifar_tune.data.sources.part import Source

SOURCES: Mapping[str, str] = {
    "cifar10": "cifar_tune.data.sources.cifar10",
    "image_folder": "cifar_tune.data.sources.image_folder",
    "digits": "cifar_tune.data.sources.digits",
}


def source(name: str) -> Source:
    """The source of this name; its module is imported only now."""
    return cast(Source, import_module(SOURCES[name]))
