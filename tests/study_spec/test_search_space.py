import pytest

from cifar_tune.study_spec.search_space import Choices, Dimension, Range, condition_holds

from .reading import only_problem, read, refused


def dimension(knob: str, given: str) -> Dimension:
    return read(f"search_space:\n  {knob}: {given}").spec.search_space[knob]


def problem(knob: str, given: str) -> str:
    return only_problem(f"search_space:\n  {knob}: {given}").removeprefix(f"study.yaml:3: search_space.{knob}")


@pytest.mark.parametrize(
    ("knob", "given", "expected"),
    [
        ("lr", "{low: 1e-4, high: 1, log: true}", Range(1e-4, 1.0, log=True)),
        ("lr", "{low: 1e-4, high: 1, log: false}", Range(1e-4, 1.0)),
        ("lr", "{low: 0.1, high: 0.5, step: 0.1}", Range(0.1, 0.5, step=0.1)),
        ("lr", "{low: 0.1, high: 0.5, step:}", Range(0.1, 0.5)),
        ("dropout", "{low: 0, high: 0.9, step: 0.3}", Range(0.0, 0.9, step=0.3)),
        ("epochs", "{low: 1, high: 9}", Range(1, 9, step=1)),
        ("epochs", "{low: 1, high: 9, step: 4}", Range(1, 9, step=4)),
        ("seed", "{low: 0, high: 4000000, step: 1}", Range(0, 4_000_000, step=1)),
        ("epochs", "{low: 1.0, high: 1e1, step: 3.0}", Range(1, 10, step=3)),
        ("width", "{low: 8, high: 512, log: true}", Range(8, 512, log=True, step=1)),
        ("epochs", "{choices: [3, 5, 1e1]}", Choices((3, 5, 10))),
        ("lr", "{choices: [1, 0.1]}", Choices((1.0, 0.1))),
        ("nesterov", "{choices: [true, false]}", Choices((True, False))),
        ("optimizer", "{choices: [sgd]}", Choices(("sgd",))),
        ("normalization", "{choices: [none, zero_one]}", Choices(("none", "zero_one"))),
        ("augment", "{choices: [none, random_crop]}", Choices(((), ("random_crop",)))),
        (
            "augment",
            "{choices: [[], [random_crop, horizontal_flip]]}",
            Choices(((), ("random_crop", "horizontal_flip"))),
        ),
        (
            "augment",
            "{choices: [random_crop+horizontal_flip, [horizontal_flip, random_crop]]}",
            Choices((("random_crop", "horizontal_flip"), ("horizontal_flip", "random_crop"))),
        ),
    ],
)
def test_dimensions(knob: str, given: str, expected: Dimension) -> None:
    assert dimension(knob, given) == expected


def test_whole_numbers_stay_whole() -> None:
    found = dimension("epochs", "{low: 1.0, high: 9, step: 2.0}")
    assert isinstance(found, Range)
    assert [type(value) for value in (found.low, found.high, found.step)] == [int, int, int]


