"""Tests of `cifar_tune.training`."""
