"""`docs/study-file.md`, from the registries that read study files: `python -m cifar_tune.cli.reference` prints it."""

from collections.abc import Iterable, Mapping, Sequence

from cifar_tune.cli.commands.knobs import choices_of, default_words, type_words
from cifar_tune.data.source_table import SOURCES
from cifar_tune.data.spec import DataSpec
from cifar_tune.knobs.knob import Knob
from cifar_tune.knobs.vocabulary import BUILT_IN
from cifar_tune.study_spec.metrics import Metrics
from cifar_tune.study_spec.pruners import PRUNERS, SPARE, PrunerChoice
from cifar_tune.study_spec.samplers import SAMPLERS, SamplerChoice

COMMAND = "python -m cifar_tune.cli.reference > docs/study-file.md"

SECTION_WORDS: Mapping[str, str] = {
    "name": "The study's name in the storage. The only key that is required.",
    "objective": "`{metric: val_accuracy}`, or a list of two or three: see [Metrics](#metrics). `direction` is the "
    "metric's own.",
    "constraints": "A list such as `[parameters <= 300000, val_accuracy >= 0.6]`, of [metrics](#metrics).",
    "metrics": "Further [metrics](#metrics) that are measured and listed in `trials.csv` and `epochs.csv`, such as "
    "`[val_macro_f1, val_top3_accuracy]`. They decide nothing, and may change at any time.",
    "budget": "`trials`: completed, pruned and failed ones together (50 by default). `timeout`: over all runs, such as "
    "`45m`, `1h30m` or `2d`; a plain number is seconds. `trial_timeout`: the same for one trial, which then ends as "
    "pruned.",
    "stop": "When to end before the budget is used up. `{when: noise, factor: 0.1}`: when the trials of the last hour "
    "gained less than a tenth of what trainings of one configuration differ by, from 30 completed trials on. "
    "`{after_trials_without_gain: 40}`: after 40 trials without a new best. Then no new trial begins, and running ones "
    "are trained to their end. With a larger `budget.trials` the study goes on, and the rule counts from zero.",
    "repeats": "Train each configuration several times, with the same seeds or on the same folds: `3`, `{seeds: 3}` "
    "or `{folds: 5}`. For grids and lists of configurations. Their means are ranked, exported and compared, with "
    "standard errors. `budget.trials` counts trainings. The seeds are `train.seed` and the numbers after it. A "
    "configuration that falls behind is not trained further; `{seeds: 3, stop_early: false}` trains all. See "
    "[Several trainings of each configuration](studies.md#several-trainings-of-each-configuration), and "
    "[statistics.md](statistics.md#repeats) for how much that saves.",
    "sampler": "`name` (tpe by default), `seed` (0), and its parameters: see [Samplers](#samplers). `auto` chooses one "
    "for the space, the budget and the pruner, and `check` says which one and why: see "
    "[studies.md](studies.md#which-sampler).",
    "pruner": "`name`, and its parameters: see [Pruners](#pruners). By default promotion from 20 trials on, median in "
    "smaller studies and with `deterministic`, and none with `repeats` or if no pruner fits the objectives.",
    "deterministic": "The number of trials in a batch. Sampler and pruner see only the batches before, so the study is "
    "the same with any number of workers.",
    "plugins": "Python files or installed packages with your own parts, such as `[my_parts.py, acme]`. Their code "
    "runs with your rights.",
    "data": "Which images, and how they are split: see [Data](#data).",
    "train": "Fixed [knobs](#knobs).",
    "search_space": "Searched [knobs](#knobs): `{low, high}` with `log: true`, `step` or `per`, or `{choices: [...]}`; "
    "`when: {optimizer: [sgd, rmsprop]}` for a knob that only some trials have. "
    "`prior: {value: 0.05, confidence: 0.7}` puts a share of the first draws of tpe near a value that you "
    "know to be good.",
    "start_from": "Configurations to run first: mappings of searched knobs, or paths of CONFIG files.",
    "transfer_from": "An earlier study, such as one with a smaller net. Its best configurations are run first. Its "
    "name, or `{study: NAME, storage: URL, configurations: 5}`. See [Configurations of an earlier "
    "study](studies.md#configurations-of-an-earlier-study).",
    "notify": "Addresses that are told when the study ends, fails or has a new best, such as "
    "`[https://example.org/hook, mailto://me:password@example.org]`. Only the submission keeps them, and they may "
    "change at any time: see [service.md](service.md#be-told).",
}
"""What each section of a study file says, in the order of the reference."""


