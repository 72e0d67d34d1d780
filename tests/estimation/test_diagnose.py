"""Reading training logs, and what is found in logs made to have it."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from scipy.stats import linregress, spearmanr

import gpo_analysis as gpo
from gpo_analysis.estimation.diagnose import alternative

RNG = np.random.default_rng(0)
N = 400
LENGTHS = RNG.integers(5, 50, (2, N)).astype(float)
CHANGE = np.stack([RNG.normal(-1, 1, N) + 0.05 * LENGTHS[0] - 1.5, RNG.normal(-5, 1, N) + 0.05 * LENGTHS[1] - 1.5])
REFERENCE = -2 * LENGTHS - 10
LOG = gpo.TrainingLog(*(REFERENCE + CHANGE), *REFERENCE, *LENGTHS)


def test_numbers_against_numpy_and_scipy() -> None:
    found = gpo.diagnose(LOG, "dpo", 0.5, resamples=200)
    rho = CHANGE[0] - CHANGE[1]
    assert found.rho_quantiles[0.95] == pytest.approx(np.quantile(rho, 0.95))
    assert found.mu_squared_loss.value == pytest.approx(np.mean(rho**2) / 2)
    assert found.beyond_taylor == pytest.approx(np.mean(abs(0.5 * rho) > np.pi))
    assert found.chosen_falling.value == pytest.approx(np.mean(CHANGE[0] < 0))
    x = LENGTHS[0] - LENGTHS[1]
    assert found.length_correlation is not None
    assert found.length_slope is not None
    assert found.length_correlation.value == pytest.approx(spearmanr(rho, x).statistic)
    assert found.length_slope.value == pytest.approx(linregress(x, rho).slope)
    assert 0.05 in found.length_slope
    half = 1.96 * rho.std() / np.sqrt(N)
    assert found.chosen_change.high - found.chosen_change.low == pytest.approx(
        2 * half * CHANGE[0].std() / rho.std(), rel=0.2
    )


def test_planted_faults_are_told() -> None:
    words = " ".join(gpo.diagnose(LOG, "dpo", 2.0, resamples=100).findings)
    assert "chosen responses have become less likely" in words
    assert "rejected ones fall faster" in words
    assert "towards longer responses" in words
    assert "beyond the radius" not in words or "second-order picture" in words
    still = gpo.TrainingLog(*REFERENCE, *REFERENCE)
    assert "same log-probabilities on every pair" in " ".join(gpo.diagnose(still, resamples=50).findings)
    noise = gpo.TrainingLog(*(REFERENCE + RNG.normal(0, 0.2, REFERENCE.shape)), *REFERENCE)
    assert gpo.diagnose(noise, resamples=50).findings == ("nothing stands out",)
    swapped = gpo.TrainingLog(*(REFERENCE + CHANGE)[::-1], *REFERENCE[::-1])
    assert "swapped" in " ".join(gpo.diagnose(swapped, resamples=50).findings)


def test_alternatives_by_hand() -> None:
    rho = np.array([-1.0, 0.0, 1.0, 4.0])
    row = alternative(gpo.get_loss("ipo"), 0.5, rho)  # f′ = 2(z − 1): −3, −2, −1, 2
    assert row["mean_slope"] == pytest.approx((3 + 2 + 1 - 2) / 4 / 2)
    assert row["pulled_back"] == 0.25
    assert row["mean_loss"] == pytest.approx((1.5**2 + 1 + 0.5**2 + 1) / 4)
    assert row["mean_weight"] == pytest.approx((3 + 2 + 1 + 2) / 4)
    assert row["beta_kappa"] == 0.5
    assert row["taylor_cosine"] == pytest.approx(1.0)
    assert row["beyond_taylor"] == 0.0
    hinge = alternative(gpo.get_loss("slic"), 0.5, rho)
    assert (hinge["idle"], hinge["beyond_taylor"]) == (0.25, 0.25)
    assert hinge["largest_beta"] == pytest.approx(1 / np.quantile(abs(rho), 0.95))


def test_margins_beyond_any_float_are_no_error() -> None:
    far = alternative(gpo.get_loss("exponential"), 10.0, np.array([-900.0, 900.0]))
    assert far["mean_loss"] == far["mean_weight"] == np.inf
    assert alternative(gpo.get_loss("slic"), 10.0, np.array([-900.0, 900.0]))["mean_loss"] == 4500.5


def test_the_course_is_told_by_step() -> None:
    steps = np.repeat(np.arange(25.0), 16)
    falling = REFERENCE[0] - 0.1 * steps
    log = gpo.TrainingLog(falling, REFERENCE[1] - 0.2 * steps, *REFERENCE, *LENGTHS, steps)
    found = gpo.diagnose(log, resamples=20)
    assert [row["chosen_change"] for row in found.steps] == pytest.approx(-0.1 * np.arange(25))
    lines = str(found).splitlines()
    head = next(k for k, line in enumerate(lines) if line.split()[:1] == ["step"])
    assert [float(lines[head + k].split()[2]) for k in (1, 10)] == [0.0, -2.4]
    assert lines[head + 11] == ""


def test_files_of_either_kind_say_the_same(tmp_path: Path) -> None:
    rows = [
        {"chosen_logps": c, "rejected_logps": r, "ref_chosen_logps": a, "ref_rejected_logps": b, "step": s, "x": "?"}
        for s in (0, 10)
        for c, r, a, b in zip(*(REFERENCE + s / 10 * CHANGE), *REFERENCE, strict=True)
    ]
    text = "\n".join(json.dumps(row) for row in rows)
    (tmp_path / "log.jsonl").write_text(text)
    with gzip.open(tmp_path / "log.jsonl.gz", "wt") as file:
        file.write(text)
    lines = [",".join(rows[0]), *(",".join(str(v) for v in row.values()) for row in rows)]
    (tmp_path / "log.csv").write_text("\n".join(lines))
    found = [gpo.diagnose(tmp_path / name, resamples=20) for name in ("log.jsonl", "log.jsonl.gz", "log.csv")]
    told = [one.to_dict() for one in found]
    reports = [one.pop("report") for one in told]
    assert told[0] == told[1] == told[2]
    assert [(r["format"], r["not_used"]) for r in reports] == [("JSON lines", ["x"])] * 2 + [("CSV (commas)", ["x"])]
    assert found[0].step == 10
    assert [row["step"] for row in found[0].steps] == [0, 10]
    assert found[0].steps[0]["mean_rho"] == 0
    assert found[0].mu_squared_loss.value == pytest.approx(np.mean((CHANGE[0] - CHANGE[1]) ** 2) / 2)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "holds no rows"),
        ("policy_chosen,policy_rejected\n-1,-2\n", "missing reference_chosen"),
        ("policy_chosen,policy_rejected,ref_chosen,ref_rejected\n-1,-2,-3,x\n", "line 2: reference_rejected is 'x'"),
        ("policy_chosen,policy_rejected,ref_chosen,ref_rejected\n-1,-2,-3,nan\n", "finite"),
        ("policy_chosen,policy_rejected,ref_chosen,ref_rejected\n1,-2,-3,-4\n", "at most 0"),
        ("policy_chosen,policy_rejected,ref_chosen,ref_rejected\n-1,-2\n", "line 2: 2 fields, but the header has 4"),
        ("policy_chosen,policy_rejected,ref_chosen,ref_rejected,chosen_length\n-1,-1,-1,-1,2\n", "go together"),
    ],
)
def test_malformed_logs_are_named(tmp_path: Path, text: str, word: str) -> None:
    path = tmp_path / "log.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=word) as caught:
        gpo.diagnose(path)
    assert "log.csv" in str(caught.value)


def made_up_run(loss: str, beta: float, step: int) -> gpo.TrainingLog:
    """A log of a run whose margins are those of one direction at a constant rate of Adam."""
    u = np.random.default_rng(5).normal(1.0, 1.5, 300)
    u = u / u.mean()
    rho = gpo.training.predicted_course(loss, beta, 2.0 * u[None], [step]).margins[0]
    flat = np.full(300, -50.0)
    return gpo.TrainingLog(flat + rho, flat, flat, flat, step=np.full(300, float(step)))


def test_where_other_runs_would_be() -> None:
    found = gpo.diagnose(
        made_up_run("dpo", 0.05, 400), "dpo", 0.05, losses=["dpo", "ipo", "savage"], betas=[0.05, 0.2], resamples=20
    )
    for row in found.others:
        other = made_up_run(row["loss"], row["beta"], 400).rho
        assert row["mean_rho"] == pytest.approx(other.mean(), rel=2e-3)
        assert row["mu_squared_loss"] == pytest.approx(np.mean(other**2) / 2, rel=4e-3)
    assert found.others[0]["mean_rho"] == pytest.approx(made_up_run("dpo", 0.05, 400).rho.mean(), rel=2e-3)
    assert "run of its own" in str(found)
    assert json.loads(json.dumps(found.to_dict()))["others"][0]["loss"] == "logistic"


def test_where_other_runs_cannot_be_told() -> None:
    flat = np.full(50, -9.0)
    backwards = gpo.TrainingLog(flat - 3.0, flat, flat, flat)
    assert gpo.diagnose(backwards, "dpo", 0.1, resamples=20).others == ()
    rest = gpo.TrainingLog(flat + 5.0, flat - 5.0, flat, flat)  # IPO at β = 0.1 with ρ = 1/β
    assert gpo.diagnose(rest, "ipo", 0.1, resamples=20).others == ()
    assert "cannot be told" in str(gpo.diagnose(rest, "ipo", 0.1, resamples=20))


def test_many_pairs_are_followed_by_their_quantiles() -> None:
    from gpo_analysis.estimation.others import other_runs

    f, rho = gpo.get_loss("dpo"), np.random.default_rng(0).normal(0.5, 1.0, 20_000)
    many, few = (other_runs(f, 0.1, rows, 100.0, [(f, 0.5)])[0]["mean_rho"] for rows in (rho, rho[:500]))
    assert many == pytest.approx(few, rel=0.2)
    assert many < rho.mean()


@pytest.mark.parametrize(("slope", "words"), [(0.05, "longer"), (-0.05, "shorter"), (0.0, None)])
def test_a_drift_of_lengths_is_said_where_its_interval_leaves_zero(slope: float, words: str | None) -> None:
    rng = np.random.default_rng(5)
    lengths = rng.integers(5, 60, (2, 400)).astype(float)
    change = slope * lengths + rng.normal(size=lengths.shape)
    log = gpo.TrainingLog(*(change - 2 * lengths), *(-2 * lengths), *lengths)
    said = " ".join(gpo.diagnose(log, resamples=100).findings)
    if words is None:
        assert "responses: Spearman" not in said
    else:
        assert f"towards {words} responses" in said


def test_lengths_that_all_differ_by_the_same_are_no_drift() -> None:
    rng = np.random.default_rng(6)
    change, lengths = rng.normal(size=(2, 50)), np.full((2, 50), 7.0)
    found = gpo.diagnose(gpo.TrainingLog(*(change - 2 * lengths), *(-2 * lengths), *lengths), resamples=20)
    assert found.length_correlation is None
    assert "nan" not in str(found)


def test_the_run_s_own_loss_has_rows_and_is_marked() -> None:
    log = gpo.TrainingLog(*(REFERENCE + CHANGE), *REFERENCE)
    own = gpo.parse_loss("log(cosh(1-z))")
    found = gpo.diagnose(log, own, 0.2, resamples=20)
    mine = [row for row in found.alternatives if row["loss"] == own.name]
    assert [row["beta"] for row in mine] == pytest.approx([0.2 / 3, 0.2, 0.6])
    assert [(row["loss"], row["beta"]) for row in found.alternatives if row["of_run"]] == [(own.name, 0.2)]
    assert [(row["loss"], row["beta"]) for row in found.others if row["of_run"]] == [(own.name, 0.2)]
    z = 0.2 * log.rho  # f′ = −tanh(1 − z)
    assert mine[1]["mean_weight"] == pytest.approx(np.abs(np.tanh(1 - z)).mean(), rel=1e-9)
    assert mine[1]["largest_margin"] == pytest.approx(np.abs(z).max())
    marked = [line for line in str(found).splitlines() if line.endswith("← the run's")]
    assert len(marked) == 2
    assert all(line.startswith(own.name) for line in marked)
    for losses, betas, rows in ((["dpo"], [0.1], 2), (None, [0.1], 8), ([own], [0.2], 1), (["dpo"], [0.2], 2)):
        other = gpo.diagnose(log, own, 0.2, losses=losses, betas=betas, resamples=20)
        assert len(other.alternatives) == len(other.others) == rows, (losses, betas)
        assert sum(row["of_run"] for row in other.alternatives) == 1


def test_a_policy_that_hardly_moved_is_said_and_no_table_of_equal_rows_printed() -> None:
    small = gpo.TrainingLog(*(REFERENCE + 1e-3 * CHANGE), *REFERENCE)
    found = gpo.diagnose(small, "dpo", 0.1, resamples=20)
    assert found.findings[0].startswith(
        f"the policy hardly moved: the largest |βρ| is {0.1 * abs(small.rho).max():.2g}"
    )
    assert "a higher learning rate or more steps" in found.advice[0]
    assert "alike, as long as every |βρ| is below 0.02" in str(found)
    assert len(str(found).splitlines()) < 20
    assert len(found.alternatives) == 18
    assert "mean slope" in str(gpo.diagnose(small, "dpo", 0.1, betas=[100.0], resamples=20))
    even = gpo.TrainingLog(*(REFERENCE + 1.0), *REFERENCE)  # both moved, ρ did not
    assert "the largest |βρ| is 0," in gpo.diagnose(even, "dpo", 0.1, resamples=20).findings[0]


@pytest.mark.parametrize(("slope", "said"), [(0.05, "longer"), (-0.05, "shorter"), (0.0, None)])
def test_lengths_are_named_where_the_interval_of_their_correlation_leaves_zero(slope: float, said: str | None) -> None:
    generator = np.random.default_rng(5)
    lengths = generator.integers(5, 50, (2, 300)).astype(float)
    change = generator.normal(0, 1, (2, 300)) + slope * lengths
    found = gpo.diagnose(
        gpo.TrainingLog(*(REFERENCE[0, 0] + change), *np.full((2, 300), REFERENCE[0, 0]), *lengths), "dpo", 0.5
    )
    told = [finding for finding in found.findings if "responses: Spearman" in finding]
    rank = spearmanr(change[0] - change[1], lengths[0] - lengths[1])
    assert (rank.pvalue < 0.05) == (said is not None)
    assert len(told) == (said is not None)
    assert all(f"towards {said} responses" in finding for finding in told)


RISING = "sqrt(1+(1+z)**2)"


def test_a_loss_that_rises_is_what_is_wrong_and_not_the_columns() -> None:
    """A run that unlearnt its labels: of a loss that falls the columns are swapped, one that rises did what it says."""
    down = gpo.TrainingLog(*(REFERENCE + CHANGE)[::-1], *REFERENCE[::-1])
    for found in (gpo.diagnose(down, RISING, 0.5, resamples=50), gpo.diagnose(down, "dpo", 0.5, resamples=50)):
        words, todo = " ".join(found.findings), " ".join(found.advice)
        rises = found.loss == RISING
        assert ("does not push chosen above rejected" in words) is rises
        assert ("train with f(−z) in place of f(z)" in todo) is rises
        assert ("exchange the columns" in todo) is not rises
        assert ("swapped" in words) is not rises
    flat = gpo.diagnose(down, "z**2", 0.5, resamples=5)
    assert "train with a loss with f′(0) < 0" in " ".join(flat.advice)


def test_of_batch_means_too(tmp_path: Path) -> None:
    log = [{"step": k, "loss": 1.5, "rewards/chosen": -0.1 * k, "rewards/rejected": 0.1 * k,
            "rewards/margins": -0.2 * k, "rewards/accuracies": 0.2} for k in range(1, 9)]  # fmt: skip
    path = tmp_path / "trainer_state.json"
    path.write_text(json.dumps({"log_history": log}))
    rising, falling = (gpo.diagnose(path, loss, 0.5) for loss in (RISING, "dpo"))
    assert "does not push chosen above rejected" in rising.findings[0]
    assert "swapped" not in " ".join(rising.advice)
    assert "swapped" in " ".join(falling.advice)


def test_few_pairs_have_wide_intervals() -> None:
    """Four pairs that are all right: no certainty; one pair: no interval."""
    few = gpo.TrainingLog(*(part[:4] for part in (*(REFERENCE + CHANGE), *REFERENCE)))
    found = gpo.diagnose(few, "dpo", 0.5, resamples=2000)
    rho = CHANGE[0, :4] - CHANGE[1, :4]
    assert found.accuracy.value == 1.0
    assert found.accuracy.low == pytest.approx(4 / (4 + stats.norm.ppf(0.975) ** 2))  # Wilson's
    student = stats.t.interval(0.95, 3, loc=CHANGE[0, :4].mean(), scale=stats.sem(CHANGE[0, :4]))
    assert found.chosen_change.low <= student[0] + 0.05 * (student[1] - student[0])
    assert found.chosen_change.high >= student[1] - 0.05 * (student[1] - student[0])
    assert found.mu_squared_loss.low >= 0
    assert found.mu_squared_loss.value == pytest.approx(np.mean(rho**2) / 2)
    one = gpo.diagnose(gpo.TrainingLog(*(part[:1] for part in (*(REFERENCE + CHANGE), *REFERENCE))), "dpo", 0.5)
    assert np.isnan([one.accuracy.low, one.chosen_change.low]).all()
