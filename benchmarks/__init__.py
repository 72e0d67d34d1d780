"""Measurements of speed and memory; nothing here is tested by its numbers."""