def reference() -> str:
    """The whole page, in Markdown."""
    metrics = (
        (f"`{name}`", each.direction, each.meaning, f"none: {each.not_pruned_by}" if each.not_pruned_by else "all")
        for name, each in Metrics().items()
    )
    parts = [
        "# The study file",
        f"Made from the code by `{COMMAND}`; a test keeps it true. `cifar-tune check STUDY` prints every default of "
        "your study, and `cifar-tune knobs` prints the same list of knobs in a terminal.",
        "## Sections",
        _table(("section", "what it says"), ((f"`{name}`", words) for name, words in SECTION_WORDS.items())),
        "## Metrics",
        "For `objective`, `constraints` and `metrics`; all of them are measured on the validation split. The 5 in "
        "`val_top5_accuracy` stands for any number from 2 on. Those from `val_balanced_accuracy` on are computed only "
        "where a study names them; plugins can add [metrics of their own](plugins.md).",
        _table(("metric", "direction", "meaning", "pruners"), metrics),
        "## Samplers",
        "Parameters have Optuna's own names.",
        *(part for name, sampler in SAMPLERS.items() for part in _sampler(name, sampler)),
        "## Pruners",
        "Parameters have Optuna's own names. Steps are finished epochs, counted from 1. Every pruner also takes:",
        *_parameters((SPARE,)),
        *(part for name, pruner in PRUNERS.items() for part in _pruner(name, pruner)),
        "## Data",
        _table(("key", "default", "meaning"), _data()),
        "## Knobs",
        "Any knob may be fixed under `train` or searched under `search_space`. Some knobs belong to certain choices of "
        "another knob, which are listed. Fixed with another choice, such a knob is refused; searched, it needs a "
        "`when`.",
        *(part for knob in BUILT_IN.knobs.values() for part in _knob(knob)),
    ]
    return "\n\n".join(parts) + "\n"


def _sampler(name: str, sampler: SamplerChoice) -> Iterable[str]:
    yield f"### {name}"
    yield f"{_sentence(sampler.meaning)} {_limits(sampler)}".strip()
    yield from _parameters(sampler.parameters, dict.fromkeys(sampler.automatic, "automatic"))


def _pruner(name: str, pruner: PrunerChoice) -> Iterable[str]:
    required = ", ".join(f"`{each}`" for each in pruner.required)
    words = [_sentence(pruner.meaning), f"Needs {required}." if required else ""]
    yield f"### {name}"
    yield " ".join(filter(None, [*words, "Takes another pruner under `wrapped_pruner`." if pruner.wraps else ""]))
    yield from _parameters(pruner.parameters, dict.fromkeys(pruner.required, "none: must be given"))


def _data() -> Iterable[tuple[str, str, str]]:
    for name, field in DataSpec.model_fields.items():
        default = "" if field.default is None else f"`{_plain(field.default)}`"
        meaning = " ".join((field.description or "").split())
        if name == "name":
            meaning = f"{meaning} {'; '.join(f'`{each}`: {entry.meaning}' for each, entry in SOURCES.items())}."
        yield f"`{name}`", default, meaning


def _sentence(words: str) -> str:
    return f"{words[0].upper()}{words[1:]}."


def _knob(knob: Knob) -> Iterable[str]:
    taken = ", ".join(f"`{name}`" for name in BUILT_IN.takers(knob)) if knob.owner else ""
    yield f"### {knob.name}"
    yield (
        f"{_sentence(knob.meaning)} Type: {type_words(knob)}. Default: {default_words(knob, BUILT_IN)}."
        f"{f' Taken by `{knob.owner}`: {taken}.' if taken else ''}"
    )
    choices = choices_of(knob)
    if choices:
        yield _table(("choice", "meaning"), ((f"`{name}`", meaning) for name, meaning in choices.items()))


def _parameters(parameters: Sequence[Knob], instead: Mapping[str, str] = {}) -> Iterable[str]:
    """The table of parameters; `instead` has words for those without a fixed default."""
    if parameters:
        yield _table(
            ("parameter", "type", "default", "meaning"),
            (
                (f"`{each.name}`", type_words(each), instead.get(each.name, f"`{_plain(each.default)}`"), each.meaning)
                for each in parameters
            ),
        )


def _limits(sampler: SamplerChoice) -> str:
    remarks = [
        (not sampler.handles_ranges, "Every range needs a `step`."),
        (not sampler.handles_categories, "Choices are drawn at random."),
        (not sampler.handles_conditions, "Knobs that only some trials have are drawn at random."),
        (not sampler.takes_several_objectives, "One objective only."),
        (sampler.heeds_constraints, "Looks for trials that keep the constraints."),
        (sampler.learns_from_completed_only, "Learns only from completed trials."),
    ]
    return " ".join(words for holds, words in remarks if holds)


def _plain(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)


if __name__ == "__main__":
    print(reference(), end="")
