"""The former name of :mod:`gpo_analysis.estimation`, kept for code that uses it."""

from gpo_analysis.estimation import *  # noqa: F403
from gpo_analysis.estimation import __all__ as __all__
