"""Tests of `cifar_tune.conversion`."""
