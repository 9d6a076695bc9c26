import math

import pytest

from cifar_tune.study_spec.metrics import METRICS
from cifar_tune.study_spec.settings import Budget, Objective, parse_duration

from .reading import only_problem, read, refused


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("45m", 2700),
        ("8h", 28800),
        ("1h30m", 5400),
        ("2d", 172800),
        ("1d2h3m4s", 93784),
        ("1.5h", 5400),
        (" 1 h 30 m ", 5400),
        ("3600", 3600),
        (3600, 3600),
        (0.5, 0.5),
        (10**29, 1e29),
    ],
)
def test_durations(text: object, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "h",
        "1",
        "1h30",
        "30m1h",
        "1x",
        "-1h",
        "0",
        "0s",
        "0h0m",
        "1H",
        "1:30",
        "1e3s",
        "٣h",
        "1h\n",
        "soon",
        0,
        -1,
        math.inf,
        math.nan,
        True,
        None,
        [],
        {},
        "9" * 400 + "h",
        "inf",
    ],
)
def test_what_is_no_duration(text: object) -> None:
    if text == "1":
        assert parse_duration(text) == 1
    else:
        assert parse_duration(text) is None


@pytest.mark.parametrize(
    ("given", "budget"),
    [
        ("{}", Budget(50, None)),
        ("{trials: 1}", Budget(1, None)),
        ("{trials: 1e2}", Budget(100, None)),
        ("{timeout: 90}", Budget(50, 90)),
        ("{timeout: }", Budget(50, None)),
        ("{timeout: '90'}", Budget(50, 90)),
        ("{trials: 7, timeout: 2h}", Budget(7, 7200)),
        ("{trial_timeout: 30m}", Budget(50, None, 1800)),
    ],
)
def test_budgets(given: str, budget: Budget) -> None:
    found = read(f"budget: {given}").spec.budget
    assert found == budget
    assert type(found.trials) is int


@pytest.mark.parametrize("given", ["0", "-1", "1.5", "true", "[5]", "", ".inf", ".nan", "1e400", "all"])
def test_trials_are_a_whole_number_of_at_least_one(given: str) -> None:
    assert only_problem(f"budget: {{trials: {given}}}").endswith("must be a whole number >= 1")


def test_a_number_in_quotes_is_text() -> None:
    assert only_problem("budget: {trials: '5'}").endswith("must be a whole number >= 1; remove the quotes")
    assert only_problem("train: {lr: '1e-4'}").endswith("must be a number > 0; remove the quotes")
    assert only_problem("train: {lr: fast}").endswith("must be a number > 0")


@pytest.mark.parametrize("given", ["0", "-1", "true", "[1h]", "{h: 1}", "never", ".inf", ".nan", "12:30"])
def test_a_timeout_is_a_duration(given: str) -> None:
    for key in ("timeout", "trial_timeout"):
        assert only_problem(f"budget: {{{key}: {given}}}").endswith(
            "must be a duration > 0 such as 45m, 8h, 1h30m or 2d"
        )


@pytest.mark.parametrize("metric", METRICS)
def test_a_metric_has_its_direction(metric: str) -> None:
    direction = METRICS[metric].direction
    assert read(f"objective: {{metric: {metric}}}").spec.objective == Objective(metric, direction)
    assert read(f"objective: {{metric: {metric}, direction: {direction}}}").spec.objective.direction == direction
    other = "minimize" if direction == "maximize" else "maximize"
    assert only_problem(f"objective: {{metric: {metric}, direction: {other}}}") == (
        f"study.yaml:2: objective.direction = {other!r}: {metric} is there to {direction}"
    )


def test_one_objective_may_stand_in_a_list() -> None:
    assert read("objective: [{metric: val_loss}]").spec.objective == Objective("val_loss", "minimize")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("[]", "objective: must hold 1 to 3 objectives"),
        ("[{}, {}]", "objective[1]: val_accuracy is an objective already; each may stand here once"),
        ("[5]", "objective[0] = 5: must be a mapping such as"),
        ("[[]]", "objective[0] = []: must be a mapping such as"),
        ("{metric: }", "objective.metric: must be best_val_accuracy"),
        ("{metric: 5}", "objective.metric = 5: must be best_val_accuracy"),
        ("{metric: [val_loss]}", "objective.metric = ['val_loss']: must be best_val_accuracy"),
        ("{metric: vall_loss}", "(did you mean 'val_loss'?)"),
        ("{direction: max}", "objective.direction = 'max': must be maximize or minimize (did you mean 'maximize'?)"),
        ("{direction: }", "objective.direction: must be maximize or minimize"),
        ("{direction: [maximize]}", "objective.direction = ['maximize']: must be maximize or minimize"),
    ],
)
def test_refused_objectives(given: str, message: str) -> None:
    assert message in only_problem(f"objective: {given}")


