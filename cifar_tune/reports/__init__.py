"""What is written of a study for people and for programs: `export` in `export.py`."""
