"""The configuration that a model folder describes, and the plugin files that must run to build its network."""

from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from cifar_tune.errors import Problem, UserError
from cifar_tune.knobs.configuration import Configuration, complete
from cifar_tune.knobs.plugin import Plugin, PluginFile
from cifar_tune.knobs.vocabulary import BUILT_IN, Vocabulary, vocabulary_with
from cifar_tune.model_files.description import DESCRIPTION_FILE, ModelDescription
from cifar_tune.model_files.reading import read_plugin_copies
from cifar_tune.plugins.description import from_description
from cifar_tune.plugins.execute import has_run
from cifar_tune.plugins.load import load_plugins
from cifar_tune.study_spec.problems import Problems
from cifar_tune.study_spec.reader import read_train

_OF_NETWORK = ("model", "activation", "norm")
"""Knobs whose parts the network is built of."""


def read_configuration(folder: Path, description: ModelDescription, run_plugins: bool) -> Configuration:
    """Every knob of the training. Plugin files run only where parts of theirs are in the network.

    Args:
        folder: where they are.
        description: of the folder.
        run_plugins: whether plugin files may run.

    Raises:
        UserError: the configuration cannot be read, plugin files are not those that were used, or they would have to
            run.
    """
    source = str(folder / DESCRIPTION_FILE)
    plugins = [
        _from_description(copy.path, {"sha256": copy.sha256, **copy.described}, source) for copy in description.plugins
    ]
    config = _read(description, vocabulary_with(plugins), source)
    if not _needed(config, plugins):
        return config
    return read_trainable(folder, description, run_plugins)


def read_trainable(folder: Path, description: ModelDescription, run_plugins: bool) -> Configuration:
    """The same, ready to be trained: every plugin file runs, also those that only brought an optimizer.

    Args:
        folder: where they are.
        description: of the folder.
        run_plugins: whether plugin files may run.

    Raises:
        UserError: as `read_configuration`.
    """
    files = read_plugin_copies(folder, description)
    if not run_plugins and not all(has_run(file) for file in files):
        raise UserError(_would_run(folder, description, files))
    return _read(description, vocabulary_with(load_plugins(files)), str(folder / DESCRIPTION_FILE))


def _read(description: ModelDescription, vocabulary: Vocabulary, source: str) -> Configuration:
    problems = Problems(source)
    train = read_train(description.train, vocabulary, problems)
    problems.raise_if_any()
    return complete(train, vocabulary)


def _from_description(path: str, plain: dict[str, object], source: str) -> Plugin:
    try:
        return from_description(path, plain)
    except (ValidationError, KeyError, TypeError, AttributeError) as error:
        raise UserError(Problem("is damaged: no plugin can be described so", "plugins", path, source=source)) from error


def _needed(config: Configuration, plugins: Sequence[Plugin]) -> bool:
    """Whether a part of a plugin is in the network."""
    return any(
        owner in config and config[owner] not in BUILT_IN.parts(owner) and config[owner] in plugin.parts.get(owner, {})
        for owner in _OF_NETWORK
        for plugin in plugins
    )


def _would_run(folder: Path, description: ModelDescription, files: Sequence[PluginFile]) -> Problem:
    listed = tuple(
        f"  {folder / copy.file}: {len(file.source.splitlines()):,} lines, sha256 {copy.sha256}"
        + (f"; what runs is the installed module {file.module}" if file.module else "")
        for copy, file in zip(description.plugins, files, strict=True)
    )
    rule = (
        "it is built by plugin files. They are Python programs and would run with your rights. Read them "
        "first; if you trust them, say load_model(..., run_plugins=True), or --run-plugins on the command line:"
    )
    return Problem(rule, source=str(folder), more=listed)