@pytest.mark.parametrize(
    ("knob", "given", "message"),
    [
        (
            "lr",
            "0.1",
            " = 0.1: must be a mapping such as {low: 1e-4, high: 1.0, log: true} or {choices: [sgd, adamw]}; "
            "a fixed value belongs under train",
        ),
        ("lr", "", ": must be a mapping such as"),
        ("lr", "[0.1, 1]", " = [0.1, 1]: must be a mapping such as"),
        ("lr", "{}", ": needs low and high, or choices"),
        ("lr", "{low: 0.1}", ": needs high, or choices"),
        ("lr", "{high: 0.1}", ": needs low, or choices"),
        ("lr", "{low: , high: 1}", ".low: is empty; must be a number > 0"),
        ("lr", "{low: true, high: 1}", ".low = true: must be a number > 0"),
        ("lr", "{low: '0.1', high: 1}", ".low = '0.1': must be a number > 0"),
        ("lr", "{low: 0, high: 1}", ".low = 0: must be a number > 0"),
        ("lr", "{low: 0.1, high: .inf}", ".high = inf: must be a finite number > 0"),
        ("lr", "{low: 0.1, high: .nan}", ".high = nan: must be a finite number > 0"),
        ("lr", "{low: 1, high: 0.1}", ".low = 1.0: must be below high, which is 0.1"),
        ("lr", "{low: 1, high: 1}", "; a single value belongs under train"),
        ("lr", "{low: 0.1, high: 1, log: yes}", ".log = 'yes': must be true or false"),
        ("lr", "{low: 0.1, high: 1, log: 1}", ".log = 1: must be true or false"),
        ("lr", "{low: 0.1, high: 1, log:}", ".log: must be true or false"),
        ("lr", "{low: 0.1, high: 1, log: true, step: 0.1}", ".step = 0.1: does not go with log: true"),
        ("dropout", "{low: 0, high: 0.5, log: true}", ".low = 0.0: must be > 0 on a logarithmic range"),
        ("dropout", "{low: 0.1, high: 1.0}", ".high = 1.0: must be a number >= 0 and < 1"),
        ("lr", "{low: 0.1, high: 1, step: 0}", ".step = 0: must be a number > 0"),
        ("lr", "{low: 0.1, high: 1, step: -0.1}", ".step = -0.1: must be a number > 0"),
        ("lr", "{low: 0.1, high: 1, step: true}", ".step = true: must be a number > 0"),
        (
            "lr",
            "{low: 0.1, high: 1.0, step: 0.4}",
            ".step = 0.4: does not lead from 0.1 to 1.0; the last step below is 0.9",
        ),
        (
            "lr",
            "{low: 0.1, high: 1.0, step: 2}",
            ".step = 2.0: does not lead from 0.1 to 1.0; the last step below is 0.1",
        ),
        ("lr", "{low: 0.001, high: 1, step: 1e-9}", ".step = 1e-09: makes more than 1,000,000 values"),
        ("lr", "{low: 1e-3, high: 1, step: 1e-300}", ".step = 1e-300: makes more than 1,000,000 values"),
        (
            "lr",
            "{low: 1e-40, high: 1, step: 0.5}",
            ".step = 0.5: does not lead from 1e-40 to 1.0; the last step below is 0.5",
        ),
        ("epochs", "{low: 1, high: 10, step: 2}", ".step = 2: does not lead from 1 to 10; the last step below is 9"),
        ("epochs", "{low: 1, high: 10, step: 0.5}", ".step = 0.5: must be a whole number >= 1"),
        ("epochs", "{low: 1, high: 10, step: 0}", ".step = 0: must be a whole number >= 1"),
        ("epochs", "{low: 1, high: 1e30}", ".high = 1e+30: must be a whole number >= 1 and <= 1000000"),
        ("epochs", "{low: 1.5, high: 3}", ".low = 1.5: must be a whole number >= 1"),
        ("optimizer", "{low: 1, high: 2}", ": needs choices: optimizer must be adadelta"),
        ("nesterov", "{low: 0, high: 1}", ": needs choices: nesterov must be true or false"),
        ("augment", "{}", ": needs choices: augment must be a list of names"),
        ("optimizer", "{choices: sgd}", ".choices = 'sgd': must be a list of at least one value"),
        ("optimizer", "{choices: []}", ".choices = []: must be a list of at least one value"),
        ("optimizer", "{choices:}", ".choices: must be a list of at least one value"),
        ("optimizer", "{choices: {sgd: 1}}", ".choices = {'sgd': 1}: must be a list of at least one value"),
        ("optimizer", "{choices: [sgd, sgd]}", ".choices[1] = 'sgd': is listed twice"),
        ("epochs", "{choices: [3, 3.0]}", ".choices[1] = 3.0: is listed twice"),
        ("augment", "{choices: [none, []]}", ".choices[1] = []: is listed twice"),
        ("augment", "{choices: [[none]]}", ".choices[0] = ['none']: must be a list of names out of"),
        ("epochs", "{choices: [true]}", ".choices[0] = true: must be a whole number"),
        ("epochs", "{choices: [null]}", ".choices[0]: is empty; must be a whole number"),
        ("epochs", "{choices: [[3]]}", ".choices[0] = [3]: must be a whole number"),
        ("optimizer", "{choices: [sgd, adamm]}", "(did you mean 'adam'?)"),
        ("lr", "{choices: [0.1], log: true}", ".log: goes with low and high, not with choices"),
        ("lr", "{choices: [0.1], step:}", ".step: goes with low and high, not with choices"),
        ("lr", "{low: 0.1, high: 1, logg: true}", ".logg: unknown key (did you mean 'log'?)"),
        ("lr", "{low: 0.1, high: 1, qq: 1}", ".qq: unknown key; known here: low, high, log, step, per, choices, when"),
        (
            "lr",
            "{low: 0.1, high: 1, when: sgd}",
            ".when = 'sgd': must be a mapping such as {optimizer: [sgd, rmsprop]}",
        ),
        ("lr", "{low: 0.1, high: 1, when: {}}", ".when = {}: must be a mapping such as"),
        ("lr", "{low: 0.1, high: 1, when: {optimizr: sgd}}", ".when.optimizr: unknown key (did you mean 'optimizer'?)"),
        ("lr", "{low: 0.1, high: 1, when: {lr: 0.1}}", ".when.lr: lr cannot depend on itself"),
        ("lr", "{low: 0.1, high: 1, when: {optimizer: sdg}}", ".when.optimizer = 'sdg': must be adadelta"),
        ("lr", "{low: 0.1, high: 1, when: {optimizer: [sgd, sdg]}}", ".when.optimizer[1] = 'sdg': must be adadelta"),
        ("lr", "{low: 0.1, high: 1, when: {optimizer: []}}", ".when.optimizer = []: must name at least one value"),
        ("lr", "{low: 0.1, high: 1, when: {optimizer:}}", ".when.optimizer: is empty; must be adadelta"),
        ("lr", "{low: 0.1, high: 1, when: {epochs: true}}", ".when.epochs = true: must be a whole number"),
    ],
)
def test_refused_dimensions(knob: str, given: str, message: str) -> None:
    assert message in problem(knob, given)


