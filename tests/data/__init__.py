"""Tests of `cifar_tune.data`."""
