"""Minimising a weighted sum of a margin loss over pairs: does a minimum exist, and where is it.

Used by :mod:`gpo_analysis.tabular` and :mod:`gpo_analysis.estimation`, which hold what a user asks for.
"""
