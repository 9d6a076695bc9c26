import pytest

from .reading import only_problem, read, refused


@pytest.mark.parametrize(
    ("train", "message"),
    [
        (
            "{optimizer: adam, momentum: 0.9}",
            "train.momentum = 0.9: optimizer adam does not take momentum; taken by sgd",
        ),
        ("{optimizer: sgd, beta1: 0.9}", "train.beta1 = 0.9: optimizer sgd does not take beta1; taken by adam"),
        ("{schedule: cosine, gamma: 0.5}", "train.gamma = 0.5: schedule cosine does not take gamma; taken by step"),
        ("{step_size: 3}", "train.step_size = 3: schedule one_cycle does not take step_size; taken by step"),
        ("{crop_padding: 3}", "train.crop_padding = 3: augment none does not take crop_padding; taken by random_crop"),
        (
            "{negative_slope: 0.2}",
            "train.negative_slope = 0.2: activation relu does not take negative_slope; taken by leaky_relu",
        ),
        (
            "{optimizer: adam, nesterov: false}",
            "train.nesterov = false: optimizer adam does not take nesterov; taken by sgd",
        ),
        (
            "{loss: mse, label_smoothing: 0.1}",
            "train.label_smoothing = 0.1: loss mse does not take label_smoothing; taken by cross_entropy",
        ),
    ],
)
def test_a_fixed_knob_that_no_trial_takes(train: str, message: str) -> None:
    assert message in only_problem(f"train: {train}")


def test_a_fixed_knob_is_accepted_if_any_reachable_choice_takes_it() -> None:
    text = "train: {momentum: 0.8}\nsearch_space:\n  optimizer: {choices: [sgd, adamw]}"
    spec = read(text).spec
    assert [spec.space.configuration(lambda *_, name=name: name).get("momentum") for name in ("sgd", "adamw")] == [
        0.8,
        None,
    ]


def test_a_fixed_knob_that_no_reachable_choice_takes() -> None:
    text = "train: {momentum: 0.8}\nsearch_space:\n  optimizer: {choices: [adam, adamw]}"
    assert "optimizer adam and optimizer adamw do not take momentum; taken by sgd" in only_problem(text)


def test_a_fixed_knob_reached_through_a_condition() -> None:
    text = """train: {momentum: 0.8}
search_space:
  model: {choices: [cnn2, cnn3]}
  optimizer: {choices: [adam], when: {model: cnn2}}"""
    assert read(text).notes == ()


@pytest.mark.parametrize(
    ("optimizers", "advice"),
    [
        ("[sgd, adam]", "; add `when: {optimizer: sgd}`"),
        ("[sgd, adam, rmsprop]", "; add `when: {optimizer: [sgd, rmsprop]}`"),
        ("[adam, adamw]", ""),
    ],
)
def test_a_searched_knob_that_not_every_trial_takes(optimizers: str, advice: str) -> None:
    text = f"search_space:\n  optimizer: {{choices: {optimizers}}}\n  momentum: {{low: 0.1, high: 0.9}}"
    message = only_problem(text)
    assert message.startswith("study.yaml:4: search_space.momentum: optimizer adam")
    assert "not take momentum; taken by sgd" in message
    assert message.endswith(advice)
    assert advice or "when" not in message


def test_a_searched_knob_that_the_fixed_owner_does_not_take() -> None:
    text = "train: {optimizer: adam}\nsearch_space:\n  momentum: {low: 0.1, high: 0.9}"
    assert "optimizer adam does not take momentum; taken by sgd" in only_problem(text)


@pytest.mark.parametrize("when", ["{optimizer: sgd}", "{optimizer: [sgd]}"])
def test_a_searched_knob_under_the_right_condition(when: str) -> None:
    text = "search_space:\n  optimizer: {choices: [sgd, adam]}\n  momentum: {low: 0.1, high: 0.9, when: WHEN}"
    assert read(text.replace("WHEN", when)).notes == ()


def test_a_condition_that_lets_too_much_through() -> None:
    text = """search_space:
  optimizer: {choices: [sgd, adam]}
  momentum: {low: 0.1, high: 0.9, when: {optimizer: [sgd, adam]}}"""
    assert only_problem(text).endswith("; add `when: {optimizer: sgd}`")


def test_a_condition_by_a_detour() -> None:
    text = """search_space:
  model: {choices: [cnn2, cnn3]}
  optimizer: {choices: [adam, adamw], when: {model: cnn2}}
  momentum: {low: 0.1, high: 0.9, when: {model: cnn3}}"""
    assert read(text).notes == ()


