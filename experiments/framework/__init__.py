"""What an experiment module needs: checks of predicted against computed values.

The machinery that finds, runs and records experiments lies beside it (`discovery`, `cells`, `engines`, `runner`) and is
not imported here: an experiment needs none of it.
"""

from experiments.framework.checks import UNKNOWN, Check, NotRun, explained

__all__ = ["UNKNOWN", "Check", "NotRun", "explained"]
