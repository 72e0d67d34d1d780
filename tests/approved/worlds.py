"""Small worlds in which every way of solving, training, estimating and ranking is gone once: what comes out, as texts.

More than 400 lines because every call that is approved is a line of a table here.
"""

# ruff: noqa: E501 - tables of calls, a line each

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from functools import cache, partial
from typing import Any

import numpy as np
import sympy

import gpo_analysis as gpo
from gpo_analysis import divergences, estimation, gaussian, preferences, ranking, statistics, tabular, training
from gpo_analysis.calculus import Undecided
from gpo_analysis.calculus.convexity import convexity_of
from gpo_analysis.calculus.limits import limit_at_infinity, value_at
from gpo_analysis.calculus.pieces import pieces_of
from gpo_analysis.calculus.signs import signs_on
from gpo_analysis.estimation import identify
from gpo_analysis.estimation.loss_log import loss_log
from gpo_analysis.losses import list_losses, two_ratio_losses
from tests.approved.texts import dumped, table_of

CONVEX = ("logistic", "hinge", "squared", "exponential", "truncated_quadratic", "smoothed_logistic", "cell")
BENT = ("savage", "sba", "-tanh(z)", "min(2,max(0,1-z))", "atan(-z)")
KINKED = ("abs(1-z)", "max(0,1-z)+max(0,-1-z)/2", "max(0,1-z)**2+abs(z)")
RATIOS = ("nca_pair", "bco_pair", "apo_zero", "sppo_hard", "dpop")
FOUR = [[0.5, 0.8, 0.3, 0.9], [0.2, 0.5, 0.6, 0.7], [0.7, 0.4, 0.5, 0.55], [0.1, 0.3, 0.45, 0.5]]


def _said(make: Callable[[], Any]) -> Iterator[str]:
    """What comes out, or why nothing does."""
    try:
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            yield from dumped(make())
        yield from (f"warned: {one.message}" for one in warned)
    except ValueError as error:
        yield f"refused: {error}"


def _each(made: dict[str, Callable[[], Any]]) -> str:
    return "\n".join(line for what, make in made.items() for line in (f"# {what}", *_said(make)))


@cache
def problems() -> dict[str, gpo.PreferenceProblem]:
    """Matrices and counts of many kinds: transitive, cyclic, certain, apart, with weights, with contexts, many items."""
    rng = np.random.default_rng(4)
    many = gpo.PreferenceProblem(gpo.bradley_terry(np.linspace(-1, 1, 12)))
    sparse = [
        (f"i{a}", f"i{b}", int(rng.integers(1, 5))) for a in range(40) for b in (a + 1, a + 3, a - 1) if 0 <= b < 40
    ]
    islands = [("a", "b", 3), ("b", "a", 1), ("c", "d", 2), ("d", "c", 2), ("d", "e", 1), ("e", "d", 1)]
    return {
        "rewards": gpo.PreferenceProblem(gpo.bradley_terry([0.0, 1.0, 2.5]), reference=[0.5, 0.3, 0.2]),
        "own": gpo.PreferenceProblem(FOUR, behavior=[0.4, 0.3, 0.2, 0.1]),
        "cycle": gpo.PreferenceProblem(gpo.cyclic(3, 0.9), reference=[0.2, 0.5, 0.3]),
        "certain": gpo.PreferenceProblem([[0.5, 1.0, 0.7], [0.0, 0.5, 0.6], [0.3, 0.4, 0.5]]),
        "all certain": gpo.PreferenceProblem(gpo.deterministic([3.0, 2.0, 1.0])),
        "unseen": gpo.PreferenceProblem(gpo.bradley_terry([0.0, 1.0, 2.0]), behavior=[0.6, 0.4, 0.0]),
        "contexts": gpo.PreferenceProblem([gpo.bradley_terry([0.0, 1.0]), gpo.bradley_terry([2.0, 0.0])]),
        "many": many,
        "islands": gpo.PreferenceProblem.from_comparisons(gpo.Comparisons.from_pairs(islands)),
        "sparse": gpo.PreferenceProblem.from_comparisons(gpo.Comparisons.from_pairs(sparse)),
    }


