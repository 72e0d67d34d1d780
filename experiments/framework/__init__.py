"""What an experiment module needs: checks of predicted against computed values.

The machinery that finds, runs and records experiments lies beside it (`discovery`, `cells`, `runner`) and is not
imported here, so that editing it does not make every experiment run again.
"""

from experiments.framework.checks import Check, NotRun

__all__ = ["Check", "NotRun"]
