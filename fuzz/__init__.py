"""Faults put in on purpose, counted by kind: each module is a script, ``python -m fuzz.NAME``."""