def of_optima(name: str) -> str:
    """The optimum of every kind of loss."""
    problem = problems()[name]
    lines = []
    for loss in (*CONVEX, *KINKED, *(BENT if problem.n <= 4 else ()), *(RATIOS if problem.n <= 12 else ())):
        lines.append(f"## {loss}")
        try:
            found = problem.solve(loss, 0.5)
        except ValueError as error:
            lines.append(f"refused: {error}")
            continue
        numbers = (found.population_loss, found.kl, found.mu_squared_loss, found.gap, found.pull)
        lines += [f"{found.status} {found.converged} {found.reason}", *dumped(numbers), *dumped(found.policy)]
        lines += [*dumped(found.log_ratio), *dumped(found.status_per_context)]
        lines += [] if found.limit is None else dumped(found.limit)
        lines += [] if found.representative is None else dumped(found.representative)
    return "\n".join(lines)


def of_links() -> str:
    """Optima under other divergences, and the flow there."""
    one = problems()["rewards"]
    made: dict[str, Callable[[], Any]] = {}
    for link in ("forward_kl", "js", "chi", "alpha"):
        made[f"solve {link}"] = lambda link=link: _few(one.solve("dpo", 0.5, link=link))
    for alpha in (-0.5, 0.0, 0.5, 1.0, 2.0):
        made[f"alpha {alpha}"] = lambda alpha=alpha: _few(one.solve("ipo", 0.5, link=divergences.alpha_link(alpha)))
        made[f"trl alpha {alpha}"] = lambda alpha=alpha: divergences.trl_alpha_link(alpha).of_log(
            np.array([-1.0, 0.0, 0.7])
        )
    made["mismatch"] = lambda: tabular.chi_squared([0.5, 0.3, 0.2], [0.2, 0.3, 0.5])
    made["off support"] = lambda: tabular.off_support_mass([1.0, -1.0, 0.0], [0.2, 0.3, 0.5], 0.5)
    made["flow"] = lambda: tabular.link_flow(one, "ipo", 1.0, "reverse_kl", duration=5.0)
    return _each(made)


def _few(found: Any) -> Any:
    return {"status": str(found.status), "policy": found.policy, "loss": found.population_loss, "reason": found.reason}


def of_tables() -> str:
    """Fits, grids, frontiers, sequences, features, games."""
    one, own = problems()["rewards"], problems()["own"]
    tree = tabular.PrefixTree(letters=2, depth=3, stop=0.4)
    reward = [float(word.count("a")) for word in tree.responses]
    made: dict[str, Callable[[], Any]] = {
        f"fit {loss}": lambda loss=loss: one.fit(loss) for loss in (*CONVEX, "savage")
    }
    made["grid"] = lambda: table_of(gpo.solve_grid([one, own], ["dpo", "slic"], [0.1, 1.0]).to_frame())
    made["win rates"] = lambda: tabular.win_rate_frontier(FOUR, [0.25] * 4, strengths=[0.1, 1.0, 10.0])
    made["best of n"] = lambda: tabular.best_of_n([0.0, 1.0, 1.0, 3.0], [0.4, 0.3, 0.2, 0.1], n=5)
    made["orpo"] = lambda: tabular.orpo(0.5)(np.array([-1.0, -0.5]), np.array([-2.0, -0.3]))
    made["regularized"] = lambda: gpo.regularized_optimum([0.0, 1.0, 3.0], [0.2, 0.3, 0.5], 0.7)
    made["sequences"] = lambda: tabular.descend_sequences(tree, tree.problem(gpo.bradley_terry(reward)), "ipo", 0.5)
    made["length"] = lambda: tabular.shaped_by_length([1.0, 2.0, 3.0], [1.0, 2.0, 4.0], 0.5, 0.1)
    for loss in ("squared", "hinge", "logistic"):
        made[f"features {loss}"] = lambda loss=loss: gpo.solve_features(
            own, [[1.0, 0], [0, 1.0], [1.0, 1], [0, 0]], loss, 0.5
        )
    contexts = problems()["contexts"]
    made["fit of contexts"] = lambda: contexts.fit("ipo")._panel()
    for loss in ("nca_pair", "dpop", "squared"):
        made[f"losses {loss}"] = lambda loss=loss: [
            contexts.loss_at([[0.1, -0.1], [0.3, 0.2]], loss, 0.5),
            contexts.population_loss([[0.4, 0.6], [0.3, 0.7]], loss, 0.5),
        ]
    made["nash"] = lambda: gpo.nash_policy(gpo.cyclic(4, 0.7), [0.4, 0.3, 0.2, 0.1], 0.01)
    made["gradient"] = lambda: tabular.gradient_identity([0.5, -1.0, 0.3], [0.2, 0.3, 0.5], [0.5, 0.25, 0.25])
    made["restricted"] = lambda: tabular.restricted_optimum(
        [0.0, 2.0, 1.0], [0.2, 0.3, 0.5], np.eye(3)[:, :2], beta=0.3
    )
    return _each(made)


