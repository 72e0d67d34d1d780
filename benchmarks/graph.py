"""Scores of items from comparisons on a random graph: the fit, the hinge, the bootstrap, battles by name.

The graph is a ring through all items, so that a fit exists, and pairs drawn at random; labels are Bradley–Terry with
standard normal scores. Gradients are of the mean loss, the largest of any item. An item has a share of about
2/items of the comparisons: at 100,000 items a gradient of 1e-8 still leaves a thousandth of its slope, and the row
"equal gradient" is the one in which scikit-learn goes on until its line search ends.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.framework import Benchmark, Side, Size, Task, Work, sizes
from gpo_analysis.arrays import FloatArray, IntArray

RESAMPLES = 100


def random_graph(size: Size, seed: int = 0) -> tuple[IntArray, IntArray]:
    """Winners and losers (m,) of comparisons on a connected random graph."""
    n, m = size.numbers
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=n)
    first = rng.integers(n, size=m)
    second = (first + rng.integers(1, n, size=m)) % n
    ring = rng.permutation(n)
    first[:n], second[:n] = ring, np.roll(ring, 1)
    wins = rng.random(m) < 1 / (1 + np.exp(scores[second] - scores[first]))
    wins[:n] = True
    return np.where(wins, first, second), np.where(wins, second, first)


def gradient_norm(scores: FloatArray, winner: IntArray, loser: IntArray) -> float:
    """Of the mean logistic loss, the largest of any item."""
    flow = -1 / (1 + np.exp(scores[winner] - scores[loser])) / len(winner)
    n = len(scores)
    return float(np.abs(np.bincount(winner, flow, n) - np.bincount(loser, flow, n)).max())


def ours(loss: str) -> Callable[[Size], Work]:
    """Fit one loss to index arrays."""

    def prepare(size: Size) -> Work:
        import gpo_analysis as gpo

        winner, loser = random_graph(size)

        def judge(fit: gpo.Fit) -> dict[str, float]:
            found = {"value": fit.value, "steps": float(fit.iterations)}
            if loss == "logistic":
                found["gradient"] = gradient_norm(fit.reward, winner, loser)
            gap = fit.minima[0].gap
            return found if np.isnan(gap) else {**found, "gap": gap}

        return Work(lambda: gpo.PreferenceProblem.from_comparisons(gpo.Comparisons(winner, loser)).fit(loss), judge)

    return prepare


def scikit_learn(solver: str, tolerance: float) -> Callable[[Size], Work]:
    """LogisticRegression on the sparse design, every second comparison turned round so that there are two classes."""

    def prepare(size: Size) -> Work:
        from scipy import sparse
        from sklearn.linear_model import LogisticRegression

        winner, loser = random_graph(size)
        n, m = size.numbers

        def do() -> FloatArray:
            label = np.ones(m)
            label[::2] = 0
            signs = np.where(label == 1, 1.0, -1.0)
            columns = np.column_stack([winner, loser]).ravel().astype(np.int32)
            values = np.column_stack([signs, -signs]).ravel()
            begins = np.arange(0, 2 * m + 1, 2, dtype=np.int32)
            design = sparse.csr_matrix((values, columns, begins), shape=(m, n))
            model = LogisticRegression(C=1e6, fit_intercept=False, tol=tolerance, max_iter=10_000, solver=solver)
            return np.asarray(model.fit(design, label).coef_.ravel())

        return Work(do, lambda scores: {"gradient": gradient_norm(scores, winner, loser)})

    return prepare


def by_program(size: Size) -> Work:
    """The hinge by scipy's HiGHS, as ours does it without OR-tools."""
    from gpo_analysis.solvers import linear

    linear.is_available = lambda: False
    return ours("hinge")(size)


def bootstrap(size: Size) -> Work:
    """Bootstrap intervals of the logistic scores."""
    import gpo_analysis as gpo

    winner, loser = random_graph(size)
    games = gpo.Comparisons(winner, loser)
    return Work(
        lambda: gpo.bootstrap_scores(games, "logistic", resamples=RESAMPLES),
        lambda found: {"without_fit": float(found.without_fit), "error_of_first": float(found.standard_error[0])},
    )


def battles(size: Size) -> tuple[Any, IntArray, IntArray]:
    """Battles as an arena's table has them, a row each: a DataFrame, and winners and losers as indices."""
    import pandas as pd

    winner, loser = random_graph(size)
    names = np.array([f"model-{i:03d}" for i in range(size.numbers[0])], dtype=object)
    frame = pd.DataFrame({"model_a": names[winner], "model_b": names[loser], "winner": "model_a"})
    return frame, winner, loser


