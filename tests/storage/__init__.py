"""Tests of the database: opening it, and the lease."""