def of_training() -> str:
    """Every optimizer, batches, features, what is kept; many at once."""
    one, own = problems()["rewards"], problems()["own"]
    base = {"learning_rate": 0.3, "steps": 12, "record_every": 4}
    made: dict[str, Callable[[], Any]] = {}
    for loss in (*CONVEX, "savage", "nca_pair", "dpop", "abs(1-z)"):
        for optimizer in ("gd", "adam", "flow"):
            made[f"{loss} {optimizer}"] = lambda loss=loss, o=optimizer: _run(
                gpo.train(one, loss, 0.5, optimizer=o, **base)
            )
    made["batches"] = lambda: _run(gpo.train(own, "ipo", 0.5, batch_size=4, seed=3, **base))
    made["renewed"] = lambda: _run(gpo.train(own, "dpo", 0.5, refresh_every=3, **base))
    made["features"] = lambda: _run(gpo.train(own, "dpo", 0.5, features=[[1.0], [0.0], [0.5], [2.0]], **base))
    made["kept"] = lambda: _run(gpo.train(one, "dpo", 0.5, keep=("policies", "logits"), **base))
    made["too fast"] = lambda: _run(gpo.train(one, "exponential", 0.5, learning_rate=1e6, steps=9))
    made["labels"] = lambda: _run(
        gpo.train(gpo.Comparisons.from_pairs([("a", "b", 3), ("b", "a", 1)]), "dpo", 1.0, **base)
    )
    made["resumed"] = lambda: _run(gpo.train(one, "dpo", 0.5, resume=gpo.train(one, "dpo", 0.5, **base), **base))
    made["many"] = lambda: [
        _run(run) for run in gpo.train_many(own, ["dpo", "slic"], [0.5, 1.0], seeds=[1], batch_size=3, **base)
    ]
    return _each(made)


def _run(found: Any) -> Any:
    return [found.status.name, found.reason, table_of(found.to_frame())]


