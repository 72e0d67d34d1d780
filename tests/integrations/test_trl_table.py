"""The table of TRL's losses and divergences: every cell is filled and none fails; a wrong loss fails its cells."""

from __future__ import annotations

import dataclasses
import json
from functools import cache
from typing import Any

import pytest
from click.testing import CliRunner

from gpo_analysis.cli.main import gpo as command
from tests.integrations.stand_ins import OF_LIBRARIES

pytest.importorskip("torch", reason="the table executes TRL, which needs torch")
pytest.importorskip("trl", reason="the table executes TRL: pip install 'gpo-analysis[trl]'")
pytestmark = OF_LIBRARIES

#: Why a cell may have no number held against something, by column.
REASONS = {"optimum": {"aot", "aot_unpaired"}, "dynamics": {"aot", "aot_unpaired"}}


@cache
def rows() -> list[dict[str, Any]]:
    """The whole table.

    Some 17 s of processor time: scipy looks for the optimum of every loss, of those that are not convex from 16 starts.
    """
    done = CliRunner().invoke(command, ["conventions", "--table", "--json"])
    assert done.exit_code == 0, done.output
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def test_every_loss_and_divergence_of_trl_has_its_row() -> None:
    from gpo_analysis.integrations.trl_losses import TrlLosses

    losses = TrlLosses()
    expected = [*losses.names(), *(f"f_divergence:{name}" for name in losses.divergences())]
    assert [row["name"] for row in rows()] == expected
    assert len(expected) == 19


def test_no_cell_is_empty_and_none_fails() -> None:
    for row in rows():
        cells = {column: cell for column, cell in row.items() if column != "name"}
        assert set(cells) == {"value", "gradient", "form", "optimum", "dynamics", "trainer"}
        for column, cell in cells.items():
            assert cell["text"], (row["name"], column)
            stated = column == "form" or row["name"] in REASONS.get(column, set())
            assert cell["holds"] is (None if stated else True), (row["name"], column, cell)


def test_convex_losses_of_two_log_ratios_are_certified() -> None:
    text = {row["name"]: row["optimum"]["text"] for row in rows()}
    for name in ("nca_pair", "bco_pair", "sppo_hard", "sft"):
        assert text[name].startswith("optimum: scipy's policy is")
        assert "gap at most" in text[name]
    assert "no finite optimum" in text["apo_zero"]
    assert "scipy's linear program" in text["hinge"]


def test_a_wrong_row_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    from gpo_analysis.integrations import trl_table

    real = trl_table.get_convention
    monkeypatch.setattr(
        trl_table, "get_convention", lambda name: dataclasses.replace(real(name), loss="apo_zero", scale_power=0)
    )
    (row,) = trl_table.trl_table(("bco_pair",))
    assert not row.holds
    assert (row.value.holds, row.gradient.holds, row.trainer.holds) == (False, False, False)
    monkeypatch.setattr(trl_table, "list_conventions", lambda: ())
    (bare,) = trl_table.trl_table(("hinge",))
    assert "no row trl:hinge" in bare.value.text
