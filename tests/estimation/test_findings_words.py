"""Words of a diagnosis that explain themselves, and what is said of columns that were exchanged."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import gpo_analysis as gpo
from gpo_analysis.cli.main import gpo as command
from gpo_analysis.diagnosis_words import ALTERNATIVES, OTHERS

RNG = np.random.default_rng(3)
CHANGE = RNG.normal([-0.5, -2.0], 1.0, (300, 2)).T
REFERENCE = np.full((2, 300), -40.0)
LOG = gpo.TrainingLog(*(REFERENCE + CHANGE), *REFERENCE)


def test_every_column_of_the_tables_is_explained_under_them_in_the_help_and_in_the_docs() -> None:
    text = gpo.diagnose(LOG, "ipo", 0.3, resamples=20).summary()
    head = next(line for line in text.splitlines() if "cosine" in line)
    docs = (Path(__file__).parents[2] / "docs/howto/read_a_log.md").read_text(encoding="utf-8")
    helped = CliRunner().invoke(command, ["diagnose", "--help"]).output
    for column in ("βκ", "beyond r", "idle", "pulled back", "mean slope", "cosine"):
        assert column in head
        told = next(line for line in ALTERNATIVES if line.strip().startswith(column))
        assert told in text
        assert told.strip() in helped
        assert f"| `{column}` |" in docs
    assert OTHERS[0].strip() in helped
    assert OTHERS[0] in text
    assert "| `reach` |" in docs


def test_policy_and_reference_exchanged_are_among_the_causes() -> None:
    """Where the policy has learnt its labels, exchanging it with the reference turns every margin round."""
    turned = gpo.TrainingLog(*REFERENCE, *(REFERENCE + CHANGE))
    assert np.array_equal(turned.rho, -LOG.rho)
    found = gpo.diagnose(turned, "dpo", 0.1, resamples=20)
    assert "or policy and reference" in " ".join(found.findings)
    assert "the policy's should be the larger" in " ".join(found.advice)
    assert "swapped" not in " ".join(gpo.diagnose(LOG, "dpo", 0.1, resamples=20).findings)


@pytest.mark.parametrize(("size", "word"), [(1.05, "none of these pairs"), (4.0, "% of these pairs")])
def test_advice_says_at_which_beta_how_many_of_the_pairs(size: float, word: str) -> None:
    """Pairs past the margin of the squared loss at β = 1, and at a third of it past or not."""
    rho = np.where(np.arange(300) % 4 == 0, size, 0.5)
    found = gpo.diagnose({"rho": rho}, "ipo", 1.0, resamples=20)
    (line,) = [one for one in found.advice if "pulled back" in one]
    assert f"at β = 0.333, {'none' if size < 3 else '25%'} of these pairs would be pulled back" in line
    assert word in line


def test_a_log_s_loss_is_logistic_unless_given_for_both_verbs(tmp_path: Path) -> None:
    file = tmp_path / "log.csv"
    rows = zip(*(REFERENCE + CHANGE), *REFERENCE, strict=True)
    names = "policy_chosen,policy_rejected,reference_chosen,reference_rejected"
    file.write_text(f"{names}\n" + "".join(",".join(f"{x:.17g}" for x in row) + "\n" for row in rows))
    for verb in (["diagnose", str(file)], ["recommend-beta", "--log", str(file), "--margin", "1"]):
        said = [CliRunner().invoke(command, [*verb, "--beta", "0.2", *more]).output for more in ([], ["--loss", "dpo"])]
        assert said[0] == said[1]
        assert "logistic" in said[0]
        assert "--beta is missing" in str(CliRunner().invoke(command, [*verb, "--loss", "dpo"]).exception)
