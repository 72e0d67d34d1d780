"""Margins of token means lengthen what is no better for it

Theorem. A margin loss of token means, β(h_w/T_w − h_l/T_l), has its tabular optimum at π_i = πref_i e^{T_i(g_i/β + t)}.
Where g is independent of T under πref, M(x) = E e^{Tx} has E_g M(x_g) = 1 and E_π T = E_g M′(x_g), x_g = g/β + t. M′ is
a convex function of M, since M‴M′ ≥ M″² (Cauchy–Schwarz), so that E_π T ≥ M′(0) = E_ref T. Sums keep E_ref T.

Source: derived here; length normalisation: SimPO, arXiv 2405.14734
"""

from __future__ import annotations

import numpy as np

import gpo_analysis as gpo
from gpo_analysis.tabular import PrefixTree, solve_sequences

CLAIM = "Margins of token means lengthen responses that are no better for it"
SOURCE = "derived here"
KIND = "at least"
REMEMBERED = True  # derived here, as above


def compute() -> tuple[object, object]:
    """Expected lengths of the optima at three β for two losses, and πref's."""
    tree = PrefixTree(letters=2, depth=5, stop=0.3)
    problem = tree.problem(gpo.bradley_terry(np.array([float(word[0] == "a") for word in tree.responses])))
    before = tree.expected_length(tree.reference)
    found = []
    for loss in ("dpo", "ipo"):
        assert abs(solve_sequences(tree, problem, loss, 0.2).expected_length - before) < 1e-9
        for beta in (0.1, 0.5, 3.0):
            found.append(solve_sequences(tree, problem, loss, beta, reduction="mean").expected_length)
    return np.array(found), np.full(6, before)
