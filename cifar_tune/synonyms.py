"""What other programs and people call the same thing: names of knobs, of parts, of sections and of metrics.

They are never read in place of our own names. They only tell which name was meant where an unknown one is refused.
"""

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache

SYNONYMS: Mapping[str, tuple[str, ...]] = {
    # knobs of the model
    "model": ("arch", "architecture", "backbone", "encoder", "net", "network", "model_name", "model_type"),
    "width": ("base_width", "channels", "filters", "hidden_size", "n_channels", "num_filters", "width_multiplier"),
    "timm_name": ("timm_model",),
    "norm": ("normalisation_layer", "norm_layer", "norm_type", "use_bn", "use_batch_norm"),
    "norm_groups": ("groups", "n_groups", "num_groups"),
    "residual": ("skip", "skip_connection", "skip_connections", "shortcut", "shortcuts", "use_residual"),
    "activation": ("act", "act_fn", "act_layer", "activation_fn", "activation_function", "nonlinearity"),
    "negative_slope": ("leak", "leaky_slope", "slope"),
    "dropout": ("drop", "drop_p", "drop_rate", "drop_prob", "dropout_p", "dropout_prob", "dropout_rate", "p_drop"),
    "init": ("initialization", "initializer", "kernel_initializer", "weight_init"),
    # knobs of the optimizer
    "optimizer": ("opt", "optim", "optimiser", "optimizer_name", "solver"),
    "lr": (
        "base_learning_rate",
        "eta",
        "init_lr",
        "initial_lr",
        "learn_rate",
        "learning_rate",
        "lr0",
        "lr_init",
        "lr_max",
        "max_lr",
        "peak_lr",
    ),
    "momentum": ("mom", "mu", "sgd_momentum"),
    "nesterov": ("use_nesterov",),
    "weight_decay": (
        "decay",
        "l2",
        "l2_penalty",
        "l2_reg",
        "l2_regularization",
        "reg",
        "regularization",
        "wd",
        "weightdecay_rate",
    ),
    "decoupled_weight_decay": ("decoupled",),
    "beta1": ("adam_beta1", "b1", "beta_1", "betas"),
    "beta2": ("adam_beta2", "b2", "beta_2"),
    "eps": ("adam_epsilon", "epsilon"),
    "l1": ("l1_penalty", "l1_reg", "l1_regularization", "lasso"),
    "clip_grad_norm": (
        "clip",
        "clip_norm",
        "clipnorm",
        "grad_clip",
        "gradient_clip",
        "gradient_clip_val",
        "gradient_clipping",
        "max_grad_norm",
    ),
    "ema_decay": ("ema", "model_ema", "polyak", "swa"),
    "lookahead_steps": ("lookahead_k",),
    # knobs of the length of training and of its schedule
    "batch_size": (
        "batch",
        "batchsize",
        "bs",
        "mini_batch_size",
        "minibatch",
        "per_device_train_batch_size",
        "train_batch_size",
    ),
    "epochs": (
        "epoch",
        "epochs_num",
        "max_epoch",
        "max_epochs",
        "n_epoch",
        "n_epochs",
        "nepochs",
        "num_epoch",
        "num_epochs",
        "num_train_epochs",
        "total_epochs",
    ),
    "patience": ("early_stop", "early_stopping", "early_stopping_patience", "early_stopping_rounds"),
    "schedule": (
        "decay_schedule",
        "lr_policy",
        "lr_schedule",
        "lr_scheduler",
        "lr_scheduler_type",
        "sched",
        "scheduler",
    ),
    "gamma": ("decay_factor", "decay_rate", "lr_gamma"),
    "milestone1": ("milestones",),
    "eta_min": ("end_lr", "final_lr", "lr_min", "min_lr"),
    "warmup_epochs": ("n_warmup_epochs", "warm_up", "warm_up_epochs", "warmup", "warmup_steps"),
    # knobs of loss and images
    "loss": ("criterion", "loss_fn", "loss_function", "objective_function"),
    "label_smoothing": ("ls", "smooth", "smoothing"),
    "augment": ("aug", "augmentation", "augmentations", "augs", "data_augmentation", "transform", "transforms"),
    "crop_padding": ("pad", "padding"),
    "crop_padding_mode": ("padding_mode",),
    "rotation_degrees": ("degrees", "max_angle"),
    "erasing_probability": ("random_erase", "reprob"),
    "normalization": ("normalisation", "normalize", "standardization"),
    "test_time_augmentation": ("tta",),
    # knobs of the arithmetic
    "compile": ("jit", "torch_compile"),
    "precision": ("amp", "autocast", "dtype", "mixed_precision"),
    "seed": ("manual_seed", "rand_seed", "random_seed", "random_state", "rng_seed"),
    "threads": ("n_threads", "num_threads", "torch_threads"),
    # sections of a study file, and what stands in them
    "name": ("experiment", "experiment_name", "study", "study_name", "title"),
    "objective": ("goal", "metric_to_optimize", "objectives", "target"),
    "metric": ("monitor", "score"),
    "direction": ("directions", "mode"),
    "constraints": ("bounds", "limits"),
    "budget": ("limit",),
    "trials": ("max_evals", "max_trials", "n_trials", "num_samples", "num_trials", "trial_count"),
    "timeout": ("hours", "max_time", "time", "time_budget", "time_limit"),
    "trial_timeout": ("timeout_per_trial",),
    "sampler": ("algorithm", "search_alg", "search_algorithm", "searcher", "suggester", "tuner"),
    "pruner": ("early_terminate", "pruning", "trial_scheduler"),
    "data": ("data_module", "dataset", "datasets"),
    "root": ("data_dir", "data_path", "data_root", "dir", "directory", "folder", "image_dir", "path"),
    "image_size": ("img_size", "input_size", "resolution", "size"),
    "val_size": (
        "n_val",
        "num_val",
        "val_fraction",
        "val_ratio",
        "val_split",
        "valid_size",
        "validation_size",
        "validation_split",
    ),
    "train_size": ("n_train", "num_train", "subset"),
    "split_seed": ("data_seed",),
    "plugins": ("imports", "modules", "plugin"),
    "train": ("config", "constants", "defaults", "fixed", "params", "trainer", "training"),
    "search_space": (
        "distributions",
        "hparams",
        "hyperparameters",
        "hyperparams",
        "param_space",
        "parameters",
        "search",
        "searchspace",
        "space",
        "sweep",
    ),
    "start_from": ("baseline", "enqueue", "initial_points", "known", "points_to_evaluate", "warm_start"),
    "transfer_from": ("continue_from", "source_study", "transfer", "transfer_learning", "warm_start_from"),
    "low": ("from", "lower", "lower_bound", "min", "min_value", "minimum", "start"),
    "high": ("max", "max_value", "maximum", "stop", "to", "upper", "upper_bound"),
    "log": ("is_log", "log_scale", "loguniform", "logarithmic"),
    "step": ("q", "quantize"),
    "choices": ("categories", "grid", "options", "values"),
    "when": ("condition", "conditions", "depends_on", "if", "parent"),
    "min_resource": ("grace_period", "min_epochs"),
    "n_warmup_steps": ("warmup_steps",),
    # names of parts
    "silu": ("swish",),
    "leaky_relu": ("lrelu",),
    "tanh": ("hyperbolic_tangent",),
    "sgd": ("momentum_sgd", "stochastic_gradient_descent"),
    "adamw_schedule_free": ("schedule_free", "schedule_free_adamw"),
    "sgd_schedule_free": ("schedule_free_sgd",),
    "cosine": ("cos", "cosine_annealing", "cosine_annealing_lr", "cosine_decay"),
    "cosine_restarts": ("cosine_annealing_warm_restarts", "sgdr", "warm_restarts"),
    "one_cycle": ("1cycle", "one_cycle_lr", "onecyclelr", "super_convergence"),
    "plateau": ("reduce_lr_on_plateau", "reduce_on_plateau"),
    "multistep": ("multi_step", "multi_step_lr"),
    "exponential": ("exp", "exponential_lr"),
    "cyclic": ("clr", "cyclic_lr"),
    "constant": ("fixed", "flat", "none"),
    "cross_entropy": ("ce", "cross_entropy_loss", "crossentropy", "log_loss", "nll", "softmax"),
    "mse": ("l2", "mean_squared_error", "squared_error"),
    "multi_margin": ("hinge", "multi_margin_loss", "svm"),
    "focal": ("focal_loss",),
    "horizontal_flip": ("fliplr", "flip", "hflip", "mirror", "random_flip", "random_horizontal_flip"),
    "vertical_flip": ("flipud", "random_vertical_flip", "vflip"),
    "random_crop": ("crop", "crop_pad", "shift"),
    "random_erasing": ("erase", "erasing", "random_erase"),
    "rotation": ("random_rotation", "rotate"),
    "scale": ("random_scale", "zoom"),
    "trivialaugment": ("auto_augment", "trivial_augment_wide"),
    "randaugment": ("rand_aug", "random_augment"),
    "gaussian_noise": ("noise",),
    "brightness": ("color_jitter", "colour_jitter", "jitter"),
    "batch": ("batch_norm", "batch_norm2d", "bn"),
    "group": ("gn", "group_norm"),
    "standardize": ("mean_std", "per_channel", "z_score", "zscore"),
    "zero_one": ("min_max", "minmax", "to_tensor", "unit"),
    "bf16": ("bfloat16",),
    "fp16": ("float16", "half"),
    "tf32": ("tensor_float32",),
    "fp32": ("32", "float", "float32", "full"),
    # samplers, pruners, metrics, sources of images
    "tpe": ("bayesian", "bayes", "bayesian_optimization", "bo", "hyperopt", "optuna"),
    "gp": ("gaussian_process",),
    "cmaes": ("cma", "evolution_strategy"),
    "nsgaii": ("evolutionary", "genetic", "nsga", "nsga2"),
    "nsgaiii": ("nsga3",),
    "qmc": ("halton", "quasi_random", "sobol"),
    "grid": ("brute_force", "exhaustive", "full_factorial", "grid_search"),
    "random": ("random_search", "uniform"),
    "asha": ("async_hyperband", "async_successive_halving", "sha", "successive_halving"),
    "hyperband": ("bohb",),
    "median": ("median_stopping", "median_stopping_rule"),
    "val_accuracy": (
        "acc",
        "accuracy",
        "top1",
        "top_1",
        "val_top1_accuracy",
        "val_acc",
        "valid_accuracy",
        "validation_accuracy",
    ),
    "best_val_accuracy": ("best_accuracy", "max_accuracy"),
    "val_loss": (
        "cross_entropy",
        "log_loss",
        "logloss",
        "loss",
        "nll",
        "val_log_loss",
        "valid_loss",
        "validation_loss",
    ),
    "parameters": ("model_size", "n_parameters", "num_parameters", "params", "size"),
    "flops": ("macs", "multiply_adds"),
    "seconds_per_epoch": ("latency", "speed", "time", "time_per_epoch"),
    "maximize": ("highest", "max", "maximise"),
    "minimize": ("lowest", "min", "minimise"),
    "cifar10": ("cifar",),
    "image_folder": ("custom", "folder", "images", "imagenet"),
    "digits": ("sklearn_digits",),
    "table": ("csv", "dataframe", "pandas", "parquet", "tsv"),
    "arrays": ("npy", "npz", "numpy"),
    "oxford_pets": ("oxford_iiit_pet", "pets"),
    "flowers102": ("flowers",),
}
"""Our name, and what else it is called. Case, `-`, `_`, spaces and dots make no difference."""


def same_thing(name: str, names: Iterable[str]) -> str | None:
    """The entry of `names` that is written like `name`, or means the same by `SYNONYMS`; else None."""
    plain = _plain(name)
    by_plain = {_plain(each): each for each in names}
    if plain in by_plain:
        return by_plain[plain]
    return next((ours for ours in _BY_SYNONYM.get(plain, ()) if ours in by_plain.values()), None)


@lru_cache(maxsize=4096)  # the same names again and again, for every unknown key
def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _by_synonym() -> dict[str, list[str]]:
    meant: dict[str, list[str]] = {}
    for ours, others in SYNONYMS.items():
        for other in others:
            meant.setdefault(_plain(other), []).append(ours)
    return meant


_BY_SYNONYM = _by_synonym()
