"""Numbers of docs/findings.md and README.md that rest on a reading of committed tables, worked out from these again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from gpo_analysis.runs import latest_record

ROOT = Path(__file__).parents[2]
FINDINGS = (ROOT / "docs" / "findings.md").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")


def table(name: str) -> pd.DataFrame:
    return latest_record(ROOT / "results", name).table


def student(values: pd.Series[float] | list[float]) -> tuple[float, float, float]:
    x = np.asarray(values, dtype=float)
    low, high = stats.t.interval(0.95, len(x) - 1, loc=x.mean(), scale=stats.sem(x))
    return float(x.mean()), float(low), float(high)


def minus(text: str) -> str:
    return text.replace("-", "−")


def test_off_bradley_terry() -> None:
    rows = table("not-bradley-terry").query("part == 'structures' and loss != 'hinge'")
    keys = ["structure", "level", "number"]
    fitted = rows[rows["known"].astype(bool)].copy()
    base = fitted[fitted["loss"] == "logistic"].set_index(keys)["winner"].rename("base")
    fitted = fitted.join(base, on=keys)
    fitted["other"] = fitted["winner"] != fitted["base"]
    problems = fitted.groupby(keys).agg(other=("other", "any"), strong=("strongly_transitive", "first"))
    loose = problems[~problems["strong"].astype(bool)].reset_index()
    value, low, high = (100 * x for x in student(loose.groupby("number")["other"].mean()))
    assert f"in {value:.1f} % [{low:.1f}, {high:.1f}] of the preferences that are not strongly transitive" in FINDINGS
    assert not problems.loc[problems["strong"].astype(bool), "other"].any()
    assert f"in none of {int(problems['strong'].sum())} others" in FINDINGS
    counts = fitted.groupby("loss")["other"].sum()
    words = f"Only exponential (on {counts['exponential']} problems) and Savage ({counts['savage']})"
    assert words in FINDINGS
    assert counts[["squared", "truncated_quadratic"]].sum() == 0
    lacking = rows[~rows["known"].astype(bool)].set_index(keys).index
    undecided = int((~loose.set_index(keys).loc[lacking, "other"]).sum())
    assert f"On {undecided} of the {len(loose):,} Savage alone" in FINDINGS
    assert f"(at least {value:.0f} % of those, and only exponential and Savage do)" in README


def test_beta_or_f_about_the_best() -> None:
    rows = table("beta-or-f").query("part == 'share' and outcome == 'win_rate'")
    intervals = rows[rows["effect"] == "f - beta near"]
    told = {}
    for scale, own in rows[np.isclose(rows["decades"], 0.5)].groupby("scale"):
        wide = own.pivot_table(index=["problem", "labels"], columns="effect", values="share", aggfunc="first")
        ends = intervals[intervals["scale"] == scale]
        told[scale] = (*(100 * wide[["f", "beta"]].mean()), (wide["f"] >= wide["beta"]).sum(), (ends["low"] > 0).sum())
    f, beta, ahead, beyond = told["beta"]
    assert f"at equal β f {f:.1f} % and β {beta:.1f} %, f the more in {ahead} of 24 settings" in FINDINGS
    assert (beyond, "and by its interval in four" in FINDINGS) == (4, True)
    f, beta, ahead, beyond = told["strength"]
    assert f"at equal βκ {f:.1f} and {beta:.1f} %, f the more in {ahead} of 24" in FINDINGS
    assert (beyond, "and by its interval in none" in FINDINGS) == (0, True)
    near = rows[np.isclose(rows["decades"], 0.5) & rows["effect"].isin(["f", "beta"])]
    most = 100 * near["share"].max()
    assert f"Neither has more than {most:.1f} % in any setting" in FINDINGS
    assert near.groupby(["scale", "effect"])["share"].mean().max() < 0.0115
    assert "some 1 % of the variance or less (mean over settings, in none more than 4.3 %;" in README
    below = int((intervals.loc[intervals["scale"] == "strength", "high"] < 0).sum())
    assert (below, "β by its in three" in FINDINGS) == (3, True)
    curves = table("beta-or-f").query("part == 'curve'")
    whole = curves[curves.groupby(["problem", "labels", "loss"])["lost"].transform("max") == 0]
    for _, own in whole.groupby("scale"):
        means = own.pivot_table(index=["problem", "labels"], columns="grid", values="win_rate")
        assert (means.idxmax(axis=1) == means.columns.min()).sum() == 22
        assert (means.idxmax(axis=1) == means.columns.max()).sum() == 0
    assert "in 22 of the 24 settings the win rate of exact policies is highest at the low end of the grid" in FINDINGS


def test_main_effects_and_what_they_leave_out() -> None:
    rows = table("beta-or-f").query("part == 'share' and outcome == 'win_rate' and decades > 2.9")
    whole = rows[rows["scale"] == "beta"].pivot_table(index=["problem", "labels"], columns="effect", values="share")
    assert (whole["beta"] > whole["f"]).all()
    with_theirs = whole["f"] + whole["f:beta"]
    more = with_theirs[with_theirs > whole["beta"]]
    assert more.index.tolist() == [("strong", 1)]
    assert f"f with its interaction with β has more, {100 * more.iloc[0]:.0f} %" in FINDINGS
    lacking = rows.groupby(["problem", "labels"])["losses"].min() < 6
    assert (int(lacking.sum()), "ten leave out Savage" in FINDINGS) == (10, True)


def test_squares_of_language_models() -> None:
    rows = table("llm-kl-and-mu-square").query("kind == 'measured' and kl >= 1")
    ratios = np.log(rows["offline"] / rows["mu_squared_loss_on_policy"])
    assert f"smaller at {(ratios < 0).sum()} of {len(ratios)} checkpoints" in FINDINGS
    same = rows.duplicated(["seed", "step", "kl", "offline"], keep=False)
    assert (set(rows.loc[same, "loss"]), same.sum()) == ({"squared", "truncated_quadratic"}, 2 * 4)
    assert "(four of them one policy by two losses, squared and truncated quadratic, counted twice)" in FINDINGS
    first, second, third = ratios.groupby(rows["seed"]).median()
    assert minus(f"the median {first:.2f}, {second:.2f} and {third:.2f} by seed") in FINDINGS
    rng, left = np.random.default_rng(0), []
    for _, own in rows.groupby("seed"):
        error = np.sqrt(2) * (own["mu_squared_loss_on_policy_stderr"] / own["mu_squared_loss_on_policy"]).to_numpy()
        noise = np.median(np.abs(rng.normal(size=(40_000, len(error))) * error))
        left.append(float(ratios[own.index].abs().median() - noise))
    shown = [float(word) for word in FINDINGS.partition("the two squares is ")[2].split(" in size")[0].translate(
        str.maketrans("[],", "   ")).split()]  # fmt: skip
    assert student(left) == pytest.approx(shown, abs=0.012)


def test_the_margin_of_equality() -> None:
    rows = table("llm-equal-when-tuned")
    pairs, tuned = rows[rows["kind"] == "pair"], rows[rows["kind"] == "tuned"]
    beside = pairs[(pairs["low"] > 0) | (pairs["high"] < 0)]
    lower = beside["loss"].where(beside["value"] < 0, beside["other"])
    assert (len(beside), (beside["trained"] == 64).sum(), (lower == "squared").sum()) == (7, 6, 6)
    assert "Seven of the 60 intervals exclude 0, six of them with 64 prompts; in six squared is the lower" in FINDINGS
    assert "7 of the 60 intervals exclude 0, in six of them squared is the lower" in README
    share = {}
    for (measure, trained), own in tuned.groupby(["measure", "trained"]):
        gain = own["value"] - 0.5
        share[measure, trained] = [f"{3 / gain.max():.0f}", f"{3 / gain.min():.0f}"]
        if trained == 64:
            assert f"({gain.min():.3f} to {gain.max():.3f})" in FINDINGS
    (a, b), (c, d) = share["tilt", 64], share["own", 64]
    assert f"{a} to {b} % of what tuning gains over πref by the tilt" in FINDINGS
    assert f", {c} to {d} % by own samples" in FINDINGS
    (e, f), (g, h) = share["tilt", 512], share["own", 512]
    assert f"it is {e} to {f} and {g} to {h} %" in FINDINGS
    assert f"{a} to {d} % of what tuning gains over πref, with 512 {e} to {h} %" in README


def test_runaways() -> None:
    policies = table("llm-equal-when-tuned").query("kind == 'policy'")
    away = policies["status"] != "ok"
    worst = away.groupby(policies["seed"]).mean().max()
    count = int((policies["seed"] == policies["seed"].iloc[0]).sum())
    assert f"from none to {100 * worst:.0f} % of a seed's {count} policies" in FINDINGS
    least = policies[(policies["strength"] == policies["strength"].min()) & (policies["loss"] != "hinge")]
    seeds, many = [], []
    for _, own in least.groupby("trained"):
        ran = own["status"] == "ok"
        seeds.append(int(ran.groupby(own["seed"]).all().sum()))
        many.append(int((~ran).sum()))
    assert f"over the {seeds[0]} and the {seeds[1]} of 20 seeds" in FINDINGS
    assert f"{many[0]} and {many[1]} of 100 policies did" in FINDINGS


def test_ones_own_data() -> None:
    rows = table("own-data").query("part == 'beta'")
    rows = rows.assign(hit=(rows["low"] <= rows["true"]) & (rows["true"] <= rows["high"]))
    hinge = rows[rows["what"] == "hinge"]
    found = stats.binomtest(int(hinge["hit"].sum()), len(hinge)).proportion_ci(method="wilson")
    assert f"Hinge's do not: {hinge['hit'].mean():.3f} [{found.low:.3f}, {found.high:.3f}]" in FINDINGS
    smooth = rows[rows["what"] != "hinge"]
    half = np.log(smooth["high"] / smooth["low"]).groupby([smooth["size"], smooth["what"]]).mean() / 2
    few, many = (100 * np.expm1(half.xs(size)) for size in (200, 1000))
    words = f"{few.min():.0f} to {few.max():.0f} % either way by loss, 1,000 to {many.min():.0f} to {many.max():.0f} %"
    assert f"200 labels fix β to {words}" in FINDINGS
    assert f"to {few.min():.0f} to {few.max():.0f} %, 1,000 to {many.min():.0f} to {many.max():.0f} %" in README
    cover = smooth[smooth["size"] == 200].groupby("what")["hit"].mean()
    assert f"with 200 ({cover.min():.2f} to {cover.max():.2f}) that is undecided" in FINDINGS


def test_over_optimisation_holds_by_its_tolerance() -> None:
    checks = latest_record(ROOT / "results", "over-optimisation").meta["checks"]
    (claim,) = [check for check in checks if "κbλ integrated" in check["claim"]]
    parts = claim["parts"]
    assert len(parts) == 5
    assert all(part["high"] < part["predicted"] for part in parts)
    off = [100 * (1 - part["computed"] / part["predicted"]) for part in parts]
    assert f"below their predictions, by {min(off):.0f} to {max(off):.0f} %" in FINDINGS
