"""Claims of papers, a file each: ``python -m experiments claims`` computes them all and prints them as a table.

To add one, add a file here (at most 80 lines). Its docstring has the theorem, its proof or the place of it, and
``Source:``, the paper. Then:

- ``CLAIM``, the theorem in a line, and ``SOURCE``, the paper in a few words;
- ``compute()``, which returns what was computed and what the theorem states, numbers or arrays of one shape;
- ``KIND``, where it is not "exact": "at most" or "at least", what computed is of stated;
- ``TOLERANCE``, where it is not 1e-9, relative to 1 + \\|stated\\|;
- ``REMEMBERED = True`` where the paper itself was not read: such a claim counts because its derivation stands in the
  file.
"""
