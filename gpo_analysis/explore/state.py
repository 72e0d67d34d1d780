"""What stands in the explorer's fields, as texts: the same in the page, in an address, in Python."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any
from urllib.parse import parse_qsl, urlencode

VIEWS = ("losses", "link", "policies", "regularizers", "training", "mixture")
CHOICES = {
    "view": VIEWS,
    "by": ("beta", "strength"),
    "preferences": ("rewards", "cycle", "annotators", "matrix", "file"),
    "optimizer": ("gd", "adam", "flow"),
}
MOST_CHARACTERS = 4000


@dataclass(frozen=True)
class State:
    """What stands in the fields, as it was typed; :mod:`gpo_analysis.explore.fields` reads it.

    Attributes
    ----------
    losses : tuple of str
        Names of the catalogue, and expressions in z.
    view : str
        One of "losses", "link", "policies", "regularizers", "training", "mixture".
    by : str
        "beta": all losses have one β; "strength": all have one βκ.
    amount : str
        That β, or βκ.
    preferences : str
        "rewards" (Bradley–Terry), "cycle" (of those rewards), "annotators", "matrix" or "file": which of the next five
        is used.
    rewards : str
        Numbers, one a response.
    cycle : str
        Share of the cycle, 0 to 1.
    annotators : str
        Rewards of one annotator after the other, with ``;`` between them.
    matrix : str
        Rows of p(i ≻ j), with ``;`` between them.
    file : str
        Name of a file of comparisons that the explorer was given.
    mu, reference : str
        Weights of μ and πref, a number a response, divided by their sum; empty: all equal.
    order : str
        Of the Taylor polynomial.
    optimizer : str
        "gd", "adam" or "flow".
    rate, steps, step : str
        Learning rate, steps in all, and the step that is shown.
    modes, scale : str
        Means of the components of πref, a mixture of Gaussians, and their standard deviation.
    weights : str
        Their weights; empty: all equal.
    mean, width : str
        Of μ, a Gaussian.
    shift : str
        The c at which π_c is shown.

    Examples
    --------
    >>> state = State(losses=("dpo", "(1-z)**2"), amount="0.1")
    >>> state.query()
    'losses=dpo&losses=%281-z%29%2A%2A2&amount=0.1'
    >>> State.from_query(state.query()) == (state, ())
    True
    """

    losses: tuple[str, ...] = ("logistic", "squared", "hinge")
    view: str = "losses"
    by: str = "beta"
    amount: str = "0.5"
    preferences: str = "rewards"
    rewards: str = "0, 1, 2"
    cycle: str = "0.5"
    annotators: str = "3, 2, 1; 1, 3, 2; 2, 1, 3"
    matrix: str = "0.5, 0.8, 0.9; 0.2, 0.5, 0.6; 0.1, 0.4, 0.5"
    file: str = ""
    mu: str = ""
    reference: str = ""
    order: str = "4"
    optimizer: str = "gd"
    rate: str = "2"
    steps: str = "400"
    step: str = "0"
    modes: str = "-3, 0, 3"
    scale: str = "0.5"
    weights: str = ""
    mean: str = "0"
    width: str = "0.5"
    shift: str = "3"

    def __post_init__(self) -> None:
        for name, accepted in CHOICES.items():
            given = getattr(self, name)
            if given not in accepted:
                raise ValueError(f"{name} is {given!r:.60}; accepted are {', '.join(accepted)}")
        losses: object = self.losses
        if not isinstance(losses, tuple):
            raise ValueError(f"losses is {losses!r:.60}; accepted is a tuple of texts, one a loss")

    def query(self) -> str:
        """The part of an address after ``?``: what differs from the defaults."""
        pairs: list[tuple[str, str]] = []
        for item in fields(self):
            value = getattr(self, item.name)
            if value != item.default:
                pairs += [(item.name, text) for text in (value if isinstance(value, tuple) else (value,))] or [
                    (item.name, "")
                ]
        return urlencode(pairs)

    @classmethod
    def from_query(cls, text: str) -> tuple[State, tuple[str, ...]]:
        """The state of an address, and what in it was not understood, a line each.

        Parameters
        ----------
        text : str
            With or without ``?`` at its beginning.
        """
        if len(text) > MOST_CHARACTERS:
            return cls(), (f"the address has {len(text):,} characters after ?; up to {MOST_CHARACTERS:,} are read",)
        known = {item.name for item in fields(cls)}
        found: dict[str, Any] = {}
        notes = []
        for name, value in parse_qsl(text.removeprefix("?"), keep_blank_values=True):
            if name not in known:
                notes.append(f"the address names {name!r:.60}, which is not known: {', '.join(sorted(known))} are")
            elif name in CHOICES and value not in CHOICES[name]:
                notes.append(f"the address has {name}={value!r:.60}; accepted are {', '.join(CHOICES[name])}")
            elif name == "losses":
                found[name] = (*found.get(name, ()), *([value] if value else []))
            else:
                found[name] = value
        return cls(**found), tuple(notes)

    def with_(self, **changed: Any) -> State:
        """The same with other fields."""
        return replace(self, **changed)
