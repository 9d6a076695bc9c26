"""Tests of the table of knobs."""
