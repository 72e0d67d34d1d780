"""What other programs make of one set of comparisons, kept in peers.json: run in an environment that has them.

    pip install arena-rank==0.1.1 leaderbot==0.4.3 evalica==0.4.2 statsmodels==0.15.0 && python tests/ranking/peers.py

arena-rank brings jax and leaderbot numba, too much for the tests' own environment. Nothing of this package is imported;
parameters at which leaderbot's likelihood is evaluated are its own optimum and a fixed point.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd


def votes() -> dict[str, list[float]]:
    """600 battles of eight models with ties, two covariates and 90 judges, some of whom like the first shown."""
    rng = np.random.default_rng(20261126)
    n, m = 8, 600
    strength = rng.normal(size=n)
    first = rng.integers(n, size=m)
    second = (first + rng.integers(1, n, size=m)) % n
    x = rng.normal(size=(m, 2)).round(3)
    judge = rng.integers(90, size=m)
    lean = 0.8 * rng.normal(size=90)[judge]
    z = strength[first] - strength[second] + x @ [0.4, -0.2] + lean
    p = np.stack([np.exp(z / 2), np.exp(-z / 2), np.full(m, 0.7)])
    draw = rng.random(m) * p.sum(axis=0)
    outcome = np.where(draw < p[0], 0, np.where(draw < p[0] + p[1], 1, 2))
    return {
        "first": first.tolist(), "second": second.tolist(), "outcome": outcome.tolist(), "judge": judge.tolist(),
        "x1": x[:, 0].tolist(), "x2": x[:, 1].tolist(),
    }  # fmt: skip


def arena_rank(data: dict[str, list[float]]) -> dict[str, object]:
    """Scores and sandwich standard errors, plain and with covariates; regularisation next to none."""
    from arena_rank.models.bradley_terry import BradleyTerry
    from arena_rank.models.contextual_bradley_terry import ContextualBradleyTerry
    from arena_rank.utils.data_utils import ContextualPairDataset, PairDataset

    frame = pd.DataFrame(data)
    frame["model_a"] = [f"m{i}" for i in data["first"]]
    frame["model_b"] = [f"m{i}" for i in data["second"]]
    frame["winner"] = np.array(["model_a", "model_b", "tie"])[data["outcome"]]
    tight = {"ftol": 1e-16, "gtol": 1e-13, "max_iter": 5000}
    plain, pairs = BradleyTerry(8, **tight), PairDataset.from_pandas(frame)
    plain.fit(pairs)
    scores = plain.params["ratings"]
    hessian, middle = plain.compute_hessian_and_covariance(
        scores, pairs.pairs, pairs.outcomes, pairs.counts, pairs.opt_weights, 0.0, 8
    )
    both = ContextualBradleyTerry(8, 2, reg=0.0, **tight)
    rows = ContextualPairDataset.from_pandas(
        frame, feature_cols=["x1", "x2"], reweighted=False, normalize_features=False
    )
    both.fit(rows)
    more, coefficients = both.params["ratings"], both.params["coeffs"]
    bread, meat = both.compute_hessian_and_covariance(
        more, coefficients, rows.pairs, rows.features, rows.outcomes, rows.weights, 0.0, 0.0, 8, 2, 600
    )
    return {
        "scores": np.asarray(scores).tolist(), "standard_errors": _errors(hessian, middle),
        "style_scores": np.asarray(more).tolist(), "style_coefficients": np.asarray(coefficients).tolist(),
        "style_standard_errors": _errors(600 * bread, 600 * meat),
    }  # fmt: skip


def _errors(hessian: object, middle: object) -> list[float]:
    """Of its own Hessian and gradient covariance, by the pseudo-inverse in place of a small ridge."""
    inverse = np.linalg.pinv(np.asarray(hessian), rcond=1e-12, hermitian=True)
    return np.sqrt(np.diag(inverse @ np.asarray(middle) @ inverse)).tolist()


def leaderbot(data: dict[str, list[float]]) -> dict[str, object]:
    """Log-likelihoods of both models of ties: at leaderbot's optimum and at a fixed point."""
    from leaderbot.models import Davidson, RaoKupper

    table: dict[tuple[int, int], list[int]] = {}
    for i, j, o in zip(data["first"], data["second"], data["outcome"], strict=True):
        a, b = min(i, j), max(i, j)
        row = table.setdefault((int(a), int(b)), [0, 0, 0])
        row[2 if o == 2 else int(o) ^ int(i > j)] += 1
    given = {
        "X": np.array(list(table), dtype=int), "Y": np.array(list(table.values()), dtype=int),
        "models": [f"m{i}" for i in range(8)],
    }  # fmt: skip
    found: dict[str, object] = {}
    point = np.append(np.linspace(-1, 1, 8), 0.3)
    for name, kind in (("davidson", Davidson), ("rao-kupper", RaoKupper)):
        model = kind(given, k_cov=None, k_tie=0)
        model.train(method="BFGS", max_iter=20000, tol=1e-14)
        total = float(given["Y"].sum())
        found[name] = {
            "optimum": np.asarray(model.param).tolist(),
            "log_likelihood": -total * float(model.loss(model.param)),
            "point": point.tolist(),
            "at_point": -total * float(model.loss(point)),
        }
    return found


def evalica(data: dict[str, list[float]]) -> list[float]:
    """Bradley–Terry with ties at half a win each, to 1e-14."""
    from evalica import Winner, bradley_terry

    kinds = [Winner.X, Winner.Y, Winner.Draw]
    result = bradley_terry(
        [f"m{i}" for i in data["first"]], [f"m{i}" for i in data["second"]], [kinds[o] for o in data["outcome"]],
        tolerance=1e-14, limit=100_000,
    )  # fmt: skip
    return np.log(result.scores.sort_index().to_numpy()).tolist()


def statsmodels(data: dict[str, list[float]]) -> dict[str, object]:
    """Logistic regression on decided votes, m0 at 0: HC0 and judge-clustered standard errors (without corrections)."""
    import statsmodels.api as sm

    frame = pd.DataFrame(data)
    frame = frame[frame["outcome"] < 2]
    k = np.arange(len(frame))
    design = np.zeros((len(frame), 8))
    design[k, frame["first"]] += 1
    design[k, frame["second"]] -= 1
    design = np.column_stack([design[:, 1:], frame["x1"], frame["x2"], np.ones(len(frame))])
    model = sm.Logit((frame["outcome"] == 0).astype(float).to_numpy(), design)
    options = {"method": "newton", "disp": False, "tol": 1e-14, "maxiter": 200}
    plain = model.fit(cov_type="HC0", **options)
    by_judge = model.fit(
        cov_type="cluster", cov_kwds={"groups": frame["judge"].to_numpy(), "use_correction": False}, **options
    )
    return {
        "parameters": plain.params.tolist(), "log_likelihood": float(plain.llf), "hc0": plain.bse.tolist(),
        "cluster": by_judge.bse.tolist(), "nonrobust": model.fit(**options).bse.tolist(),
    }  # fmt: skip


def main() -> None:
    data = votes()
    found = {"votes": data}
    for peer in (arena_rank, leaderbot, evalica, statsmodels):
        found[peer.__name__] = peer(data)
    path = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).with_name("peers.json"))
    path.write_text(json.dumps(found) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
