"""The fields read: numbers, losses, a preference problem, a mixture; what is wrong is said of its field."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache

import numpy as np

from gpo_analysis.analysis import strength
from gpo_analysis.arrays import FloatArray
from gpo_analysis.explore.state import State
from gpo_analysis.gaussian import GaussianMixture
from gpo_analysis.losses import MarginLoss, same_function
from gpo_analysis.losses.lookup import get_margin_loss
from gpo_analysis.losses.parse import parse_loss
from gpo_analysis.preferences import Comparisons, bradley_terry, cyclic, from_matrix, mixture_of_annotators
from gpo_analysis.reading.values import number_of
from gpo_analysis.tabular import PreferenceProblem

MOST_LOSSES = 8
MOST_RESPONSES = 30
MOST_ITEMS = 500  # of a file
MOST_MODES = 6
MOST_STEPS = 5000

Files = Mapping[str, Comparisons]


class FieldError(ValueError):
    """What is wrong with a field, and what is accepted.

    Attributes
    ----------
    field : str
        Its name in :class:`~gpo_analysis.explore.state.State`.

    Examples
    --------
    >>> FieldError("cycle", "is 2").field
    'cycle'
    """

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


def number(state: State, field: str, low: float, high: float, *, whole: bool = False) -> float:
    """The number in a field, from low to high.

    Raises
    ------
    FieldError
        Where there is none, or one beyond.

    Examples
    --------
    >>> number(State(cycle="0.25"), "cycle", 0, 1)
    0.25
    """
    text = getattr(state, field)
    what = "a whole number" if whole else "a number"
    try:
        value = number_of(text)
    except ValueError:
        value = np.nan
    if not low <= value <= high or (whole and value != int(value)):
        raise FieldError(field, f"{text!r:.60} is not accepted; accepted is {what} from {low:g} to {high:g}")
    return value


def numbers(text: str, field: str, *, least: int = 1, most: int = MOST_RESPONSES) -> list[float]:
    """Numbers with commas or blanks between them.

    Raises
    ------
    FieldError

    Examples
    --------
    >>> numbers("0, 1 2.5", "rewards")
    [0.0, 1.0, 2.5]
    """
    parts = [part for part in re.split(r"[,\s]+", text.strip()) if part]
    accepted = f"accepted are {least} to {most} numbers of at most 1e6 in size, with commas between them"
    try:
        values = [number_of(part) for part in parts]
    except ValueError as error:
        raise FieldError(field, f"{error}; {accepted}") from None
    if not least <= len(values) <= most:
        raise FieldError(field, f"{text!r:.60} has {len(values)} numbers; {accepted}")
    if max(map(abs, values)) > 1e6:
        raise FieldError(field, f"{max(values, key=abs):g} is too large; {accepted}")
    return values


def rows(text: str, field: str, *, least: int) -> list[list[float]]:
    """Lists of numbers of one length, with ``;`` or line ends between them."""
    parts = [part for part in re.split(r"[;\n]+", text) if part.strip()]
    if not 1 <= len(parts) <= MOST_RESPONSES:
        raise FieldError(field, f"{len(parts)} rows; accepted are 1 to {MOST_RESPONSES} rows with ; between them")
    found = [numbers(part, field, least=least) for part in parts]
    if len({len(row) for row in found}) > 1:
        lengths = ", ".join(str(len(row)) for row in found)
        raise FieldError(field, f"the rows have {lengths} numbers; accepted are rows of one length")
    return found


def losses_of(state: State) -> list[MarginLoss]:
    """The losses, each function once.

    Raises
    ------
    FieldError
        Saying which text is none, and what is accepted.

    Examples
    --------
    >>> [loss.name for loss in losses_of(State(losses=("dpo", "logistic", "(1-z)**2", "c*exp(-z) with c=2")))]
    ['logistic', '(1-z)**2', 'c*exp(-z) with c=2']
    """
    texts = [text for text in state.losses if text.strip()]
    if not 1 <= len(texts) <= MOST_LOSSES:
        raise FieldError("losses", f"{len(texts)} losses; accepted are 1 to {MOST_LOSSES}: choose one, or type one")
    found: list[MarginLoss] = []
    for text in texts:
        try:
            loss = get_margin_loss(text.strip())
        except ValueError as error:
            raise FieldError("losses", _why(text.strip(), str(error))) from None
        if not any(same_function(one, loss) for one in found):
            found.append(loss)
    return found


def _why(text: str, both: str) -> str:
    """Of what is no word, why it cannot be read as an expression, without the names of the catalogue."""
    if text.replace("-", "_").replace(" ", "_").isidentifier() or "nor an expression" not in both:
        return both
    try:
        parse_loss(text)
    except ValueError as error:
        return str(error).replace(", or a and b for the two log-ratios", "")  # no losses of the margin alone
    return both


def betas_of(state: State) -> tuple[dict[str, float], tuple[str, ...]]:
    """β of each loss by name, and a line for each that has none.

    Examples
    --------
    >>> betas, without = betas_of(State(by="strength", amount="0.1"))
    >>> betas, without[0].split(":")[0]
    ({'logistic': 0.2, 'squared': 0.1}, 'hinge has no second-order term')
    """
    amount = number(state, "amount", 1e-4, 1e4)
    if state.by == "beta":
        return {loss.name: amount for loss in losses_of(state)}, ()
    found, without = {}, []
    for loss in losses_of(state):
        try:
            found[loss.name] = amount / float(strength(loss))
        except ValueError as error:
            without.append(f"{error}: left out".replace(" (give eta to match at one η)", ""))
    if not found:
        raise FieldError("amount", "; ".join(without) + "; accepted is β in its place, or another loss")
    return found, tuple(without)


def distribution(text: str, field: str, n: int, *, positive: bool = False) -> FloatArray | None:
    """Weights divided by their sum; None where the field is empty."""
    if not text.strip():
        return None
    values = np.array(numbers(text, field, least=n, most=n))
    if np.any(values <= 0 if positive else values < 0) or values.sum() == 0:
        wanted = "above 0" if positive else "of at least 0, not all 0"
        raise FieldError(field, f"{text!r:.60} is not accepted; accepted are {n} weights {wanted}")
    return np.asarray(values / values.sum())


def preference_of(state: State) -> FloatArray:
    """P[i, j] = p(i ≻ j), where it is not a file's.

    Examples
    --------
    >>> preference_of(State(preferences="matrix", matrix="0.5, 0.8; 0.2, 0.5"))
    array([[0.5, 0.8],
           [0.2, 0.5]])
    """
    if state.preferences == "annotators":
        return mixture_of_annotators(bradley_terry(rows(state.annotators, "annotators", least=2)))
    if state.preferences == "matrix":
        try:
            return from_matrix(rows(state.matrix, "matrix", least=2))
        except FieldError:
            raise
        except ValueError as error:
            raise FieldError("matrix", str(error)) from None
    ground = bradley_terry(numbers(state.rewards, "rewards", least=3 if state.preferences == "cycle" else 2))
    return cyclic(ground, number(state, "cycle", 0, 1)) if state.preferences == "cycle" else ground


def problem_of(state: State, files: Files) -> PreferenceProblem:
    """The preferences with μ and πref.

    Parameters
    ----------
    state : State
    files : mapping of str to Comparisons
        What the explorer was given, by name.

    Raises
    ------
    FieldError
    """
    comparisons = None
    if state.preferences == "file":
        if state.file not in files:
            known = ", ".join(files) or "none so far"
            raise FieldError(
                "file", f"no file {state.file!r:.60} is loaded ({known}): choose one here, or start with it"
            )
        comparisons = files[state.file]
        if comparisons.n > MOST_ITEMS:
            raise FieldError("file", f"{comparisons.n:,} items; accepted are up to {MOST_ITEMS} (gpo solve takes more)")
    chosen = state.with_(**{name: getattr(State, name) for name in _BESIDE})
    return _problem(chosen, comparisons)


#: What a problem does not depend on.
_BESIDE = (
    "losses", "view", "by", "amount", "order", "optimizer", "rate", "steps", "step",
    "modes", "scale", "weights", "mean", "width", "shift",
)  # fmt: skip


@lru_cache(maxsize=64)
def _problem(state: State, comparisons: Comparisons | None) -> PreferenceProblem:
    if comparisons is not None:
        reference = distribution(state.reference, "reference", comparisons.n, positive=True)
        return PreferenceProblem.from_comparisons(comparisons, reference)
    preference = preference_of(state)
    n = len(preference)
    return PreferenceProblem(
        preference,
        behavior=distribution(state.mu, "mu", n),
        reference=distribution(state.reference, "reference", n, positive=True),
    )


def mixtures_of(state: State) -> tuple[GaussianMixture, GaussianMixture]:
    """πref, and μ."""
    means = numbers(state.modes, "modes", most=MOST_MODES)
    if max(map(abs, means)) > 100:
        raise FieldError("modes", f"{max(means, key=abs):g} is too far out; accepted are means from -100 to 100")
    shares = distribution(state.weights, "weights", len(means), positive=True)
    if shares is None:
        shares = np.full(len(means), 1 / len(means))
    scales = np.full(len(means), number(state, "scale", 0.05, 20))
    mean, width = number(state, "mean", -100, 100), number(state, "width", 0.05, 20)
    return GaussianMixture(shares, np.array(means), scales), GaussianMixture(
        np.ones(1), np.array([mean]), np.array([width])
    )


def training_of(state: State) -> tuple[float, int, int]:
    """Learning rate, steps, and steps between records."""
    steps = int(number(state, "steps", 1, MOST_STEPS, whole=True))
    return number(state, "rate", 1e-6, 1e6), steps, max(1, steps // 50)


def faults(state: State, files: Files) -> dict[str, str]:
    """What is wrong, by field; empty where nothing is.

    Examples
    --------
    >>> faults(State(losses=("relu(1-z",), cycle="x"), {})
    {'losses': "cannot read 'relu(1-z': ...
    """
    readers: tuple[Callable[[], object], ...] = (
        lambda: losses_of(state),
        lambda: betas_of(state),
        lambda: problem_of(state, files),
        lambda: number(state, "order", 0, 20, whole=True),
        lambda: training_of(state),
        lambda: number(state, "step", 0, MOST_STEPS, whole=True),
        lambda: mixtures_of(state),
        lambda: number(state, "shift", -1000, 1000),
    )
    found: dict[str, str] = {}
    for read in readers:
        try:
            read()
        except FieldError as error:
            found.setdefault(error.field, str(error))
    return found
