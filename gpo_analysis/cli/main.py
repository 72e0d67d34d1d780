"""The command group, and how what goes wrong is told."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import click

from gpo_analysis import __version__
from gpo_analysis.cli.advice import diagnose, recommend_beta
from gpo_analysis.cli.beta import beta
from gpo_analysis.cli.gaussians import gaussians
from gpo_analysis.cli.losses import analyze, losses
from gpo_analysis.cli.solve import solve

EPILOG = """\b
Examples:
  gpo losses
  gpo analyze "log(cosh(1-z))"
  gpo beta 0.1 --from trl:ipo --to gpo:ipo
  gpo solve comparisons.csv
  gpo recommend-beta comparisons.csv --kl 0.5
  gpo diagnose log.csv --loss dpo --beta 0.1
  gpo gaussians --figure landscape.png"""


@click.group(epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="gpo")
def gpo() -> None:
    """What does an offline preference-optimisation loss do to a policy, and why?"""


for command in (losses, analyze, beta, solve, recommend_beta, diagnose, gaussians):
    gpo.add_command(command)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command and exit; errors are one line on standard error."""
    try:
        code = gpo.main(None if arguments is None else list(arguments), prog_name="gpo", standalone_mode=False)
        sys.stdout.flush()
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        sys.exit(2)
    except click.ClickException as error:
        _fail(error.format_message(), 2)
    except ValueError as error:
        _fail(str(error), 2)
    except BrokenPipeError:  # the reader (head, less) has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        _fail(f"{where}{error.strerror or error}", 1)
    except (KeyboardInterrupt, click.Abort):
        _fail("interrupted", 130)
    sys.exit(code if isinstance(code, int) else 0)


def _fail(message: str, code: int) -> None:
    click.echo("gpo: " + " ".join(message.split()), err=True)
    sys.exit(code)
