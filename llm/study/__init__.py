"""A study: its configuration and its stages, from data to tables."""
