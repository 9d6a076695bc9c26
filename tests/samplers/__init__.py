"""Tests of building samplers."""
