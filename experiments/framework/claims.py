"""Find, compute and judge the claims of papers in ``experiments/claims/``."""

from __future__ import annotations

import importlib
import pkgutil
from dataclasses import asdict, dataclass
from types import ModuleType
from typing import Any

import numpy as np

KINDS = ("exact", "at most", "at least")


@dataclass(frozen=True)
class ClaimResult:
    """One claim, computed.

    Attributes
    ----------
    name, claim, source : str
    kind : str
        "exact", "at most" or "at least": what computed has to be of stated.
    remembered : bool
        Whether the paper was not read, so that the claim rests on the derivation in its file.
    computed, stated : float or list
    error : float
        The largest violation, relative to 1 + \\|stated\\|; for one-sided claims 0 where there is none.
    tolerance : float
    verdict : str
        "holds" or "contradicted".
    """

    name: str
    claim: str
    source: str
    kind: str
    remembered: bool
    computed: Any
    stated: Any
    error: float
    tolerance: float
    verdict: str

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON values; infinities as strings."""
        return {**asdict(self), "computed": _plain(self.computed), "stated": _plain(self.stated)}


def claim_names() -> tuple[str, ...]:
    """The claims' names, from the files that are there."""
    package = importlib.import_module("experiments.claims")  # late: the framework runs without it
    return tuple(sorted(info.name for info in pkgutil.iter_modules(package.__path__)))


def run_claim(name: str) -> ClaimResult:
    """Compute one claim and compare.

    Raises
    ------
    ValueError
        For a file that lacks a part, or whose two results do not fit.
    """
    module = importlib.import_module(f"experiments.claims.{name}")
    for part in ("CLAIM", "SOURCE", "compute"):
        if not hasattr(module, part):
            raise ValueError(f"experiments/claims/{name}.py lacks {part}")
    kind = getattr(module, "KIND", "exact")
    if kind not in KINDS:
        raise ValueError(f"KIND of experiments/claims/{name}.py is {kind!r}; accepted are {', '.join(KINDS)}")
    return _judged(name, module, kind)


def _judged(name: str, module: ModuleType, kind: str) -> ClaimResult:
    computed, stated = (np.asarray(value, dtype=np.float64) for value in module.compute())
    if computed.shape != stated.shape or computed.size == 0 or np.isnan(computed).any() or np.isnan(stated).any():
        raise ValueError(f"{name}: computed {computed!r:.80} and stated {stated!r:.80} are not numbers of one shape")
    with np.errstate(invalid="ignore"):
        off = np.where(computed == stated, 0.0, computed - stated) / (1 + np.abs(np.where(np.isinf(stated), 0, stated)))
    off = {"exact": np.abs(off), "at most": np.maximum(off, 0), "at least": np.maximum(-off, 0)}[kind]
    error, tolerance = float(off.max()), float(getattr(module, "TOLERANCE", 1e-9))
    return ClaimResult(
        name, module.CLAIM, module.SOURCE, kind, bool(getattr(module, "REMEMBERED", False)), computed.tolist(),
        stated.tolist(), error, tolerance, "holds" if error <= tolerance else "contradicted",
    )  # fmt: skip


def run_claims(broken: dict[str, str] | None = None) -> list[ClaimResult]:
    """Compute every claim, by name.

    Parameters
    ----------
    broken : dict, optional
        Filled with the claims whose files raise, and what they raise; without it the first one stops the others.
    """
    found = []
    for name in claim_names():
        try:
            found.append(run_claim(name))
        except Exception as error:  # whatever a file of somebody else's raises
            if broken is None:
                raise
            broken[name] = " ".join(f"{type(error).__name__}: {error}".split())
    return found


def table(results: list[ClaimResult]) -> str:
    """The claims as lines: verdict, computed and stated (the first numbers), the claim and its source."""
    lines = []
    for r in results:
        sign = {"exact": "=", "at most": "≤", "at least": "≥"}[r.kind]
        mark = " (remembered, derived in its file)" if r.remembered else ""
        numbers = f"{shown_numbers(r.computed)} {sign} {shown_numbers(r.stated)}"
        lines.append(f"{r.verdict:<12}  {r.claim}\n{'':<14}{numbers}   error {r.error:.1e}; {r.source}{mark}")
    held = sum(r.verdict == "holds" for r in results)
    return "\n".join([*lines, f"{held} of {len(results)} claims hold"])


def shown_numbers(values: Any) -> str:
    """The first three numbers in six digits."""
    flat = np.ravel(values)
    text = ", ".join(f"{v:.6g}" for v in flat[:3])
    return f"({text}{', …' if len(flat) > 3 else ''})" if len(flat) > 1 else text


def _plain(values: Any) -> Any:
    if isinstance(values, list):
        return [_plain(value) for value in values]
    return values if np.isfinite(values) else str(values)
