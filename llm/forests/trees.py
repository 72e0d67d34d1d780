"""Responses of a prompt as a tree of prefixes: a prefix that many samples share is computed once.

A row holds the prompt and, behind it, every distinct prefix of its responses as one token each. A token sees the
prompt and its own ancestors, at the position it has in its response, so that a causal model gives it the hidden state
it has in a row of its own. With n samples of a concentrated policy a row of a few hundred tokens gives log π of all n
responses, hence the loss of all n² pairs; one row a pair would take some fifty times the tokens.

Shapes: m prompts, t columns, e edges (distinct prefixes that end in a token to be predicted), n distinct responses.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch

from gpo_analysis.arrays import BoolArray

Tokens = Sequence[int]


@dataclass(frozen=True, eq=False)
class Forest:
    """Trees of m prompts, padded to common sizes.

    Attributes
    ----------
    ids, positions : tensor, shape (m, t)
        Token ids and positions; padding is 0 and enters no result.
    visible : tensor, shape (m, t, t)
        Whether the token of the row sees that of the column.
    sources, targets : tensor, shape (m, e)
        Column from which an edge's token is predicted, and the token.
    paths : tensor, shape (m, n, e)
        1 where the response goes along the edge, else 0: log π(y) = paths · log π(edges).
    weight : tensor, shape (m, n)
        Share of the prompt's samples that are the response, float64; 0 for padding.
    """

    ids: torch.Tensor
    positions: torch.Tensor
    visible: torch.Tensor
    sources: torch.Tensor
    targets: torch.Tensor
    paths: torch.Tensor
    weight: torch.Tensor

    def __len__(self) -> int:
        return len(self.ids)

    def to(self, device: torch.device | str) -> Forest:
        """Return the trees on a device."""
        return Forest(*(getattr(self, field.name).to(device) for field in fields(self)))

    def take(self, rows: torch.Tensor) -> Forest:
        """Return the trees of these rows."""
        return Forest(*(getattr(self, field.name)[rows] for field in fields(self)))

    @property
    def tokens(self) -> torch.Tensor:
        """Tokens of each response, shape (m, n); 0 for padding."""
        return self.paths.sum(-1)


def side_by_side(forests: Sequence[Forest]) -> Forest:
    """Forests of as many prompts each, with a first axis R that goes over the forests, padded to common sizes.

    `llm.forests.network.response_logprobs` then gives run r the trees of forest r.
    """
    if len({len(forest) for forest in forests}) != 1:
        raise ValueError(
            f"forests of {[len(forest) for forest in forests]} prompts; accepted is the same number in all"
        )
    parts = []
    for field in fields(Forest):
        values = [getattr(forest, field.name) for forest in forests]
        shape = [max(value.shape[axis] for value in values) for axis in range(values[0].ndim)]
        whole = values[0].new_zeros(len(values), *shape)
        if field.name == "visible":  # padding sees itself
            whole.diagonal(dim1=-2, dim2=-1).fill_(True)
        for place, value in enumerate(values):
            whole[(place, *(slice(size) for size in value.shape))] = value
        parts.append(whole)
    return Forest(*parts)


def plant(
    prompts: Sequence[Tokens], responses: Sequence[Sequence[Tokens]]
) -> tuple[Forest, list[list[tuple[int, ...]]]]:
    """Grow the trees.

    Parameters
    ----------
    prompts : m lists of ids
        One token or more each.
    responses : m lists of lists of ids
        The samples of each prompt, one or more, each of one token or more; equal ones are merged and counted.

    Returns
    -------
    forest : Forest
    distinct : m lists of distinct responses
        In the order of the axis n.

    Raises
    ------
    ValueError
        For an empty prompt or response, or a prompt without responses.

    Examples
    --------
    >>> forest, distinct = plant([[7, 8]], [[[3, 1], [3, 4, 1], [3, 1]]])
    >>> distinct
    [[(3, 1), (3, 4, 1)]]
    >>> forest.ids.tolist(), forest.positions.tolist()  # the prompt, then the prefixes 3 and 3 4
    ([[7, 8, 3, 4]], [[0, 1, 2, 3]])
    >>> forest.sources.tolist(), forest.targets.tolist(), forest.weight.tolist()
    ([[1, 2, 2, 3]], [[3, 1, 4, 1]], [[0.6666666666666666, 0.3333333333333333]])
    """
    if len(prompts) != len(responses) or not prompts:
        raise ValueError(
            f"{len(prompts)} prompts and {len(responses)} lists of responses; accepted is one or more each"
        )
    trees = [_Tree(index, x, ys) for index, (x, ys) in enumerate(zip(prompts, responses, strict=True))]
    width = max(len(tree.ids) for tree in trees)
    edges, most = max(len(tree.targets) for tree in trees), max(len(tree.distinct) for tree in trees)
    count = len(trees)
    ids, positions = np.zeros((count, width), np.int64), np.zeros((count, width), np.int64)
    visible = np.zeros((count, width, width), dtype=bool)
    visible[:, np.arange(width), np.arange(width)] = True  # padding sees itself, so that its softmax is defined
    sources, targets = np.zeros((count, edges), np.int64), np.zeros((count, edges), np.int64)
    paths, weight = np.zeros((count, most, edges), np.float32), np.zeros((count, most))
    for row, tree in enumerate(trees):
        size = len(tree.ids)
        ids[row, :size], positions[row, :size] = tree.ids, tree.positions
        visible[row, :size, :size] = tree.visible()
        sources[row, : len(tree.sources)], targets[row, : len(tree.targets)] = tree.sources, tree.targets
        for place, path in enumerate(tree.paths):
            paths[row, place, path] = 1.0
        weight[row, : len(tree.counts)] = np.array(tree.counts) / sum(tree.counts)
    arrays = (ids, positions, visible, sources, targets, paths, weight)
    return Forest(*map(torch.from_numpy, arrays)), [tree.distinct for tree in trees]


class _Tree:
    """One prompt's tree."""

    def __init__(self, index: int, prompt: Tokens, responses: Sequence[Tokens]) -> None:
        if not len(prompt) or not len(responses) or not all(len(y) for y in responses):
            raise ValueError(f"prompt {index} is empty, or without responses, or has an empty one")
        counted = Counter(tuple(map(int, y)) for y in responses)
        self.distinct, self.counts = list(counted), list(counted.values())
        self.ids, self.positions = list(map(int, prompt)), list(range(len(prompt)))
        self.start = len(prompt)
        self.parents: list[int] = []  # column of the parent of each column behind the prompt
        self.sources: list[int] = []
        self.targets: list[int] = []
        self.paths: list[list[int]] = []
        columns: dict[tuple[int, ...], int] = {(): self.start - 1}
        edges: dict[tuple[int, ...], int] = {}
        for response in self.distinct:
            path = []
            for at in range(len(response)):
                prefix = response[: at + 1]
                if at and response[:at] not in columns:
                    self._column(columns, response[:at])
                if prefix not in edges:
                    edges[prefix] = len(self.targets)
                    self.sources.append(columns[response[:at]])
                    self.targets.append(response[at])
                path.append(edges[prefix])
            self.paths.append(path)

    def _column(self, columns: dict[tuple[int, ...], int], prefix: tuple[int, ...]) -> None:
        columns[prefix] = len(self.ids)
        self.parents.append(columns[prefix[:-1]])
        self.ids.append(prefix[-1])
        self.positions.append(self.start + len(prefix) - 1)

    def visible(self) -> BoolArray:
        """Who sees whom, (columns, columns)."""
        size = len(self.ids)
        seen = np.zeros((size, size), dtype=bool)
        seen[: self.start, : self.start] = np.tri(self.start, dtype=bool)
        for place, parent in enumerate(self.parents):
            column = self.start + place
            seen[column] = seen[parent]
            seen[column, column] = True
        return seen
