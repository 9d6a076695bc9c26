"""Processes that train trials, each bound to one device."""