def of_theory() -> str:
    """Rates, noise, expansions and clocks of training."""
    one, own = problems()["rewards"], problems()["own"]
    made: dict[str, Callable[[], Any]] = {}
    for loss in ("dpo", "ipo", "savage"):
        made[f"early {loss}"] = lambda loss=loss: training.early_phase(own, loss, 0.5)
        made[f"rates {loss}"] = lambda loss=loss: training.local_rates(one, loss, 0.5)
        made[f"expanded {loss}"] = lambda loss=loss: training.expanded_gradients(one, loss, 0.5, [0.5, -1.5, 3.0])
        for optimizer in ("adam", "gd"):
            made[f"noise {loss} {optimizer}"] = lambda f=loss, o=optimizer: [
                training.noise_variance(f, 0.7, optimizer=o), training.noise_balance(f, 0.02, optimizer=o),
            ]  # fmt: skip
        made[f"margins {loss}"] = lambda loss=loss: [
            training.predicted_margins(own, loss, 0.5, time) for time in (0.3, np.inf)
        ]
        made[f"hessian {loss}"] = lambda loss=loss: training.logit_hessian(own, loss, 0.5, [0.1, 0.2, -0.5, 0.0])
        made[f"averaged {loss}"] = lambda loss=loss: [
            training.averaged_slope(loss, 0.8),
            training.relative_slope(loss, 0.7),
        ]
        made[f"curvature {loss}"] = lambda loss=loss: training.pair_curvature(loss, [0.2, 0.9], [-0.3, 1.2])
        made[f"log-ratio {loss}"] = lambda loss=loss: training.link_log_ratio(own, loss, 0.5)
        made[f"share {loss}"] = lambda loss=loss: training.share_beyond(one, loss, 3.0, [0.5, -1.5, 3.0])
        made[f"table {loss}"] = lambda loss=loss: training.expansion_table(one, loss, 0.5, [0.5, -1.5, 3.0])
        made[f"mean {loss}"] = lambda loss=loss: training.limit_mean(loss, 0.5, [0.5, 2.0, -1.0], 7)
    made["slopes"] = lambda: [training.chosen_slope(own), training.chosen_slope(one, [[1.0], [0.0], [2.0]])]
    made["momentum"] = lambda: [training.momentum_factor([0.1, 3.0, 5.0]), training.momentum_factor(0.3, decay=0.99)]
    made["moments"] = lambda: training.adam_second_moments([[0.1, 2.0], [0.3, -1.0]], decay=0.9)
    made["preconditioned"] = lambda: training.preconditioned_curvature(np.diag([1.0, 2.0]), [0.04, 0.09])
    made["rescaled"] = lambda: training.rescaled_noise(0.1, "dpo", 1.0, "ipo", 0.5, rate=2.0, batch=4.0)
    made["quantiles"] = lambda: training.margin_quantiles([0.5, -1.5, 3.0], [0.2, 0.3, 0.5], [0.1, 0.5, 0.9])
    made["deviation"] = lambda: training.deviation(own, [1.0, -1.0, 0.5, 0.0])
    for method in ("nash_md", "ipo_md"):
        made[method] = lambda m=method: training.self_play(
            gpo.cyclic(3, 0.4), [0.5, 0.3, 0.2], 0.5, rate=0.2, steps=9, method=m
        )
    return _each(made)


@cache
def labels() -> gpo.Comparisons:
    return problems()["own"].sample(150, seed=2)


def _log(steps: int = 4) -> gpo.TrainingLog:
    step = np.repeat(np.arange(float(steps)), 10)
    noise = np.random.default_rng(1).normal(size=len(step))
    flat, lengths = np.full(len(step), -60.0), 10.0 + np.arange(len(step)) % 7
    return gpo.TrainingLog(
        flat - step + 3 * noise, flat - 4 * step + noise, flat, flat - 1, lengths, lengths[::-1].copy(), step=step
    )


def of_estimates() -> str:
    """Fits of labels, their errors, choices of a loss, β and diagnoses."""
    one = problems()["rewards"]
    made: dict[str, Callable[[], Any]] = {
        "fits": lambda: gpo.fit_comparisons(labels(), ["dpo", "ipo", "slic", "nca_pair"], 0.5).to_dict(),
        "bootstrap": lambda: gpo.bootstrap_scores(labels(), "ipo", resamples=25, seed=1),
        "choice": lambda: gpo.choose_loss(
            labels(), ["dpo", "ipo", "exponential"], folds=4, resamples=50, smoothing=0.1
        ),
        "beta by kl": lambda: gpo.recommend_beta(labels(), kl=0.2, losses=["dpo", "slic"], resamples=8),
        "beta by margin": lambda: gpo.recommend_beta(labels(), margin=0.5, losses=["ipo"], smoothing=0.1, resamples=8),
        "beta of log": lambda: estimation.beta_from_log(_log(), "ipo", 0.1, margin=1.5, resamples=8),
        "efficiency": lambda: estimation.relative_efficiency(
            estimation.asymptotics(one, "ipo"), estimation.asymptotics(one, "dpo")
        ),
        "fits of samples": lambda: estimation.sampled_fits(one, "ipo", 80, 12, seed=1),
    }
    for loss in ("dpo", "ipo", "savage"):
        made[f"asymptotics {loss}"] = lambda loss=loss: estimation.asymptotics(one, loss)
    for loss in ("dpo", "slic", "lrml"):
        made[f"diagnosis {loss}"] = lambda loss=loss: gpo.diagnose(_log(), loss, 0.3, resamples=8)
    for given in ([2.0], [0.9, 0.1], [1.8, -0.2], [1.0, -1.0], [0.5, 0.5]):
        made[f"unmix {given}"] = lambda given=given: identify.unmix(np.array(given))
    for given in ([1.0, -0.5, 0.1], [1.0, 2.0, 0.0], [0.0, 1.0, 0.3]):
        made[f"unmix exo {given}"] = lambda given=given: identify.unmix(np.array(given), exo=True)
    return _each(made)


