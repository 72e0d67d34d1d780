"""The ``gpo`` command: ``losses``, ``analyze``, ``beta``, ``solve``, ``recommend-beta``, ``diagnose``, ``gaussians``.

Exit codes: 0 done; 1 a file cannot be read or written; 2 bad input (one line on standard error, no traceback);
130 interrupted.
"""

from gpo_analysis.cli.main import gpo, main

__all__ = ["gpo", "main"]
