"""The study file: reading it, checking it, and the frozen, typed specification that comes out."""
