"""The sources of images. A new one is one entry in `cifar_tune.data.source_table`, and its module here."""

from importlib import import_module
from typing import cast

from cifar_tune.data.source_table import SOURCES
from cifar_tune.data.sources.part import Source


def source(name: str) -> Source:
    """The source of this name; its module is imported only now."""
    module, _, attribute = SOURCES[name].target.partition(":")
    found = import_module(module)
    return cast(Source, getattr(found, attribute) if attribute else found)
