"""Responses with lengths: the leaves of a prefix tree, a policy over them being one choice of a token a node.

A response is a word over the letters, ended by the end token after one letter or more, or cut off without it at the
largest depth. Its length counts the tokens that are scored, the end token among them. By the chain rule the
log-probability of a response is the sum of those of its tokens, and KL(π‖πref) = Σ_nodes π(node) KL(node).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.sparse import csr_array

from gpo_analysis.arrays import BoolArray, FloatArray, IntArray
from gpo_analysis.preferences.validation import check_distribution
from gpo_analysis.relative_entropy import kl_from_log_ratio
from gpo_analysis.showing import Panel, Shown
from gpo_analysis.showing.charts import bars
from gpo_analysis.tabular.problem import PreferenceProblem

_MOST = 100_000
_KINDS: dict[str, Callable[[str], str | int]] = {
    "token": lambda word: 0,
    "last": lambda word: word[-1:],
    "position": len,
    "node": lambda word: word,
}


@dataclass(frozen=True, eq=False)
class PrefixTree(Shown):
    """All words of one letter to `depth` letters, and a reference policy at each node.

    Parameters
    ----------
    letters : int
        Size A of the alphabet without the end token, at least 1.
    depth : int
        Most letters, at least 1; words that long are cut off, without an end token.
    stop : float
        πref of the end token at each node but the first, between 0 and 1, both excluded.
    letter_weights : array, shape (letters,), optional
        πref of the letters at each node, of what the end token leaves: above 0, summing to one; uniform by default.

    Raises
    ------
    ValueError
        For values that are not accepted, and trees of more than 100,000 responses.

    Examples
    --------
    >>> tree = PrefixTree(letters=2, depth=2, stop=0.5)
    >>> tree.responses, tree.lengths
    (('a.', 'b.', 'aa', 'ab', 'ba', 'bb'), array([2, 2, 2, 2, 2, 2]))
    >>> tree.reference
    array([0.25 , 0.25 , 0.125, 0.125, 0.125, 0.125])
    """

    letters: int
    depth: int
    stop: float
    letter_weights: ArrayLike | None = None

    def __post_init__(self) -> None:
        for name in ("letters", "depth"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
                raise ValueError(f"{name} must be a whole number of at least 1, got {value!r}")
        if self.letters > 26:
            raise ValueError(f"letters must be at most 26, got {self.letters}")
        if not 0 < self.stop < 1:
            raise ValueError(f"stop must be between 0 and 1, both excluded, got {self.stop!r}")
        if self.depth > 64 or sum(self.letters**d for d in range(1, self.depth + 1)) > _MOST:
            raise ValueError(f"letters={self.letters}, depth={self.depth} make more than {_MOST} responses")
        if self.letter_weights is not None:
            check_distribution(self.letter_weights, "letter_weights", (self.letters,), positive=True)

    def _facts(self) -> list[tuple[str, Any]]:
        return [
            ("letters", self.letters), ("depth", self.depth), ("stop", self.stop), ("responses", self.n),
            ("mean length under πref", self.expected_length(self.reference)),
            ("cut off under πref", self.cut_off(self.reference)),
        ]  # fmt: skip

    def _columns(self) -> dict[str, Any]:
        return {"item": list(self.responses), "length": self.lengths, "cut": self.cut, "reference": self.reference}

    def _panel(self) -> Panel:
        lengths = np.unique(self.lengths)
        mass = np.bincount(self.lengths, self.reference)[lengths]
        return bars("how long responses are under πref", "scored tokens", "probability", [str(t) for t in lengths],
                    {"πref": mass})  # fmt: skip

    @cached_property
    def responses(self) -> tuple[str, ...]:
        """The words, shorter first; "." is the end token."""
        words, found = [""], []
        for depth in range(1, self.depth + 1):
            words = [word + chr(97 + a) for word in words for a in range(self.letters)]
            found += [word + "." for word in words] if depth < self.depth else words
        return tuple(found)

    @cached_property
    def _places(self) -> dict[str, int]:
        """Nodes by their prefix, the root first."""
        words = [""]
        for depth in range(self.depth - 1):
            words += [word + chr(97 + a) for word in words if len(word) == depth for a in range(self.letters)]
        return {word: k for k, word in enumerate(words)}

    @cached_property
    def incidence(self) -> csr_array:
        """Which tokens of which nodes a response consists of: shape (n, tokens), entries 1."""
        rows, columns = [], []
        for i, word in enumerate(self.responses):
            for t, letter in enumerate(word):
                token = self.letters if letter == "." else ord(letter) - 97
                place = self._places[word[:t]]
                rows.append(i)
                columns.append(place * (self.letters + 1) + token - (place > 0))  # the root has no end token
        return csr_array((np.ones(len(rows)), (rows, columns)), shape=(self.n, self.tokens))

    @cached_property
    def node(self) -> IntArray:
        """The node of each token, shape (tokens,): the root's letters first, then letters and end of each node."""
        later = np.repeat(np.arange(1, len(self._places)), self.letters + 1)
        return np.concatenate([np.zeros(self.letters, dtype=np.int64), later])

    @property
    def tokens(self) -> int:
        """Number of (node, token)."""
        return self.letters + (len(self._places) - 1) * (self.letters + 1)

    @property
    def n(self) -> int:
        """Number of responses."""
        return len(self.responses)

    @cached_property
    def lengths(self) -> IntArray:
        """Scored tokens of each response, shape (n,)."""
        return np.array([len(word) for word in self.responses])

    @cached_property
    def cut(self) -> BoolArray:
        """Which responses are cut off, shape (n,)."""
        return np.array([not word.endswith(".") for word in self.responses])

    @cached_property
    def token_reference(self) -> FloatArray:
        """log πref of each token at its node, shape (tokens,)."""
        share = np.full(self.letters, 1 / self.letters) if self.letter_weights is None else self.letter_weights
        root = np.log(np.asarray(share, dtype=np.float64))
        later = np.append(root + np.log1p(-self.stop), np.log(self.stop))
        return np.concatenate([root, np.tile(later, len(self._places) - 1)])

    @cached_property
    def log_reference(self) -> FloatArray:
        """log πref of each response, shape (n,)."""
        return np.asarray(self.incidence @ self.token_reference)

    @property
    def reference(self) -> FloatArray:
        """πref of each response, shape (n,)."""
        return np.exp(self.log_reference)

    def token_policy(self, policy: ArrayLike) -> FloatArray:
        """log π of each token at its node, of a policy over responses; NaN at nodes that are never reached.

        Parameters
        ----------
        policy : array, shape (n,)

        Returns
        -------
        array, shape (tokens,)
        """
        mass = self.incidence.T @ self._checked(policy)
        reached = np.bincount(self.node, mass)
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(np.log(mass) - np.log(reached)[self.node])

    def log_policy(self, token_logits: ArrayLike) -> FloatArray:
        """log π of each response, of logits at the nodes.

        Parameters
        ----------
        token_logits : array, shape (tokens,)

        Returns
        -------
        array, shape (n,)
        """
        return np.asarray(self.incidence @ self.normalised(np.asarray(token_logits, dtype=np.float64)))

    def normalised(self, token_logits: FloatArray) -> FloatArray:
        """log π of each token at its node, of logits."""
        top = np.full(int(self.node[-1]) + 1, -np.inf)
        np.maximum.at(top, self.node, token_logits)
        total = np.bincount(self.node, np.exp(token_logits - top[self.node]))
        return np.asarray(token_logits - (top + np.log(total))[self.node])

    def token_features(self, *kinds: str) -> FloatArray:
        """Indicators by which nodes share their logits: a column for each value of each kind together with the token.

        Parameters
        ----------
        *kinds : str
            "token" (the same everywhere), "last" (the letter before, none at the root), "position" (how many letters
            stand before) or "node" (nothing is shared); of several the columns stand side by side and logits add up.

        Returns
        -------
        array, shape (tokens, d)
            For ``descend_sequences(..., features=...)``.

        Raises
        ------
        ValueError
            For no kind, or another.

        Examples
        --------
        >>> PrefixTree(letters=2, depth=3, stop=0.5).token_features("last", "position").shape
        (20, 16)
        """
        if not kinds or not set(kinds) <= _KINDS.keys():
            raise ValueError(f"kinds must be some of {', '.join(_KINDS)}, got {', '.join(map(repr, kinds)) or 'none'}")
        words = list(self._places)
        ends = [a for word in words for a in range(self.letters + (word != ""))]
        columns = []
        for kind in dict.fromkeys(kinds):
            shared = [(_KINDS[kind](words[k]), a) for k, a in zip(self.node, ends, strict=True)]
            values = {value: j for j, value in enumerate(dict.fromkeys(shared))}
            block = np.zeros((self.tokens, len(values)))
            block[np.arange(self.tokens), [values[value] for value in shared]] = 1.0
            columns.append(block)
        return np.hstack(columns)

    def expected_length(self, policy: ArrayLike) -> float:
        """E_π T, in tokens."""
        return float(self._checked(policy) @ self.lengths)

    def cut_off(self, policy: ArrayLike) -> float:
        """Mass of π on what is cut off."""
        return float(self._checked(policy)[self.cut].sum())

    def kl(self, policy: ArrayLike) -> float:
        """KL(π‖πref) a sequence, in nats; over E_π T it is the KL a token."""
        p = self._checked(policy)
        with np.errstate(divide="ignore"):
            ratio = np.log(p) - self.log_reference
        return float(kl_from_log_ratio(p, ratio, self.reference))

    def kl_at_nodes(self, policy: ArrayLike) -> FloatArray:
        """π(node) KL(π(·\\|node)‖πref(·\\|node)), shape (nodes,): they sum to the KL a sequence."""
        p = self._checked(policy)
        mass = self.incidence.T @ p
        ratio = np.where(mass > 0, self.token_policy(p) - self.token_reference, 0.0)
        return np.asarray(np.bincount(self.node, mass * ratio), dtype=np.float64)

    def problem(self, preference: ArrayLike, behavior: ArrayLike | None = None) -> PreferenceProblem:
        """Preferences among the responses; μ is πref by default.

        Parameters
        ----------
        preference : array, shape (n, n)
        behavior : array, shape (n,), optional
        """
        mu = self.reference if behavior is None else behavior
        return PreferenceProblem(preference, mu, self.reference, items=self.responses)

    def _checked(self, policy: ArrayLike) -> FloatArray:
        return check_distribution(policy, "policy", (self.n,))