@pytest.mark.parametrize("given", ["-1", "4294967296", "1.5", "true", "x", "[1]", "", ".nan"])
def test_a_seed_of_the_sampler_is_what_numpy_takes(given: str) -> None:
    message = only_problem(f"sampler: {{seed: {given}}}")
    assert message.endswith("must be a whole number >= 0 and <= 4294967295")


@pytest.mark.parametrize(
    ("section", "given", "message"),
    [
        (
            "sampler",
            "{name: tpa}",
            "sampler.name = 'tpa': must be auto, cmaes, gp, grid, nsgaii, nsgaiii, qmc, random or tpe "
            "(did you mean 'tpe'?)",
        ),
        ("sampler", "{name: }", "sampler.name: must be auto"),
        ("sampler", "{name: [tpe]}", "sampler.name = ['tpe']: must be auto"),
        ("sampler", "{name: TPE}", "(did you mean 'tpe'?)"),
        (
            "sampler",
            "{name: random, n_startup_trials: 5}",
            "sampler.n_startup_trials: unknown key; known here: name, seed",
        ),
        ("sampler", "{n_startup_trials: -1}", "must be a whole number >= 0"),
        ("sampler", "{n_startup_trials: 1e25}", "must be a whole number >= 0 and <= 1000000"),
        ("sampler", "{multivariate: 1}", "sampler.multivariate = 1: must be true or false"),
        ("sampler", "{n_ei_candidates: 0}", "must be a whole number >= 1"),
        (
            "sampler",
            "{group: true, multivariate: false}",
            "sampler.group: Optuna does not allow group: true and multivariate: false together",
        ),
        (
            "sampler",
            "{name: cmaes, lr_adapt: true, with_margin: true}",
            "with_margin: true and lr_adapt: true together",
        ),
        (
            "sampler",
            "{name: cmaes, sigma0: 1}",
            "sampler.sigma0: unknown key; known here: name, seed, n_startup_trials",
        ),
        ("sampler", "{name: cmaes, popsize: 1}", "must be a whole number >= 2"),
        ("sampler", "{name: nsgaii, population_size: 1}", "must be a whole number >= 2"),
        ("sampler", "{name: nsgaii, crossover_prob: 1.1}", "must be a number >= 0 and <= 1"),
        ("sampler", "{name: qmc, qmc_type: sobl}", "must be halton or sobol (did you mean 'sobol'?)"),
        ("pruner", "{name: medain}", "(did you mean 'median'?)"),
        (
            "pruner",
            "{name: }",
            "pruner.name: must be asha, hyperband, median, none, patient, percentile, promotion or threshold",
        ),
        ("pruner", "{n_warmup_steps: -1}", "must be a whole number >= 0"),
        ("pruner", "{interval_steps: 0}", "must be a whole number >= 1"),
        ("pruner", "{n_warmup_epochs: 1}", "(did you mean 'n_warmup_steps'?)"),
        ("pruner", "{name: percentile}", "pruner: pruner percentile needs percentile"),
        ("pruner", "{name: percentile, percentile: 101}", "must be a number >= 0 and <= 100"),
        ("pruner", "{name: percentile, percentile: true}", "must be a number >= 0 and <= 100"),
        ("pruner", "{name: threshold}", "pruner: pruner threshold needs lower, upper or both"),
        (
            "pruner",
            "{name: threshold, lower: 0.5, upper: 0.1}",
            "pruner.lower = 0.5: must be at most upper, which is 0.1",
        ),
        ("pruner", "{name: threshold, lower: .nan}", "pruner.lower = nan: must be a finite number"),
        ("pruner", "{name: asha, reduction_factor: 1}", "must be a whole number >= 2"),
        ("pruner", "{name: asha, min_early_stopping_rate: 1e20}", "must be a whole number >= 0 and <= 20"),
        (
            "pruner",
            "{name: hyperband, max_resource: 9}",
            "pruner.max_resource: unknown key (did you mean 'min_resource'?)",
        ),
        (
            "pruner",
            "{name: hyperband, min_resource: auto}",
            "pruner.min_resource = 'auto': must be a whole number >= 1",
        ),
        (
            "pruner",
            "{name: asha, min_resource: 16}",
            "pruner.min_resource = 16: must be at most the number of epochs that a trial has, 15",
        ),
        ("pruner", "{name: patient}", "pruner: pruner patient needs patience"),
        ("pruner", "{name: patient, patience: -1}", "must be a whole number >= 0"),
        ("pruner", "{name: patient, patience: 1, min_delta: -1}", "must be a number >= 0"),
        ("pruner", "{name: median, wrapped_pruner: {name: median}}", "pruner.wrapped_pruner: unknown key"),
        (
            "pruner",
            "{name: patient, patience: 1, wrapped_pruner: median}",
            "pruner.wrapped_pruner = 'median': must be a mapping",
        ),
        (
            "pruner",
            "{name: patient, patience: 1, wrapped_pruner: {name: patient, patience: 1}}",
            "pruner.wrapped_pruner.name = 'patient': must be a pruner that does not wrap another",
        ),
        (
            "pruner",
            "{name: patient, patience: 1, wrapped_pruner: {name: medin}}",
            "pruner.wrapped_pruner.name = 'medin': must be",
        ),
        (
            "pruner",
            "{name: patient, patience: 1, wrapped_pruner: {n_min_trials: 0}}",
            "pruner.wrapped_pruner.n_min_trials = 0",
        ),
        (
            "pruner",
            "{name: patient, patience: 1, wrapped_pruner: {name: asha, min_resource: 99}}",
            "pruner.wrapped_pruner.min_resource = 99: must be at most the number of epochs that a trial has, 15",
        ),
        ("pruner", "{name: none, patience: 1}", "pruner.patience: unknown key; known here: name"),
    ],
)
def test_refused_samplers_and_pruners(section: str, given: str, message: str) -> None:
    assert message in only_problem(f"{section}: {given}")


