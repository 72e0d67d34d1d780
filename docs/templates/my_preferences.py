"""A preference structure: any function that gives P[i, j] = p(i ≻ j); here a ring in which each beats the next.

python my_preferences.py
"""

import numpy as np

import gpo_analysis as gpo


def ring(responses: int, strength: float) -> np.ndarray:
    """Each response beats the one after it with probability ½ + strength, and ties with the others."""
    matrix = np.full((responses, responses), 0.5)
    for i in range(responses):
        matrix[i, (i + 1) % responses] += strength
        matrix[(i + 1) % responses, i] -= strength
    return gpo.from_matrix(matrix)  # checks that P + Pᵀ is 1


if __name__ == "__main__":
    problem = gpo.PreferenceProblem(ring(5, 0.3), reference=[0.4, 0.3, 0.1, 0.1, 0.1])
    for loss in ("dpo", "ipo", "max(0, 1-z)**3"):
        print(loss, problem.solve(loss, 0.5).policy.round(3))
