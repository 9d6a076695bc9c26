"""Tests of building pruners."""
