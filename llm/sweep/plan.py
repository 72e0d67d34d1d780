"""The plan of a sweep: its grid of cells, and which of them are trained together."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from gpo_analysis.losses import PAPER_LOSSES
from gpo_analysis.losses.lookup import get_margin_loss
from llm.budget import coarse_to_fine
from llm.training.cells import SweepCell

FRESH, REUSED = "fresh", "reused"


@dataclass(frozen=True)
class GridConfig:
    """The grid f × β × seed.

    Parameters
    ----------
    losses : tuple of str
        Names of margin losses, or expressions in z.
    strengths : tuple of float
        Values of βκ, κ = f″(0)/|f′(0)|; of β itself where κ is 0 (hinge).
    seeds : tuple of int
        Seeds of the order of the pairs.
    learning_rate : float
        Of every cell.
    reused_losses, reused_epochs : tuple of str, int
        A second arm sees fewer pairs ``reused_epochs`` times in as many steps, to tell reuse of data from
        over-optimisation; for these losses and the first seed only.

    Raises
    ------
    ValueError
        For an unknown loss, an empty axis, a number out of range.
    """

    losses: tuple[str, ...] = PAPER_LOSSES
    strengths: tuple[float, ...] = (0.03, 0.1, 0.3, 1.0, 3.0)
    seeds: tuple[int, ...] = (0,)
    learning_rate: float = 3e-4
    reused_losses: tuple[str, ...] = ()
    reused_epochs: int = 8

    def __post_init__(self) -> None:
        for name in (*self.losses, *self.reused_losses):
            get_margin_loss(name)
        if not self.losses or not self.strengths or not self.seeds or not min(self.strengths) > 0:
            raise ValueError(
                f"losses {self.losses}, strengths {self.strengths}, seeds {self.seeds}; accepted is at least one of "
                "each, strengths above 0"
            )
        if self.reused_epochs < 1:
            raise ValueError(f"reused_epochs is {self.reused_epochs}; accepted is 1 or more")

    def arms(self, pairs: int) -> dict[str, int]:
        """Return how many of the first pairs each arm sees.

        Examples
        --------
        >>> GridConfig(reused_epochs=4).arms(64)
        {'fresh': 64, 'reused': 16}
        """
        return {FRESH: pairs, REUSED: max(1, pairs // self.reused_epochs)}


def grid_cells(grid: GridConfig) -> list[SweepCell]:
    """Return every cell of the grid.

    Examples
    --------
    >>> [cell.name for cell in grid_cells(GridConfig(losses=("logistic", "hinge"), strengths=(0.1, 1.0)))][:3]
    ['logistic-0.1-s0-fresh', 'logistic-1-s0-fresh', 'hinge-0.1-s0-fresh']
    """
    return [
        SweepCell(loss, get_margin_loss(loss).beta_of(strength), seed, grid.learning_rate, arm=arm)
        for arm, losses, seeds in ((FRESH, grid.losses, grid.seeds), (REUSED, grid.reused_losses, grid.seeds[:1]))
        for seed in seeds
        for loss in losses
        for strength in grid.strengths
    ]


def conditions(grid: GridConfig) -> list[list[SweepCell]]:
    """The grid's cells by condition, all losses and seeds of a strength and arm together.

    In an order whose every beginning spans the strengths (`llm.budget.coarse_to_fine`), the arm that reuses its pairs
    last: who has time for some conditions alone takes the first ones.

    Examples
    --------
    >>> grid = GridConfig(losses=("logistic",), strengths=(0.1, 0.3, 1.0), seeds=(0, 1))
    >>> [[(cell.strength, cell.seed) for cell in cells] for cells in conditions(grid)]
    [[(0.1, 0), (0.1, 1)], [(1.0, 0), (1.0, 1)], [(0.3, 0), (0.3, 1)]]
    """
    cells = grid_cells(grid)
    found = []
    for arm, losses in ((FRESH, grid.losses), (REUSED, grid.reused_losses)):
        for strength in coarse_to_fine(grid.strengths) if losses else ():
            betas = {loss: get_margin_loss(loss).beta_of(strength) for loss in losses}
            found.append([cell for cell in cells if cell.arm == arm and cell.beta == betas[cell.loss]])
    return found


def plan_stacks(cells: Sequence[SweepCell], size: int) -> list[list[SweepCell]]:
    """Group cells into stacks of one arm and one seed and of at most ``size``, as equal as can be.

    Parameters
    ----------
    cells : sequence of SweepCell
        Each once.
    size : int
        Most cells of a stack.

    Raises
    ------
    ValueError
        For a size below 1, or a cell that stands twice.

    Examples
    --------
    >>> cells = [SweepCell("squared", beta, seed, 1e-3) for seed in (0, 1) for beta in (0.1, 0.3, 1.0)]
    >>> [[(cell.seed, cell.beta) for cell in stack] for stack in plan_stacks(cells, 2)]
    [[(0, 0.1), (0, 0.3)], [(0, 1.0)], [(1, 0.1), (1, 0.3)], [(1, 1.0)]]
    """
    if size < 1:
        raise ValueError(f"size is {size}; accepted is 1 or more")
    if len({cell.key for cell in cells}) < len(cells):
        raise ValueError("a cell stands twice in the sweep")
    groups: dict[tuple[str, int], list[SweepCell]] = {}
    for cell in cells:
        groups.setdefault((cell.arm, cell.seed), []).append(cell)
    stacks = []
    for group in groups.values():
        count = -(-len(group) // size)
        edges = [-(-len(group) * k // count) for k in range(count + 1)]
        stacks += [group[start:stop] for start, stop in itertools.pairwise(edges)]
    return stacks
