"""What the shell completes beyond verbs, options and files: names of losses and of conventions."""

from __future__ import annotations

import click

from gpo_analysis.convention_names import convention_names as conventions
from gpo_analysis.loss_names import OF_MARGINS, OF_TWO_RATIOS, proper_names


def loss_names(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Names of losses that begin so, aliases included.

    Parameters
    ----------
    context, parameter : of click
    incomplete : str
        What has been typed of the word.
    """
    known = [*proper_names(OF_MARGINS), *proper_names(OF_TWO_RATIOS)]
    return [name for name in known if name.startswith(incomplete.lower())]


def convention_names(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Conventions of β that begin so (``trl:ipo``), and names of losses.

    Parameters
    ----------
    context, parameter : of click
    incomplete : str
        What has been typed of the word.
    """
    known = [name for name in conventions() if name.startswith(incomplete.lower())]
    return list(dict.fromkeys([*known, *loss_names(context, parameter, incomplete)]))