def test_all_problems_of_a_dimension_are_reported_at_once() -> None:
    found = refused("search_space:\n  lr: {low: -1, high: x, stp: 1, when: {optimizer: 5, modle: cnn2}, step: -1}")
    assert [each.key for each in found] == [
        "search_space.lr.stp",
        "search_space.lr.when.optimizer",
        "search_space.lr.when.modle",
        "search_space.lr.low",
        "search_space.lr.high",
        "search_space.lr.step",
    ]


def test_an_unknown_knob() -> None:
    assert only_problem("search_space:\n  zzz: {low: 0.1, high: 1}") == (
        "study.yaml:3: search_space.zzz: unknown key; `cifar-tune knobs` lists what there is"
    )
    assert only_problem("search_space:\n  widht: {choices: [1]}").endswith("(did you mean 'width'?)")


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("search_space:\n  learning_rate: {low: 0.1, high: 1}", "lr"),
        ("train: {wd: 0.1}", "weight_decay"),
        ("search_space:\n  lr: {min: 0.1, low: 0.1, high: 1}", "low"),
        ("budget: {n_trials: 5}", "trials"),
    ],
)
def test_the_names_of_other_tools_are_understood(text: str, meant: str) -> None:
    assert only_problem(text).endswith(f"unknown key (did you mean {meant!r}?)")


@pytest.mark.parametrize(
    ("low", "high", "step", "count"),
    [(0.0, 0.3, 0.1, 4), (0.1, 0.7, 0.2, 4), (1e-6, 1e-5, 1e-6, 10), (1, 10, 3, 4), (0.0, 1e-300, 1e-300, 2)],
)
def test_steps_are_counted_exactly(low: float, high: float, step: float, count: int) -> None:
    assert Range(low, high, step=step).count == count
    assert Range(low, high).count is None


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("{optimizer: sgd}", {"optimizer": ("sgd",)}),
        ("{optimizer: [sgd]}", {"optimizer": ("sgd",)}),
        ("{epochs: 15, optimizer: [sgd, adam]}", {"epochs": (15,), "optimizer": ("sgd", "adam")}),
        ("{nesterov: false}", {"nesterov": (False,)}),
        ("{augment: none}", {"augment": ((),)}),
        ("{augment: random_crop}", {"augment": ("random_crop",)}),
        ("{augment: [random_crop, horizontal_flip]}", {"augment": ("random_crop", "horizontal_flip")}),
        ("{augment: [[random_crop]]}", {"augment": (("random_crop",),)}),
        ("{augment: random_crop+horizontal_flip}", {"augment": (("random_crop", "horizontal_flip"),)}),
    ],
)
def test_conditions(given: str, wanted: dict[str, object]) -> None:
    assert dimension("label_smoothing", f"{{low: 0, high: 0.5, when: {given}}}").when == wanted


def test_a_condition_on_a_list_of_names_holds_where_the_list_has_the_name() -> None:
    both = ("random_crop", "horizontal_flip")
    assert condition_holds("augment", ("random_crop",), both)
    assert condition_holds("augment", ("random_crop",), ("random_crop",))
    assert not condition_holds("augment", (("random_crop",),), both)
    assert condition_holds("augment", (both,), both)
    assert condition_holds("augment", ((),), ())
    assert not condition_holds("augment", ("random_crop",), ())


def test_a_condition_does_not_hold_on_a_knob_that_a_run_does_not_take() -> None:
    assert not condition_holds("momentum", (0.9,), None)
