"""What is said of several losses before they are fitted or trained: that two are one function, that one rises."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable
from typing import Any

import pytest

import gpo_analysis as gpo
from gpo_analysis.losses import (
    BatchLoss,
    RisingLossWarning,
    get_loss,
    list_losses,
    refuse_repeated,
    same_function,
    warn_of_rising,
)

PROBLEM = gpo.PreferenceProblem([[0.5, 0.8, 0.7], [0.2, 0.5, 0.6], [0.3, 0.4, 0.5]])
GAMES = gpo.Comparisons.from_counts([[0, 7, 8], [3, 0, 6], [2, 4, 0]])
RISING = "sqrt(1+(1+z)**2)"  # f(−z) of a loss that falls


@pytest.mark.parametrize(
    "text",
    ["logistic", "log(1+exp(-z))", "-log(sigmoid(z))", "softplus(-z)", "log(exp(-z)+1)", "-logsigmoid(z)",
     "log(2*cosh(z/2)) - z/2", "log(1+exp(b-a))"],
)  # fmt: skip
def test_one_function_in_many_words(text: str) -> None:
    assert same_function("dpo", text)
    assert same_function(text, get_loss("logistic"))
    for other in ("ipo", "savage", "2*log(1+exp(-z))", "log(1+exp(-2*z))", "log(1+exp(-z)) + 1e-6*z", "bco_pair"):
        assert not same_function(other, text)


def test_no_two_of_the_catalogue_are_one_but_where_a_name_says_so() -> None:
    alike = [pair for pair in itertools.combinations(list_losses(), 2) if same_function(*pair)]
    assert not alike


def test_two_log_ratios() -> None:
    assert same_function("log(1+exp(-a)) + b**2", "b**2 + log(1+exp(-a))")
    assert same_function("log(1+exp(-a)) + b**2", "b**2 - log(sigmoid(a))")
    assert not same_function("log(1+exp(-a)) + b**2", "log(1+exp(-a)) + a**2")


TAKERS: dict[str, Callable[[list[Any]], Any]] = {
    "solve_grid": lambda losses: gpo.solve_grid(PROBLEM, losses, [1.0]),
    "rank_all": lambda losses: gpo.ranking.rank_all(gpo.ComparisonProblem.from_comparisons(GAMES), losses),
    "fit_comparisons": lambda losses: gpo.fit_comparisons(GAMES, losses),
    "choose_loss": lambda losses: gpo.choose_loss(GAMES, losses, folds=2, resamples=5),
    "recommend_beta": lambda losses: gpo.recommend_beta(GAMES, kl=0.1, losses=losses, resamples=5),
}


@pytest.mark.parametrize("taker", TAKERS)
@pytest.mark.parametrize("again", ["logistic", "dpo", get_loss("logistic")])
def test_one_name_twice_is_refused_where_several_are_compared(taker: str, again: Any) -> None:
    with pytest.raises(ValueError, match="losses: logistic is there twice; accepted is each name once"):
        TAKERS[taker](["dpo", "squared", again])


@pytest.mark.parametrize("again", ["log(1+exp(-z))", get_loss("-log(sigmoid(z))")])
def test_one_function_under_two_names_is_computed_twice_and_trained_once(again: Any) -> None:
    table = gpo.solve_grid(PROBLEM, ["dpo", again], [0.5, 1.0])
    assert table["kl"].to_numpy()[:2] == pytest.approx(table["kl"].to_numpy()[2:], rel=1e-12)
    with pytest.raises(ValueError, match=r"losses: dpo and .*are one function, f\(z\) = log\(1 \+ exp\(-z\)\)"):
        refuse_repeated(["dpo", "squared", again])
    with pytest.raises(ValueError, match="dpo is there twice; accepted is each once"):
        refuse_repeated(["dpo", "squared", "dpo"])


def test_what_differs_is_not_refused() -> None:
    refuse_repeated(["dpo", "ipo", "log(1+exp(-2*z))"])
    assert set(gpo.solve_grid(PROBLEM, ["dpo", "rescaled(dpo)"], [1.0])["loss"]) == {"logistic", "rescaled(logistic)"}


WARNED: dict[str, Callable[[str], Any]] = {
    "solve": lambda f: PROBLEM.solve(f, 1.0),
    "fit": lambda f: PROBLEM.fit(f),
    "gpo.fit": lambda f: gpo.fit([PROBLEM] * 3, [f, "dpo"]),
    "solve_grid": lambda f: gpo.solve_grid([PROBLEM] * 3, [f, "dpo"], [0.5, 1.0, 2.0]),
    "fit_comparisons": lambda f: gpo.fit_comparisons(GAMES, [f, "dpo"]),
    "choose_loss": lambda f: gpo.choose_loss(GAMES, [f, "dpo"], folds=2, resamples=5, smoothing=0.1),
    "bootstrap_scores": lambda f: gpo.bootstrap_scores(GAMES, f, resamples=5),
    "recommend_beta": lambda f: gpo.recommend_beta(GAMES, kl=0.1, losses=[f, "dpo"], resamples=5),
    "rank": lambda f: gpo.rank(GAMES, f),
    "train": lambda f: gpo.train(PROBLEM, f, 0.5, learning_rate=0.1, steps=3),
    "train_many": lambda f: gpo.train_many([PROBLEM] * 3, f, 0.5, learning_rate=0.1, steps=3),
}


@pytest.mark.parametrize("name", WARNED)
def test_a_rising_loss_is_warned_of_once(name: str) -> None:
    """Once a loss, whatever the numbers of problems, β and runs, and at the line that asked."""
    with pytest.warns(RisingLossWarning, match="not below 0: from πref on it does not push chosen") as said:
        WARNED[name](RISING)
    assert len(said) == 1
    assert said[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        WARNED[name]("sqrt(1+(1-z)**2)")


def test_losses_of_two_log_ratios_and_of_a_batch_rise_too() -> None:
    with pytest.warns(RisingLossWarning, match="does not push chosen above rejected") as said:
        gpo.solve_grid(PROBLEM, ["log(1+exp(a)) + log(1+exp(-b))"], [0.5, 1.0])
    assert len(said) == 1
    with pytest.warns(RisingLossWarning, match="does not push"):
        warn_of_rising([BatchLoss("aot", get_loss(RISING))])


def test_functions_that_differ_in_the_seventh_digit_are_two() -> None:
    assert same_function("exp(-z)", "(1+1e-10)*exp(-z)")
    assert not same_function("exp(-z)", "(1+1e-7)*exp(-z)")
    assert same_function("exp(-a)+exp(b)", "(1+1e-10)*exp(-a)+exp(b)")
    assert not same_function("exp(-a)+exp(b)", "(1+1e-7)*exp(-a)+exp(b)")
