"""Numbers that are typed, taken as strictly as those of files: no ``1_000``, no digits of other scripts."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import click

from gpo_analysis.reading import number_of

if TYPE_CHECKING:
    _Float = click.ParamType[float]
    _Integer = click.ParamType[int]
else:  # generic from click 8.4 on
    _Float = _Integer = click.ParamType

_WHOLE = re.compile(r"[+-]?\d{1,400}", re.ASCII)
BETAS = (1e-100, 1e100)  #: So that squares of log-ratios stay within a float.


class _Number(_Float):
    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if not isinstance(value, str):
            return float(value)
        try:
            return number_of(value)
        except ValueError as error:
            self.fail(f"{error}; accepted are finite numbers, such as 0.1 or 1e-3", param, ctx)


class _Whole(_Integer):
    name = "whole number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, str) and not _WHOLE.fullmatch(value.strip()):
            self.fail(f"{value!r:.60} is not a valid integer; accepted are digits, such as 200", param, ctx)
        return int(value)


NUMBER, WHOLE = _Number(), _Whole()


def check_beta(beta: float, option: str) -> float:
    """Raise ValueError unless a β lies within `BETAS`."""
    if not BETAS[0] <= beta <= BETAS[1]:
        raise ValueError(f"{option} must lie between {BETAS[0]:g} and {BETAS[1]:g}, got {beta:g}")
    return beta