def of_audits() -> str:
    """Logs whose loss is found again: by pairs, smoothed, scaled, by means, and one that is none."""
    margin = np.linspace(-2.5, 4.0, 40)
    logistic = gpo.get_loss("dpo")
    other = {
        "squared": (margin - 1) ** 2, "smoothed": 0.9 * logistic(margin) + 0.1 * logistic(-margin),
        "robust": (0.8 * logistic(margin) - 0.2 * logistic(-margin)) / 0.6, "scaled": 3.0 * np.exp(-margin),
        "none": np.sin(3 * margin), "steeper": np.logaddexp(0, -2 * margin),
    }  # fmt: skip
    rewards = np.random.default_rng(0).normal(size=(2, 30))
    two = {"chosen_reward": rewards[0], "rejected_reward": rewards[1]}
    made = {what: lambda loss=loss: estimation.audit_log(loss_log({"margin": margin, "loss": loss}))
            for what, loss in other.items()}  # fmt: skip
    made["two"] = lambda: estimation.audit_log(loss_log({**two, "loss": gpo.get_loss("nca_pair")(*rewards)}))
    return _each(made)


def of_preferences() -> str:
    """Ways to state preferences, and what is said of them."""
    counts = np.array([[0, 7, 2.0], [3, 0, 5], [4, 1, 0]])
    made: dict[str, Callable[[], Any]] = {
        "thurstone": lambda: preferences.thurstone([0.0, 1.0, 3.0], scale=2.0),
        "counts": lambda: preferences.from_counts(counts, prior=0.5),
        "noise": lambda: preferences.label_noise(gpo.bradley_terry([0.0, 2.0]), 0.1),
        "annotators": lambda: gpo.mixture_of_annotators(gpo.bradley_terry([[0.0, 2.0], [1.0, 0.5]])),
        "mixed": lambda: gpo.mixture_of_annotators(gpo.bradley_terry([[0.0, 2.0], [1.0, 0.5]]), [0.7, 0.3]),
        "cyclic": lambda: gpo.cyclic(gpo.bradley_terry([0.0, 1.0, 2.0]), 0.4),
        "deterministic": lambda: gpo.deterministic([1.0, 1.0, 0.0]),
        "hodge log": lambda: preferences.hodge_split(preferences.pair_shares(FOUR), flow="log_odds"),
        "hodge mean": lambda: preferences.hodge_split(preferences.pair_shares(FOUR)),
        "diagnostics": lambda: gpo.diagnostics(FOUR),
        "diagnostics log": lambda: gpo.diagnostics(FOUR, flow="log_odds"),
        "of labels": lambda: gpo.diagnostics(preferences.from_counts(counts)),
        "kl": lambda: gpo.kl_divergence([0.2, 0.8], [0.5, 0.5]),
        "square loss": lambda: gpo.mu_squared_loss([0.2, 0.8], [0.5, 0.5], [0.9, 0.1]),
    }
    return _each(made)


