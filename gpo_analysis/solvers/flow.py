"""Flows of least cost by the network simplex method, in exact arithmetic.

The dual of a polygonal loss is such a flow (:mod:`.linear`). Its numbers are sums of weights, and weights may lie 40
orders of magnitude apart (P within 1e-40 of 1, μ of 1e-10): a solver with tolerances takes the small ones for nothing.
Floats are dyadic fractions, so on a common denominator they are whole numbers, and every pivot is exact. Trees are kept
*strongly feasible* (Cunningham 1976), which rules out cycling.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from gpo_analysis.arrays import BoolArray, FloatArray, IntArray

#: Weights below this share of the largest are beyond the tolerances of a linear program.
RESOLUTION = 1e-6
#: Reduced costs below this share of the largest cost count as zero.
COST_ROUNDING = 1e-12


def whole(values: FloatArray) -> list[int]:
    """The values as whole multiples of one common unit, exactly."""
    parts = [math.frexp(v) for v in values.tolist()]  # v = m 2^e with 2^53 m whole
    least = min((e for m, e in parts if m), default=0)
    return [int(m * 2.0**53) << (e - least) if m else 0 for m, e in parts]


@dataclass(eq=False)
class Flow:
    """``min cost @ x``, ``0 ≤ x ≤ room``, outflow − inflow = supply; arcs (m,) from tail to head over n nodes.

    Attributes
    ----------
    n : int
    tail, head : array of int, shape (m,)
    cost : array, shape (m,)
    room : list of int, length m
    supply : list of int, length n
        Summing to 0 on every component.
    x : list of int
        The flow; the last n arcs are artificial, between each node and an added root.
    potential : array, shape (n + 1,)
        ``cost − potential[tail] + potential[head]`` is 0 on the tree.
    """

    n: int
    tail: IntArray
    head: IntArray
    cost: FloatArray
    room: list[int]
    supply: list[int]
    x: list[int] = field(init=False)
    potential: FloatArray = field(init=False)
    penalty: IntArray = field(init=False)
    parent: list[int] = field(init=False)
    arc: list[int] = field(init=False)
    depth: list[int] = field(init=False)
    children: list[set[int]] = field(init=False)
    artificial: IntArray = field(init=False)
    at_room: BoolArray = field(init=False)
    in_tree: BoolArray = field(init=False)

    def __post_init__(self) -> None:
        n, m, root = self.n, len(self.tail), self.n
        out = np.array([s >= 0 for s in self.supply], dtype=bool)
        nodes = np.arange(n)
        self.tail = np.concatenate([self.tail, np.where(out, nodes, root)])
        self.head = np.concatenate([self.head, np.where(out, root, nodes)])
        self.cost = np.concatenate([self.cost, np.zeros(n)])
        self.x = [0] * m + [abs(s) for s in self.supply]
        self.room = [*self.room, *([1 << 4096] * n)]
        # a unit of penalty, beyond every cost, for each artificial arc
        self.penalty = np.append(np.where(out, 1, -1), 0)
        self.potential = np.zeros(n + 1)
        self.artificial = np.concatenate([np.zeros(m, dtype=np.int64), np.ones(n, dtype=np.int64)])
        self.parent, self.arc, self.depth = [root] * n + [-1], [m + i for i in range(n)] + [-1], [1] * n + [0]
        self.children = [set() for _ in range(n)] + [set(range(n))]
        self.at_room = np.zeros(m + n, dtype=bool)
        self.in_tree = np.concatenate([np.zeros(m, dtype=bool), np.ones(n, dtype=bool)])

    def solve(self) -> None:
        """Pivot until no reduced cost is left to gain.

        Raises
        ------
        RuntimeError
            Where the supplies cannot be met.
        """
        if not self.meets():
            raise RuntimeError("the flow's supplies cannot be met, so that the loss has no minimum")

    def meets(self) -> bool:
        """Pivot to the end, and whether the supplies are met there."""
        tolerance = COST_ROUNDING * float(np.abs(self.cost).max(initial=0.0))
        while (entering := self._entering(tolerance)) is not None:
            self._pivot(entering)
        return not any(self.x[-self.n :])

    def short_of(self) -> BoolArray:
        """One side of the cut that holds too little, shape (n,), where supplies are not met."""
        return np.asarray(self.penalty[: self.n] > 0)

    def _entering(self, tolerance: float) -> int | None:
        """The arc that gains most, the penalties first."""
        sign = np.where(self.at_room, -1.0, 1.0)
        idle = ~self.in_tree
        penalty = sign * (self.artificial - self.penalty[self.tail] + self.penalty[self.head])
        gain = sign * (self.cost - self.potential[self.tail] + self.potential[self.head])
        order = np.where(idle, penalty, 0.0)
        if order.min() < 0:
            gain = np.where(order == order.min(), gain, np.inf)
            return int(np.argmin(gain))
        gain = np.where(idle & (penalty == 0), gain, 0.0)
        best = int(np.argmin(gain))
        return best if gain[best] < -tolerance else None

    def _pivot(self, entering: int) -> None:
        """Push flow round the cycle that the arc closes; the last blocking arc from the apex on leaves the tree."""
        forward = not self.at_room[entering]
        start, end = int(self.tail[entering]), int(self.head[entering])
        if not forward:
            start, end = end, start
        down, up = self._paths(start, end)
        # the cycle in the direction of the push: apex → start, the arc, end → apex; (arc, whether pushed forwards)
        cycle = [(a, int(self.head[a]) == node) for node, a in reversed(down)]
        cycle.append((entering, forward))
        cycle += [(a, int(self.tail[a]) == node) for node, a in up]
        slack = [self.room[a] - self.x[a] if along else self.x[a] for a, along in cycle]
        push = min(slack)
        leaving = max(k for k, s in enumerate(slack) if s == push)
        for a, along in cycle:
            self.x[a] += push if along else -push
        gone = cycle[leaving][0]
        self.at_room[gone] = self.x[gone] == self.room[gone]
        if gone == entering:
            return
        self.in_tree[entering], self.in_tree[gone] = True, False
        # which end of the entering arc hangs below the arc that leaves
        below = start if leaving < len(down) else end
        self._rehang(below, end if below == start else start, entering, gone)

    def _paths(self, first: int, second: int) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
        """(node, arc to its parent) from either node up to where the paths meet."""
        one: list[tuple[int, int]] = []
        two: list[tuple[int, int]] = []
        while first != second:
            if self.depth[first] >= self.depth[second]:
                one.append((first, self.arc[first]))
                first = self.parent[first]
            else:
                two.append((second, self.arc[second]))
                second = self.parent[second]
        return one, two

    def _rehang(self, node: int, onto: int, entering: int, gone: int) -> None:
        """Turn the path from `node` up to the arc that left, hang it on `onto`, and renew what lies below."""
        above, link, top = onto, entering, node
        while True:
            old_parent, old_arc = self.parent[node], self.arc[node]
            self.children[old_parent].discard(node)
            self.parent[node], self.arc[node] = above, link
            self.children[above].add(node)
            if old_arc == gone:
                break
            above, link, node = node, old_arc, old_parent
        stack = [top]
        while stack:
            i = stack.pop()
            p, a = self.parent[i], self.arc[i]
            side = 1 if int(self.tail[a]) == i else -1
            self.depth[i] = self.depth[p] + 1
            self.potential[i] = self.potential[p] + side * self.cost[a]
            self.penalty[i] = self.penalty[p] + side * self.artificial[a]
            stack.extend(self.children[i])

    def at_ends(self) -> tuple[BoolArray, BoolArray]:
        """Which of the m arcs have no flow, and which have all that they hold."""
        m = len(self.x) - self.n
        empty = np.array([x == 0 for x in self.x[:m]], dtype=bool)
        full = np.array([x == r for x, r in zip(self.x[:m], self.room[:m], strict=True)], dtype=bool)
        return empty, full
