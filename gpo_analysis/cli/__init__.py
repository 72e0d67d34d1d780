"""The ``gpo`` command: ``losses``, ``analyze``, ``beta``, ``solve``, ``recommend-beta``, ``diagnose``, ``gaussians``.

Exit codes: 0 done; 1 a file or the output cannot be read or written; 2 bad input; 3 a fault of the program;
130 interrupted. Whatever goes wrong is one line on standard error, no traceback.
"""

from gpo_analysis.cli.main import gpo, main

__all__ = ["gpo", "main"]