def test_a_knob_of_a_part_in_a_list() -> None:
    text = """search_space:
  augment: {choices: [none, random_crop, random_crop+horizontal_flip]}
  crop_padding: {choices: [2, 4]WHEN}"""
    assert only_problem(text.replace("WHEN", "")) == (
        "study.yaml:4: search_space.crop_padding: augment none does not take crop_padding; taken by random_crop; "
        "add `when: {augment: random_crop}`"
    )
    assert read(text.replace("WHEN", ", when: {augment: random_crop}")).notes == ()


def test_a_condition_on_a_range_is_refused() -> None:
    text = "search_space:\n  epochs: {low: 1, high: 9}\n  seed: {choices: [1, 2], when: {epochs: 3}}"
    assert only_problem(text) == (
        "study.yaml:4: search_space.seed.when.epochs: "
        "a condition needs epochs to be fixed or to have choices, not a range"
    )


def test_a_condition_on_a_value_that_is_not_among_the_choices() -> None:
    text = "search_space:\n  optimizer: {choices: [sgd, adam]}\n  seed: {choices: [1], when: {optimizer: adamw}}"
    assert only_problem(text) == (
        "study.yaml:4: search_space.seed.when.optimizer = 'adamw': "
        "optimizer is never that here; its choices are sgd and adam"
    )


def test_a_condition_on_the_default_that_a_conditional_knob_keeps() -> None:
    text = """search_space:
  model: {choices: [cnn2, cnn3]}
  width: {choices: [8, 16], when: {model: cnn2}}
  seed: {choices: [1, 2], when: {width: 64}}"""
    assert read(text).notes == ()


@pytest.mark.parametrize(
    "text",
    [
        "train: {model: cnn2}\nsearch_space:\n  seed: {choices: [1, 2], when: {model: cnn3}}",
        "search_space:\n  seed: {choices: [1, 2], when: {model: cnn2}}",
        "search_space:\n  seed: {choices: [1, 2], when: {beta1: 0.9}}",
        "search_space:\n  seed: {choices: [1, 2], when: {momentum: 0.5}}",
    ],
)
def test_a_condition_that_never_holds_is_noted(text: str) -> None:
    assert read(text).notes == ("search_space.seed is never searched: its conditions never hold",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "train: {nesterov: true, momentum: 0}",
            "train.nesterov: nesterov needs momentum > 0, but here nesterov is true and momentum is 0.0",
        ),
        (
            "train: {nesterov: true}\nsearch_space:\n  momentum: {low: 0, high: 0.9}",
            "study.yaml:4: search_space.momentum: nesterov needs momentum > 0",
        ),
        (
            "train: {momentum: 0}\nsearch_space:\n  nesterov: {choices: [false, true]}",
            "study.yaml:4: search_space.nesterov: nesterov needs momentum > 0",
        ),
        (
            "search_space:\n  nesterov: {choices: [false, true]}\n  momentum: {choices: [0.9, 0]}",
            "search_space.nesterov: nesterov needs momentum > 0",
        ),
    ],
)
def test_nesterov_needs_momentum(text: str, message: str) -> None:
    assert message in only_problem(text)


@pytest.mark.parametrize(
    "text",
    [
        "train: {nesterov: true, momentum: 0.1}",
        "train: {nesterov: true}",
        "train: {nesterov: false, momentum: 0}",
        "train: {nesterov: true}\nsearch_space:\n  optimizer: {choices: [sgd, rmsprop]}",
        "train: {nesterov: true}\nsearch_space:\n  momentum: {low: 0.1, high: 0.9}",
        "search_space:\n  momentum: {choices: [0, 0.9]}\n  nesterov: {choices: [true, false], when: {momentum: 0.9}}",
    ],
)
def test_nesterov_with_momentum(text: str) -> None:
    assert read(text).notes in ((), ("nothing is searched: all trials are the same",))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("train: {model: cnn3, norm: group, width: 12}",
         "study.yaml:2: train.width: norm_groups must divide the channels of every layer, which grow with width, "
         "but here norm_groups is 8, width is 12 and model is cnn3"),
        ("train: {norm: group, norm_groups: 4}\nsearch_space:\n  width: {low: 16, high: 64}",
         "study.yaml:4: search_space.width: norm_groups must divide the channels of every layer, "
         "which grow with width, but norm_groups 4, width 17 and model cnn3 can come together"),
        ("train: {norm: group, norm_groups: 4}\nsearch_space:\n  width: {low: 16, high: 64, log: true}",
         "norm_groups 4, width 17 and model cnn3"),
        ("train: {norm: group, norm_groups: 4}\nsearch_space:\n  width: {low: 16, high: 64, step: 6}",
         "norm_groups 4, width 22 and model cnn3"),
        ("train: {width: 16, norm: group, norm_groups: 16}\nsearch_space:\n  model: {choices: [cnn3, densenet121]}",
         "norm_groups 16, width 16 and model densenet121"),
        ("train: {width: 24}\nsearch_space:\n  norm: {choices: [batch, group]}\n"
         "  norm_groups: {choices: [8, 16], when: {norm: group}}",
         "study.yaml:5: search_space.norm_groups: norm_groups must divide"),
    ],
)  # fmt: skip
def test_norm_groups_divide_the_channels(text: str, message: str) -> None:
    assert message in only_problem(text)


