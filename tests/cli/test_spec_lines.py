from cifar_tune.cli.spec_lines import spec_lines
from cifar_tune.study_spec.reader import read_study
from cifar_tune.study_spec.yaml_reader import read_yaml


def lines(text: str) -> list[str]:
    return spec_lines(read_study(read_yaml(f"name: made\n{text}"), None).spec)


def test_every_default_is_filled_in() -> None:
    found = lines("train: {model: resnet20}\nsampler: {seed: 3}")
    assert found[:7] == [
        "name: made",
        "objective: {metric: val_accuracy, direction: maximize}",
        "constraints: []",
        "budget: {trials: 50}",
        "sampler: {name: tpe, seed: 3, n_startup_trials: 10, n_ei_candidates: 24, multivariate: true, group: false, "
        "constant_liar: true}",
        "pruner: {name: promotion, min_resource: 1, reduction_factor: 3, keep: 2, complete: 0.1, most_paused: 20}",
        "data: {name: cifar10, image_size: 32, split_seed: 0, download: true}",
    ]
    assert "  # width: 16 (default)" in found
    assert "  lr: {low: 0.0001, high: 1.0, log: true}" in found
    assert not [line for line in found if "beta1" in line or "lr: 0.05" in line]


def test_a_default_that_depends_on_a_choice_is_told_for_each() -> None:
    found = lines("search_space:\n  optimizer: {choices: [sgd, adam, adamw]}\n  model: {choices: [cnn2, resnet20]}")
    assert "  # lr: 0.05 with sgd, 0.001 with adam/adamw (default)" in found
    assert "  # width: 64 with cnn2, 16 with resnet20 (default)" in found
    assert "  # momentum: 0.9 (default)" in found


def test_knobs_that_no_trial_takes_are_left_out() -> None:
    text = "\n".join(lines("train: {schedule: constant}"))
    assert "pct_start" not in text
    assert "gamma" not in text


def test_nothing_searched() -> None:
    found = lines("train: {lr: 0.1, weight_decay: 0}")
    assert "search_space: {}" in found
    assert "  weight_decay: 0.0" in found
