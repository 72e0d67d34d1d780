"""Calculus of one expression in one symbol: exact values, signs, pieces, convexity and tails.

What is decided here is proved, by interval arithmetic or algebra, or it is said that it could not be decided. Nothing
here knows of losses, policies or data.
"""

from gpo_analysis.calculus.undecided import Undecided

__all__ = ["Undecided"]