@pytest.mark.parametrize(
    "text",
    [
        "train: {norm: group, norm_groups: 4}\nsearch_space:\n  width: {low: 16, high: 64, step: 8}",
        "train: {norm: group}\nsearch_space:\n  width: {choices: [16, 32]}",
        "train: {norm: batch, width: 13}\nsearch_space:\n  lr: {low: 0.1, high: 1}",
        "train: {norm: group, norm_groups: 1}\nsearch_space:\n  width: {low: 1, high: 64}",
        "search_space:\n  norm: {choices: [batch, group, none]}\n"
        "  norm_groups: {choices: [8, 16], when: {norm: group}}",
    ],
)
def test_norm_groups_that_divide_the_channels(text: str) -> None:
    assert read(text).notes == ()


@pytest.mark.parametrize(
    ("train", "message"),
    [
        ("{model: densenet121, residual: false}",
         "train.residual = false: model densenet121 does not take residual; taken by resnet18"),
        ("{model: vgg11, stem: imagenet}",
         "train.stem = 'imagenet': model vgg11 does not take stem; taken by resnet18"),
        ("{model: resnet18, norm_groups: 4}", "train.norm_groups = 4: norm batch does not take norm_groups; "
         "taken by group"),
        ("{model: timm, width: 32}", "train.width = 32: model timm does not take width; taken by tutorial_net"),
        ("{model: resnet18, timm_name: vit}", "train.timm_name = 'vit': model resnet18 does not take timm_name; "
         "taken by timm"),
        ("{model: timm, timm_name: hf_hub:x/y}", "train.timm_name = 'hf_hub:x/y': must be a name of"),
    ],
)  # fmt: skip
def test_a_knob_that_the_model_does_not_take(train: str, message: str) -> None:
    assert message in only_problem(f"train: {train}")


def test_a_model_of_timm_is_searched_by_name() -> None:
    text = "train: {model: timm}\nsearch_space:\n  timm_name: {choices: [convnext_atto, vit_tiny_patch16_224]}"
    assert read(text).notes == ()
    assert "needs choices: timm_name must be a name" in only_problem(
        text.replace("{choices: [convnext_atto, vit_tiny_patch16_224]}", "{low: 1, high: 2}")
    )


def test_problems_of_several_knobs_are_reported_at_once() -> None:
    text = """train: {gamma: 0.5, beta1: 0.8}
search_space:
  optimizer: {choices: [sgd, rmsprop]}
  nesterov: {choices: [true]}
  eps: {low: 1e-9, high: 1e-3, log: true}"""
    assert [each.key for each in refused(text)] == [
        "train.gamma",
        "train.beta1",
        "search_space.nesterov",
        "search_space.eps",
    ]


@pytest.mark.parametrize(
    ("train", "notes"),
    [
        ("{decay_norm_and_bias: false}", ("decay_norm_and_bias: false changes nothing: weight_decay and l1 are 0",)),
        ("{decay_norm_and_bias: false, weight_decay: 1e-4}", ()),
        (
            "{sampling: balanced, class_weights: balanced}",
            (
                "sampling balanced and class_weights balanced together make up for small classes twice; "
                "one of them is enough",
            ),
        ),
        ("{sampling: balanced, class_weights: {cat: 2}}", ()),
        ("{patience: 10, epochs: 10}", ("patience changes nothing: no trial has more epochs",)),
        ("{patience: 9, epochs: 10}", ()),
        (
            "{schedule: step, step_size: 10, epochs: 2}",
            ("schedule step is constant here: no trial has more epochs than step_size",),
        ),
        ("{schedule: step, step_size: 1, epochs: 2}", ()),
        (
            "{plateau_patience: 3, schedule: plateau, epochs: 3}",
            ("schedule plateau is constant here: no trial has more epochs than plateau_patience",),
        ),
    ],
)
def test_what_changes_nothing_is_noted(train: str, notes: tuple[str, ...]) -> None:
    found = read(f"name: x\ntrain: {train}\nsearch_space: {{lr: {{low: 0.1, high: 0.2}}}}\n").notes
    assert found == notes
