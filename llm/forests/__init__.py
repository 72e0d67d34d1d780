"""Prompts with many samples of πref each, as trees of prefixes: drawing, exact rewards and optima, log π of all."""
