"""A loss: a text wherever a name is taken. Nothing has to be registered.

python my_loss.py
"""

import gpo_analysis as gpo

MINE = "c*log(1+exp(-z/c)) with c=1/2"

if __name__ == "__main__":
    print(gpo.analyze(MINE))
    problem = gpo.PreferenceProblem(gpo.bradley_terry([0.0, 1.0, 2.0]))
    print(gpo.solve_grid([problem], ["dpo", MINE], [0.1, 1.0])[["loss", "beta", "kl"]])
