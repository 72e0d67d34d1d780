"""One example of every kind of result, as users make it; what public functions return, by their signatures."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import re
import sys
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import numpy as np
import pandas as pd

import gpo_analysis as gpo
from gpo_analysis import analysis, estimation, gaussian, losses, ranking, tabular, training
from gpo_analysis.analysis import calibration, certainty
from gpo_analysis.datasets import load_journals
from gpo_analysis.gaussian import kl_estimate
from gpo_analysis.preferences import pair_shares
from gpo_analysis.showing import tables
from gpo_analysis.statistics import anova

PACKAGES = (
    "analysis", "preferences", "tabular", "gaussian", "training", "estimation", "ranking", "divergences", "statistics",
    "losses", "datasets", "solvers",
)  # fmt: skip

#: Public classes that need not show themselves, and why.
NO_RESULTS = {
    "Interval": "a number with its ends, written as one",
    "Regularizers": "functions of c; the landscape has their values",
    "Values": "arrays of one evaluation inside a landscape, which has them",
    "MixtureStack": "a stack of mixtures inside a family",
    "Tangent": "a derivative inside a family",
    "TrainState": "an optimizer's memory, to go on from; the trajectory has what is to be seen",
    "Claims": "data of the catalogue that tests try to refute; analyze says what is so",
}


def kinds() -> dict[type, str]:
    """Public classes with a value: those that packages export and those that public functions return."""
    found = {
        public: f"{package}.{name}"
        for package in PACKAGES
        for name, public in vars(importlib.import_module(f"gpo_analysis.{package}")).items()
        if inspect.isclass(public) and not name.startswith("_")
        and public.__module__.startswith(f"gpo_analysis.{package}") and dataclasses.is_dataclass(public)
    }  # fmt: skip
    return found | returned()


def returned() -> dict[type, str]:
    """Classes of this library that public functions and methods return, each with one that does."""
    found: dict[type, str] = {}
    for name, function in _functions():
        annotation = str(inspect.signature(function).return_annotation)
        for word in re.findall(r"\w+", annotation):
            kind = getattr(sys.modules[function.__module__], word, None)
            kind = getattr(tables, word, kind)  # named in annotations only, since its module imports pandas
            if not inspect.isclass(kind) or not kind.__module__.startswith("gpo_analysis"):
                continue
            if dataclasses.is_dataclass(kind) or issubclass(kind, pd.DataFrame):
                found.setdefault(kind, name)
    return found


def _functions() -> Iterator[tuple[str, Callable[..., Any]]]:
    for package in PACKAGES:
        module = importlib.import_module(f"gpo_analysis.{package}")
        for name in getattr(module, "__all__", None) or vars(module):
            public = getattr(module, name)
            if getattr(public, "__module__", "").startswith("gpo_analysis.showing"):
                continue  # a helper that a module without __all__ imports
            if inspect.isfunction(public) and not name.startswith("_"):
                yield name, public
            elif inspect.isclass(public) and public.__module__.startswith("gpo_analysis"):
                for method, member in inspect.getmembers(public, inspect.isfunction):
                    if not method.startswith("_"):
                        yield f"{name}.{method}", member


@cache
def problem() -> gpo.PreferenceProblem:
    return gpo.PreferenceProblem(gpo.bradley_terry([0.0, 1.0, 2.0]), items=["<a>", "b$", "c"])


@cache
def log() -> gpo.TrainingLog:
    step = np.repeat(np.arange(4.0), 8)
    noise = np.random.default_rng(0).normal(size=32)
    flat = np.full(32, -90.0)
    return gpo.TrainingLog(flat + step + noise, flat - step, flat, flat, step=step)


@cache
def ranked() -> gpo.Ranking:
    return gpo.rank(gpo.ComparisonProblem.from_comparisons(load_journals()))


@cache
def many_comparisons() -> gpo.Comparisons:
    return problem().sample(400, seed=1)


def _history() -> Any:
    import json
    import tempfile
    from pathlib import Path

    rows = [
        {"step": k, "loss": 0.69 - 0.01 * k, "rewards/chosen": 0.01 * k, "rewards/rejected": -0.01 * k,
         "rewards/margins": 0.02 * k, "rewards/accuracies": 0.5}
        for k in range(1, 6)
    ]  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trainer_state.json"
        path.write_text(json.dumps({"log_history": rows}), encoding="utf-8")
        return estimation.read_history(path)


def _audit() -> Any:
    from gpo_analysis.estimation.loss_log import loss_log

    margin = np.linspace(-2.5, 4.0, 60)
    return estimation.audit_log(loss_log({"margin": margin, "loss": np.maximum(0, 1 - margin)}))


def _deviation() -> Any:
    some = gpo.PreferenceProblem([[0.5] * 3] * 3, behavior=[0.5, 0.5, 0.0])
    return training.deviation(some, [1.0, -1.0, 0.0])


def _course() -> Any:
    limit = np.linspace(0, 1, 6)[:, None] * np.array([[0.5, 1.0, 2.0, 3.0]])
    return training.predicted_course("dpo", 0.1, limit[1:], range(1, 6))


def _sequences() -> Any:
    tree = tabular.PrefixTree(letters=2, depth=3, stop=0.5)
    reward = [float(word.startswith("a")) for word in tree.responses]
    return tabular.solve_sequences(tree, tree.problem(gpo.bradley_terry(reward)), "dpo", 0.5, reduction="mean")


def _grid_map() -> Any:
    return gpo.counterexample_family([0.5, 1.0, 3.0], [0.0, 1.5], points=401)


def _path() -> Any:
    g = gpo.counterexample()
    return gpo.descend(g.policy, g.reference, g.behavior, start=2.0, steps=50)


def _anova() -> Any:
    return anova(np.random.default_rng(0).normal(size=(2, 3, 4)), ["f", "beta"])["f"]


#: By class and module, since two classes share a name: how users come by one.
EXAMPLES: dict[str, Callable[[], Any]] = {
    "losses.MarginLoss": lambda: gpo.get_loss("dpo"),
    "losses.TwoRatioLoss": lambda: gpo.get_loss("bco_pair"),
    "losses.BatchLoss": lambda: losses.get_batch_loss("aot"),
    "divergences.GeneratorDerivative": lambda: gpo.get_link("chi"),
    "analysis.Calibration": lambda: calibration(gpo.get_loss("dpo")),
    "analysis.Conjugate": lambda: analysis.closed_conjugate(gpo.get_loss("dpo")),
    "analysis.OneSided": lambda: gpo.analyze("bco_pair").at_certainty,
    "tabular.PreferenceProblem": problem,
    "tabular.PrefixTree": lambda: tabular.PrefixTree(letters=2, depth=3, stop=0.5),
    "ranking.ComparisonProblem": lambda: ranked().problem,
    "preferences.Contests": lambda: many_comparisons().contests,
    "gaussian.LocationFamily": lambda: gaussian.LocationFamily(gpo.counterexample().policy),
    "gaussian.ParametricFamily": lambda: gaussian.ParametricFamily(lambda c: gpo.counterexample().policy.shifted(c)),
    "analysis.LossAnalysis": lambda: gpo.analyze("savage"),
    "analysis.TwoRatioAnalysis": lambda: gpo.analyze("bco_pair"),
    "analysis.PopulationExpansion": lambda: gpo.population_expansion("dpo"),
    "analysis.Certainty": lambda: certainty("ipo"),
    "analysis.DesignProof": lambda: gpo.prove_design(gpo.design_loss(kappa=1), kappa=1)[0],
    "analysis.BetaConversion": lambda: gpo.convert_beta(0.1, "trl:ipo", "gpo:ipo"),
    "analysis.BetaConvention": lambda: gpo.list_conventions()[0],
    "preferences.Diagnostics": lambda: gpo.diagnostics(gpo.cyclic(4, 0.4), items=["<a>", "b$", "c", "d"]),
    "preferences.Comparisons": many_comparisons,
    "preferences.DirectedPairs": lambda: problem().directed_pairs(),
    "preferences.PairCounts": lambda: many_comparisons().pair_counts(),
    "preferences.PairShares": lambda: pair_shares(many_comparisons()),
    "preferences.HodgeSplit": lambda: gpo.diagnostics(gpo.cyclic(5, 0.4)).hodge,
    "tabular.Solution": lambda: problem().solve("dpo", 0.5),
    "tabular.SelfConsistentKTO": lambda: tabular.self_consistent_kto(
        gpo.PreferenceProblem([[0.5, 0.8], [0.2, 0.5]]), 0.5
    ),
    "tabular.Fit": lambda: problem().fit("ipo"),
    "tabular.Frontier": lambda: tabular.reward_frontier([0.0, 1.0, 3.0], [0.2, 0.3, 0.5]),
    "tabular.LinkFlow": lambda: tabular.link_flow(problem(), "dpo", 1.0, "chi", duration=50.0),
    "tabular.RegularizerMismatch": lambda: tabular.regularizer_mismatch(
        np.log([0.7, 0.2, 0.1]), np.log([0.4, 0.3, 0.3]), [0.2, 0.3, 0.5], np.eye(3)
    ),
    "tabular.FeatureSolution": lambda: gpo.solve_features(problem(), [[1.0], [0.0], [0.5]], "dpo", 1.0),
    "tabular.NashSolution": lambda: gpo.nash_policy(gpo.cyclic(3, 0.4), [0.5, 0.3, 0.2], 0.1),
    "tabular.GradientIdentity": lambda: tabular.gradient_identity([1.0, 0.0, 0.0], [0.2, 0.3, 0.5], [0.2, 0.3, 0.5]),
    "tabular.SequenceSolution": _sequences,
    "tabular.RestrictedOptimum": lambda: tabular.restricted_optimum(
        [0.0, 2.0, 1.0], [1 / 3] * 3, [[0.0], [1.0], [2.0]], beta=0.5
    ),
    "gaussian.Counterexample": gpo.counterexample,
    "gaussian.FamilyMap": _grid_map,
    "gaussian.Landscape": lambda: gpo.counterexample().landscape(points=401),
    "gaussian.LocalMinimum": lambda: gpo.counterexample().landscape(points=401).kl_minima[0],
    "gaussian.DescentPath": _path,
    "gaussian.Estimate": lambda: kl_estimate(gpo.counterexample().policy.shifted(1.0), gpo.counterexample().reference),
    "gaussian.GaussianMixture": lambda: gpo.GaussianMixture([0.25, 0.75], [-1.0, 2.0], [0.5, 1.0]),
    "training.Trajectory": lambda: gpo.train(problem(), "dpo", 0.5, steps=100, learning_rate=1.0),
    "training.Course": _course,
    "training.Deviation": _deviation,
    "training.EarlyPhase": lambda: training.early_phase(problem(), "dpo", 0.5),
    "training.LocalRates": lambda: training.local_rates(problem(), "dpo", 0.5),
    "training.SelfPlay": lambda: training.self_play(gpo.cyclic(3, 0.4), [0.5, 0.3, 0.2], 0.5, rate=0.2, steps=40),
    "estimation.Asymptotics": lambda: estimation.asymptotics(problem(), "dpo"),
    "estimation.SampledFits": lambda: estimation.sampled_fits(problem(), "dpo", 100, 40, seed=0),
    "estimation.BetaRecommendations": lambda: gpo.recommend_beta(many_comparisons(), kl=0.3, resamples=20),
    "estimation.BetaRecommendation": lambda: gpo.recommend_beta(many_comparisons(), kl=0.3, resamples=20).rows[0],
    "estimation.LoggedBeta": lambda: estimation.beta_from_log(log(), "dpo", 0.1, margin=2.0, resamples=20),
    "estimation.ComparisonFits": lambda: gpo.fit_comparisons(load_journals()),
    "estimation.FitDifference": lambda: gpo.fit_comparisons(load_journals()).differences[0],
    "estimation.LossAudit": _audit,
    "estimation.LossChoice": lambda: gpo.choose_loss(many_comparisons(), folds=3),
    "estimation.HeldOut": lambda: gpo.choose_loss(many_comparisons(), folds=3).rows[0],
    "estimation.History": _history,
    "estimation.TrainingLog": log,
    "estimation.ScoreIntervals": lambda: gpo.bootstrap_scores(load_journals(), "dpo", resamples=40),
    "estimation.Diagnosis": lambda: gpo.diagnose(log(), "dpo", 0.1, resamples=20),
    "estimation.MeanDiagnosis": lambda: gpo.diagnose(_history(), "dpo", 0.1),
    "ranking.Ranking": ranked,
    "ranking.Calibration": lambda: ranking.calibration(ranking.held_out(ranked().problem)),
    "ranking.Goodness": lambda: ranking.goodness(ranked()),
    "ranking.HeldOutVotes": lambda: ranking.held_out(ranked().problem),
    "ranking.NoiseTests": lambda: gpo.noise_tests(load_journals(), simulations=19),
    "ranking.NoiseTest": lambda: gpo.noise_tests(load_journals(), simulations=19).misfit,
    "ranking.RankSets": lambda: ranked().ranks,
    "ranking.ScoreIntervals": lambda: ranked().intervals,
    "ranking.BootstrapScores": lambda: ranking.bootstrap([ranked()], resamples=40)[0],
    "statistics.Effect": _anova,
    "showing.SolutionGrid": lambda: gpo.solve_grid([problem()] * 2, ["dpo", "ipo", "exp(-z)"], [0.1, 1.0, 10.0]),
    "showing.ScoreDifferences": lambda: ranked().differences([0, 1], [1, 2]),
    "showing.ModelComparison": lambda: ranking.compare_models(ranked().problem, ["logistic", "squared"]),
}


@cache
def example(name: str) -> Any:
    """The example of that name, made once."""
    return EXAMPLES[name]()


def name_of(kind: type) -> str:
    return f"{kind.__module__.split('.')[1]}.{kind.__name__}"