def of_rankings() -> str:
    """Rankings by every loss and treatment of ties, with noise, home, covariates, clusters; how good they are."""
    rng = np.random.default_rng(8)
    names = np.array(list("pqrst"))
    pairs = [(a, b) for a in range(5) for b in range(5) if a != b for _ in range(4)]
    contests = [
        {"model_a": str(names[a]), "model_b": str(names[b]), "judge": f"j{k % 6}",
         "winner": ("model_a", "model_b", "tie")[int(rng.choice(3, p=np.array([0.3 + 0.1 * (b > a), 0.4, 0.2])
                                                                 / (0.9 + 0.1 * (b > a))))],
         "tokens_a": float(10 + k % 9), "tokens_b": float(12 + k % 5)}
        for k, (a, b) in enumerate(pairs)
    ]  # fmt: skip
    made: dict[str, Callable[[], Any]] = {}

    def data(**options: Any) -> Any:
        import json
        import tempfile
        from pathlib import Path

        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "c.jsonl")
            path.write_text("\n".join(map(json.dumps, contests)), encoding="utf-8")
            return gpo.preferences.read_comparisons(path, **options)

    def problem(**options: Any) -> Any:
        return gpo.ComparisonProblem.from_comparisons(data(), **options)

    for loss in ("dpo", "ipo", "exponential", "truncated_quadratic", "slic"):
        made[f"half {loss}"] = lambda loss=loss: _ranked(gpo.rank(problem(), loss))
    for ties in ("davidson", "rao-kupper"):
        made[ties] = lambda ties=ties: _ranked(gpo.rank(problem(), ties=ties))
    made["home"] = lambda: _ranked(gpo.rank(problem(position=True)))
    made["ridge"] = lambda: _ranked(gpo.rank(problem(), ridge=0.5, confidence=0.9))
    made["prior"] = lambda: _ranked(gpo.rank(problem(), prior=2.0))
    made["goodness"] = lambda: ranking.goodness(gpo.rank(problem()))
    made["held out"] = lambda: ranking.held_out(problem(), folds=4, seed=1)
    made["calibration"] = lambda: ranking.calibration(ranking.held_out(problem(), folds=4, seed=1), bins=5)
    made["noise"] = lambda: gpo.noise_tests(data(), simulations=29, seed=1)
    made["bootstrap"] = lambda: ranking.bootstrap([gpo.rank(problem())], resamples=30, seed=2)[0]
    made["sets"] = lambda: ranking.rank_sets(
        np.array([0.3, 0.1, -0.4]), 0.02 * np.eye(3), confidence=0.8, draws=300, seed=1
    )
    made["chances"] = lambda: gpo.rank(problem()).predict_proba(["p", "q"], ["s", "t"], outcomes=False)
    made["differences"] = lambda: table_of(gpo.rank(problem()).differences(["p", "q"], ["s", "t"]))
    return _each(made)


def _ranked(found: Any) -> Any:
    return [
        table_of(found.to_frame()),
        found.summary(),
        *(str(getattr(found, key, "")) for key in ("status", "reason")),
    ]


def of_gaussians() -> str:
    """Mixtures in one and two dimensions: divergences by every method, landscapes, descents, what is added up."""
    one = gpo.GaussianMixture([0.25, 0.75], [-1.0, 2.0], [0.5, 1.0])
    two = gpo.GaussianMixture([0.5, 0.5], [[-1.0, 0.0], [1.0, 0.5]], [1.0, 0.7])
    made: dict[str, Callable[[], Any]] = {
        "density": lambda: [
            one.log_prob([0.0, 1.5]),
            one.score([0.0, 1.5]),
            one.responsibilities([0.0, 1.5]),
            one.mean,
            one.covariance,
            one.formula(),
            one.latex(),
            one.sample(5, seed=3),
        ],
        "kl": lambda: gaussian.kl_estimate(one.shifted(0.3), one),
        "kl sampled": lambda: gaussian.kl_estimate(one.shifted(0.3), one, method="monte_carlo", samples=500, seed=1),
        "square": lambda: gaussian.mu_squared_loss_estimate(one.shifted(0.3), one, one.shifted(-1.0)),
        "kl in the plane": lambda: gaussian.kl_estimate(
            two.shifted([0.3, 0.1]), two, method="monte_carlo", samples=500
        ),
        "landscape": lambda: gpo.counterexample(width=0.6, mean=0.4, modes=(-2.0, 1.0), scale=0.7).landscape(
            points=201
        ),
        "descent": lambda: gpo.descend(one, one, one.shifted(1.0), start=1.0, steps=20, objective="kl"),
        "statistics": lambda: [statistics.share_interval(3, 20), statistics.mean_interval([1.0, 2.0, 4.0, 4.5])],
        "anova": lambda: statistics.anova(np.random.default_rng(1).normal(size=(3, 2, 4)), ["f", "beta"]),
        "shares": lambda: statistics.variance_shares(np.random.default_rng(1).normal(size=(3, 2, 4)), ["f", "beta"]),
    }
    return _each(made)


