"""Mutation score: how many small faults put into the code the tests notice, counted with an interval."""
