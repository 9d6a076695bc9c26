"""Ways of looking ahead. A new one is one entry here: how far the slow weights follow, by the progress of training."""

from collections.abc import Mapping

from cifar_tune.knobs.part import Part

NO_LOOKAHEAD = "none"
_COMMON = {"lookahead_steps": "steps", "lookahead_alpha": "alpha"}
_LOOKAHEAD = "cifar_tune.training.averages"

LOOKAHEADS: Mapping[str, Part] = {
    NO_LOOKAHEAD: Part("torch.nn:Identity", "the optimizer alone moves the weights"),
    "constant": Part(
        f"{_LOOKAHEAD}:constant",
        "every lookahead_steps, go back to slow weights that follow by lookahead_alpha (Zhang et al. 2019)",
        arguments=_COMMON,
    ),
    "cubic": Part(
        f"{_LOOKAHEAD}:cubic",
        "the same, but they follow wholly at first and by lookahead_alpha at the end (Jordan 2024)",
        arguments=_COMMON,
        defaults={"lookahead_alpha": 0.226},
    ),
}