def of_conversions() -> str:
    """Every convention to the paper's, and designs of losses."""
    lines = []
    for one in gpo.list_conventions():
        for more in ({}, {"tokens": 20.0}):
            lines += [f"# {one.name} {more}", *_said(lambda one=one, more=more: _converted(one.name, more))]
    for wish in (
        {"kappa": 1},
        {"kappa": 0.5, "margin": 2},
        {"bounded_gradient": True},
        {"logit_link": True},
        {"convex": False},
    ):
        lines += [f"# {wish}", *_said(lambda wish=wish: str(gpo.design_loss(**wish)))]
    return "\n".join(lines)


def _converted(name: str, more: dict[str, float]) -> Any:
    target = "gpo:squared" if name.startswith("trl:ipo") else "gpo:logistic"
    found = gpo.convert_beta(0.3, name, target, **more)
    return [found.value, found.exact, found.loss_scale, found.needs_tokens, found.notes]


Z = sympy.Symbol("z", real=True)
FUNCTIONS = (
    "log(1+exp(-z))", "log(3+exp(-z)+exp(2*z))", "log(2*exp(z)+3+exp(-z))", "1/(1+exp(z))**2", "z*exp(-z**2)", "z**4-3*z**2+z",
    "exp(-z)*(z**2+1)", "sqrt(z**2+1)-z/2", "(z**2+1)**(1/3)", "1/(z**2+z+1)", "log(1+z**2)", "atan(z)-z/3", "erfc(z)+z",
    "tanh(z)**2", "cosh(z)-z**2", "sinh(z)/(1+cosh(z))", "z/(1+exp(-z))", "exp(-exp(z))", "log(cosh(z))-z/2", "(z-1)**3*(z+2)**2",
    "Max(0,1-z)**2+Max(0,z-2)**3", "Max(-z,z-1,z/2)", "Min(2,Max(0,1-z))-Min(0,z-3)", "Abs(z)-Abs(z-1)+Abs(z+2)/3", "z**2*Abs(z)",
    "Max(0,1-z**2)", "Max(z**2,1-z)", "-log(erfc(z))", "log(1+exp(z))**(3/2)", "exp(-Abs(z))", "z**3/(1+z**2)", "exp(2*z)-3*exp(z)",
)  # fmt: skip


def of_calculus(text: str) -> str:
    """Curvature, signs, limits, tails, pieces and expansions of a function, and where its bounds lie."""
    f = sympy.sympify(text, locals={"z": Z})
    cut = pieces_of(f, Z)
    ends = ((cut[-1].expression, 1), (cut[0].expression, -1))
    made: dict[str, Callable[[], Any]] = {
        "convexity": lambda: convexity_of(f, Z),
        "limits": lambda: [str(limit_at_infinity(g, Z, side)) for g, side in ends],
        "slopes": lambda: [str(limit_at_infinity(g.diff(Z), Z, side)) for g, side in ends],
        "pieces": lambda: [
            (str(part.expression), str(part.lower), str(part.upper), part.proved) for part in pieces_of(f, Z)
        ],
        "signs": lambda: [signs_on(part.expression, Z, part.lower, part.upper) for part in cut],
        "signs of the slope": lambda: [
            signs_on(part.expression.diff(Z), Z, part.lower, part.upper) for part in pieces_of(f, Z)
        ],
        "at 1/2": lambda: [str(value_at(f, Z, sympy.Rational(1, 2), side)) for side in (1, -1)],
    }
    lines = [f"## {text}"]
    for what, make in made.items():
        try:
            lines += [f"# {what}", *dumped(make())]
        except (ValueError, Undecided) as error:
            lines.append(f"refused: {error}")
    return "\n".join(lines)


WORLDS: dict[str, Callable[[], str]] = {
    **{f"optima {name}": partial(of_optima, name) for name in (
        "rewards", "own", "cycle", "certain", "all certain", "unseen", "contexts", "many", "islands", "sparse")},
    "links": of_links, "tables": of_tables, "training": of_training, "theory": of_theory, "estimates": of_estimates,
    "audits": of_audits, "preferences": of_preferences, "rankings": of_rankings, "gaussians": of_gaussians,
    "conversions": of_conversions, **{f"calculus {text}": partial(of_calculus, text) for text in FUNCTIONS},
}  # fmt: skip
assert {*CONVEX, "savage", "sba"} <= set(list_losses())
assert set(RATIOS) <= set(two_ratio_losses())
