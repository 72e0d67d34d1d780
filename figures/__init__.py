"""The figures: one module each, drawn from records by ``python -m figures``.

A module ``figures/beta_sweep.py`` is the figure ``beta-sweep``. It exposes

- ``EXPERIMENTS``: the names of the experiments whose records it reads;
- ``CAPTION``: what a stranger needs to understand it; or a function ``caption(records)`` where it quotes the records;
- ``draw(records)``: a matplotlib figure from ``{experiment: Record}``;
- ``PAPER``, where it has one: which figure of the paper it is.

The first line of its docstring says in ``python -m figures list`` what it shows.

Figures and the report read records and nothing else: they import of this project only ``gpo_analysis.records``,
``gpo_analysis.runs`` and ``gpo_analysis.plotting``.
"""
