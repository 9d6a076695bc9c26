"""Tests of `cifar_tune.models`."""
