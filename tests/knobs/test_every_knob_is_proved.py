"""For every knob there is a test that its value reaches the thing that it controls."""

from pathlib import Path

import pytest

from cifar_tune.knobs.table import KNOBS

ROOT = Path(__file__).parents[1]
PROOFS = {
    "model": ("models/test_models.py", "test_parameters_as_published"),
    "width": ("models/test_models.py", "test_width_is_the_channels_of_the_first_stage"),
    "timm_name": ("models/test_timm_model.py", "test_timm_name_is_the_model_that_timm_makes"),
    "stem": ("models/test_models.py", "test_stem_decides_how_large_the_image_stays"),
    "norm": ("models/test_models.py", "test_norm_is_the_one_asked_for_in_every_place"),
    "norm_groups": ("models/test_models.py", "test_norm_groups_reach_the_layers"),
    "bn_momentum": ("models/test_models.py", "test_bn_momentum_reaches_the_layers"),
    "norm_placement": ("models/test_models.py", "test_norm_placement_reaches_the_blocks"),
    "residual": ("models/test_models.py", "test_residual_is_whether_there_are_shortcuts"),
    "activation": ("models/test_models.py", "test_activation_is_the_one_asked_for_in_every_place"),
    "negative_slope": ("models/test_models.py", "test_negative_slope_reaches_the_layers"),
    "dropout": ("models/test_models.py", "test_dropout_stands_before_every_linear_layer"),
    "init": ("models/test_airbench_net.py", "test_init_dirac_passes_on_the_channels_that_come_in"),
    "output_scale": ("models/test_airbench_net.py", "test_output_scale_is_a_factor_of_the_logits"),
    "whitening_bias_epochs": ("models/test_airbench_net.py", "test_whitening_bias_epochs_end_its_learning"),
    "optimizer": ("training/test_optimizers.py", "test_every_knob_reaches_the_parameter_group"),
    "lr": ("training/test_optimizers.py", "test_every_knob_reaches_the_parameter_group"),
    "momentum": ("training/test_optimizers.py", "test_every_knob_reaches_the_parameter_group"),
    "nesterov": ("training/test_optimizers.py", "test_every_knob_reaches_the_parameter_group"),
    "weight_decay": ("training/test_optimizers.py", "test_every_knob_reaches_the_parameter_group"),
    "alpha": ("training/test_optimizers.py", "test_every_knob_reaches_the_parameter_group"),
    "beta1": ("training/test_optimizers.py", "test_every_knob_reaches_the_parameter_group"),
    "beta2": ("training/test_optimizers.py", "test_every_knob_reaches_the_parameter_group"),
    "eps": ("training/test_optimizers.py", "test_every_knob_reaches_the_parameter_group"),
    "decoupled_weight_decay": ("training/test_optimizers.py", "test_every_knob_reaches_the_parameter_group"),
    "rho": ("training/test_optimizers.py", "test_every_knob_reaches_the_parameter_group"),
    "momentum_decay": ("training/test_optimizers.py", "test_every_knob_reaches_the_parameter_group"),
    "lr_decay": ("training/test_optimizers.py", "test_every_knob_reaches_the_parameter_group"),
    "initial_accumulator_value": ("training/test_optimizers.py", "test_every_knob_reaches_the_parameter_group"),
    "ns_steps": ("training/test_optimizers.py", "test_every_knob_reaches_the_parameter_group"),
    "decay_norm_and_bias": ("training/test_optimizers.py", "test_norms_and_biases_are_spared_the_weight_decay"),
    "norm_bias_lr_factor": ("training/test_optimizers.py", "test_norm_bias_lr_factor_is_that_of_norm_biases_alone"),
    "l1": ("training/test_learner.py", "test_l1_adds_the_sign_of_each_weight"),
    "clip_grad_norm": ("training/test_learner.py", "test_clip_grad_norm_is_the_longest_gradient_of_the_loss"),
    "ema_decay": ("training/test_learner.py", "test_ema_decay_averages_weights_and_statistics_over_the_steps"),
    "lookahead": ("training/test_lookahead.py", "test_against_a_slow_reference"),
    "lookahead_steps": ("training/test_lookahead.py", "test_against_a_slow_reference"),
    "lookahead_alpha": ("training/test_lookahead.py", "test_against_a_slow_reference"),
    "batch_size": ("training/test_loop.py", "test_batch_size_is_the_images_of_a_step"),
    "epochs": ("training/test_loop.py", "test_one_result_per_epoch"),
    "patience": ("training/test_stopping.py", "test_patience"),
    "schedule": ("training/test_schedules.py", "test_curve"),
    "step_size": ("training/test_schedules.py", "test_curve"),
    "gamma": ("training/test_schedules.py", "test_curve"),
    "eta_min": ("training/test_schedules.py", "test_curve"),
    "pct_start": ("training/test_schedules.py", "test_curve"),
    "div_factor": ("training/test_schedules.py", "test_curve"),
    "final_div_factor": ("training/test_schedules.py", "test_curve"),
    "milestone1": ("training/test_schedules.py", "test_curve"),
    "milestone2": ("training/test_schedules.py", "test_curve"),
    "milestone3": ("training/test_schedules.py", "test_curve"),
    "plateau_patience": ("training/test_schedules.py", "test_curve"),
    "t_0": ("training/test_schedules.py", "test_curve"),
    "t_mult": ("training/test_schedules.py", "test_curve"),
    "base_lr": ("training/test_schedules.py", "test_curve"),
    "warmup_epochs": ("training/test_schedules.py", "test_warmup_is_a_factor_on_the_schedule"),
    "loss": ("training/test_losses.py", "test_value"),
    "focal_gamma": ("training/test_losses.py", "test_value"),
    "margin": ("training/test_losses.py", "test_value"),
    "label_smoothing": ("training/test_learner.py", "test_label_smoothing_reaches_the_loss"),
    "augment": ("data/test_coordinates.py", "test_crop_and_flip_against_a_slow_reference"),
    "crop_padding": ("data/test_coordinates.py", "test_parameters_come_from_the_configuration"),
    "crop_padding_mode": ("data/test_coordinates.py", "test_the_padding_mode_comes_from_the_configuration"),
    "rotation_degrees": ("data/test_affine.py", "test_rotation_degrees_reach_the_angles"),
    "scale_range": ("data/test_affine.py", "test_scale_range_reaches_the_factors"),
    "brightness": ("data/test_colour.py", "test_every_strength_comes_from_the_configuration"),
    "contrast": ("data/test_colour.py", "test_every_strength_comes_from_the_configuration"),
    "saturation": ("data/test_colour.py", "test_every_strength_comes_from_the_configuration"),
    "hue": ("data/test_colour.py", "test_every_strength_comes_from_the_configuration"),
    "color_temperature": ("data/test_colour.py", "test_every_strength_comes_from_the_configuration"),
    "noise_std": ("data/test_colour.py", "test_noise_has_the_deviation_asked_for_and_stays_in_range"),
    "randaugment_num_ops": ("data/test_policies.py", "test_randaugment_knobs_come_from_the_configuration"),
    "randaugment_magnitude": ("data/test_policies.py", "test_randaugment_knobs_come_from_the_configuration"),
    "cutout_size": ("data/test_erasing.py", "test_cutout_size_comes_from_the_configuration"),
    "erasing_probability": ("data/test_erasing.py", "test_knobs_of_random_erasing_come_from_the_configuration"),
    "erasing_max_area": ("data/test_erasing.py", "test_knobs_of_random_erasing_come_from_the_configuration"),
    "mixup_alpha": ("data/test_mixing.py", "test_alpha_comes_from_the_configuration"),
    "cutmix_alpha": ("data/test_mixing.py", "test_alpha_comes_from_the_configuration"),
    "normalization": ("data/test_normalization.py", "test_values"),
    "normalization_sample": (
        "data/test_normalization.py",
        "test_normalization_sample_reaches_training_and_validation_alike",
    ),
    "test_time_augmentation": ("training/test_views.py", "test_the_mean_logits_of_the_views_are_validated"),
    "compile": ("training/test_compilation.py", "test_the_steps_are_compiled_once_and_the_same"),
    "on_oom": ("training/test_accumulation.py", "test_on_oom_decides_whether_steps_are_split"),
    "precision": ("training/test_precision.py", "test_precision_reaches_the_layers_and_nothing_else"),
    "seed": ("training/test_learner.py", "test_seed_draws_the_initial_weights"),
    "threads": ("training/test_loop.py", "test_threads_hold_during_the_steps"),
}


def test_no_knob_is_left_out() -> None:
    assert PROOFS.keys() == KNOBS.keys()


@pytest.mark.parametrize(("file", "name"), sorted(set(PROOFS.values())))
def test_the_proof_exists(file: str, name: str) -> None:
    assert f"def {name}(" in (ROOT / file).read_text()