def test_pruners_that_wrap_pruners_that_wrap_pruners_end() -> None:
    given = "{name: patient, patience: 1, wrapped_pruner: " * 10 + "{}" + "}" * 10
    assert len(refused(f"pruner: {given}")) == 9


@pytest.mark.parametrize(
    ("text", "note"),
    [
        (
            "sampler: {name: cmaes}\nsearch_space: {lr: {low: 0.1, high: 1}, optimizer: {choices: [sgd, adam]}}",
            "sampler cmaes searches ranges that every trial has: optimizer will be drawn at random",
        ),
        (
            "sampler: {name: gp}\nsearch_space:\n  optimizer: {choices: [sgd, adam]}\n"
            "  momentum: {low: 0, high: 0.9, when: {optimizer: sgd}}",
            "sampler gp searches what every trial has: momentum will be drawn at random",
        ),
        (
            "pruner: {name: median, n_warmup_steps: 15}",
            "pruner median never prunes: n_warmup_steps is 15, a trial has 15 epochs",
        ),
        (
            "pruner: {name: patient, patience: 3}",
            "pruner patient without wrapped_pruner prunes whatever stops improving",
        ),
        (
            "pruner: {name: patient, patience: 3, wrapped_pruner: {n_warmup_steps: 99}}",
            "pruner median never prunes: n_warmup_steps is 99, a trial has 15 epochs",
        ),
    ],
)
def test_notes(text: str, note: str) -> None:
    assert read(text).notes == (note,)


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_samplers_that_search_everything_have_no_notes(sampler: str) -> None:
    text = "search_space:\n  optimizer: {choices: [sgd, adam]}\n  momentum: {low: 0, high: 0.9, when: {optimizer: sgd}}"
    assert read(f"sampler: {{name: {sampler}}}\n{text}").notes == ()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            "lr: {low: 0.1, high: 1}",
            "search_space.lr: sampler grid tries every combination, so this range needs a step, or choices",
        ),
        ("width: {low: 1, high: 9, log: true}", None),
        ("seed: {low: 0, high: 2147483647}", "holds 2,147,483,648 values; at most 10,000 can be"),
        ("lr: {low: 0.1, high: 0.3, step: 0.1}", None),
        ("optimizer: {choices: [sgd]}", None),
    ],
)
def test_a_grid_needs_steps(given: str, message: str | None) -> None:
    text = f"sampler: {{name: grid}}\nsearch_space:\n  {given}"
    if message is None:
        assert read(text).notes == ()
    else:
        assert message in only_problem(text)