def _judge_named(fit: Any, winner: IntArray, loser: IntArray) -> dict[str, float]:
    place = [int(name.removeprefix("model-")) for name in fit.problem.items]
    return {"gradient": gradient_norm(fit.reward[np.argsort(place)], winner, loser)}


def our_battles(size: Size) -> Work:
    """Names to codes, then the fit."""
    import pandas as pd

    import gpo_analysis as gpo

    frame, winner, loser = battles(size)

    def do() -> Any:
        codes, names = pd.factorize(pd.concat([frame["model_a"], frame["model_b"]]))
        games = gpo.Comparisons(codes[: len(frame)], codes[len(frame) :], items=list(names))
        return gpo.PreferenceProblem.from_comparisons(games).fit("logistic")

    return Work(do, lambda fit: _judge_named(fit, winner, loser))


def our_table(size: Size) -> Work:
    """The same with all that is checked of a table of battles."""
    import gpo_analysis as gpo

    frame, winner, loser = battles(size)
    return Work(
        lambda: gpo.PreferenceProblem.from_comparisons(gpo.Comparisons.from_frame(frame)).fit("logistic"),
        lambda fit: _judge_named(fit, winner, loser),
    )


def evalica_battles(size: Size) -> Work:
    """evalica.bradley_terry, to its default tolerance."""
    import evalica

    frame, winner, loser = battles(size)
    wins = [evalica.Winner.X] * len(frame)

    def judge(found: Any) -> dict[str, float]:
        return {"gradient": gradient_norm(np.log(found.scores.sort_index().to_numpy()), winner, loser)}

    return Work(lambda: evalica.bradley_terry(frame["model_a"], frame["model_b"], wins), judge)


def choix_battles(size: Size) -> Work:
    """choix.ilsr_pairwise on index pairs."""
    import choix

    winner, loser = random_graph(size)
    pairs = np.column_stack([winner, loser]).tolist()
    return Work(
        lambda: choix.ilsr_pairwise(size.numbers[0], pairs, alpha=0.0, tol=1e-8),
        lambda scores: {"gradient": gradient_norm(np.asarray(scores), winner, loser)},
    )


GRAPH = Benchmark(
    "graph",
    "scores of items from comparisons on a random graph",
    (
        Task(
            "logistic",
            "Bradley–Terry scores from index arrays",
            sizes("100x1k", "1kx20k", "2kx200k", "10kx1M", "100kx5M"),
            (
                Side("ours", ours("logistic")),
                Side("scikit-learn lbfgs 1e-8", scikit_learn("lbfgs", 1e-8), "scikit-learn", most=10**7),
                Side("equal gradient, newton", scikit_learn("newton-cg", 1e-12), "scikit-learn", most=10**7),
                Side("choix ilsr", choix_battles, "choix", most=20_000),
            ),
            "five times scikit-learn at 100kx5M, not slower from 100x1k up, linear to 50M within 8 GiB",
            "gradient",
            1e-8,
        ),
        *(
            Task(loss, f"{loss} scores from index arrays", sizes("2kx200k", "100kx2M"), (Side("ours", ours(loss)),))
            for loss in ("squared", "exponential", "truncated_quadratic", "savage")
        ),
        Task(
            "hinge",
            "hinge scores, certified by the duality gap",
            sizes("300x6k", "1kx50k", "2kx200k", "10kx1M"),
            (
                Side("ours", ours("hinge")),
                Side("HiGHS through scipy", by_program, most=50_000),
            ),
            "10kx1M in 5 s",
        ),
        Task(
            "bootstrap",
            f"{RESAMPLES} bootstrap fits",
            sizes("250x2M"),
            (
                Side("ours", bootstrap),
                Side("default threads", bootstrap, environment={"OMP_NUM_THREADS": "", "OPENBLAS_NUM_THREADS": ""}),
            ),
            "no slower under the default threads than with one",
        ),
        Task(
            "battles",
            "single battles by name in a DataFrame, to scores",
            sizes("129x50k", "129x5M"),
            (
                Side("ours", our_battles),
                Side("ours, from_frame", our_table),
                Side("evalica", evalica_battles, "evalica"),
            ),
            "five times evalica's fit at 129x5M",
            "gradient",
            1e-8,
        ),
    ),
    ("items", "comparisons"),
    Size((20, 400)),
)
