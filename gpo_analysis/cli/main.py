"""The command group, and how what goes wrong is told."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click

from gpo_analysis import __version__
from gpo_analysis.cli.advice import diagnose, recommend_beta
from gpo_analysis.cli.audit import audit_log
from gpo_analysis.cli.beta import beta
from gpo_analysis.cli.conventions import conventions
from gpo_analysis.cli.explore import explore
from gpo_analysis.cli.gaussians import gaussians
from gpo_analysis.cli.losses import analyze, losses
from gpo_analysis.cli.output import say
from gpo_analysis.cli.solve import solve
from gpo_analysis.cli.streams import guarded

EPILOG = """\b
Examples:
  gpo losses
  gpo analyze "log(cosh(1-z))"
  gpo beta 0.1 --from trl:ipo --to gpo:ipo
  gpo conventions --check
  gpo solve comparisons.csv
  gpo recommend-beta comparisons.csv --kl 0.5
  gpo diagnose log.csv --loss dpo --beta 0.1
  gpo audit-log log.csv
  gpo gaussians --figure landscape.png
  gpo explore

\b
Completion in the shell (for zsh and fish zsh_source and fish_source):
  eval "$(_GPO_COMPLETE=bash_source gpo)"
"""


@click.group(epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="gpo")
def gpo() -> None:
    """What does an offline preference-optimisation loss do to a policy, and why?"""


for command in (losses, analyze, beta, conventions, solve, recommend_beta, diagnose, audit_log, gaussians, explore):
    gpo.add_command(command)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command and exit; errors are one line on standard error."""
    given = None if arguments is None else list(arguments)
    sys.exit(guarded("gpo", lambda: _run(given)))


def _run(arguments: list[str] | None) -> object:
    try:
        return gpo.main(arguments, prog_name="gpo", standalone_mode=False)
    except click.UsageError as error:
        if type(error).__name__ != "NoArgsIsHelpError":  # click 8.2 and later; 8.1 prints the help itself
            raise
        say(error.format_message())
        return 2
