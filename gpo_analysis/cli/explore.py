"""``gpo explore``: the explorer in a browser."""

from __future__ import annotations

from pathlib import Path

import click

from gpo_analysis.cli.completing import loss_names
from gpo_analysis.cli.extras import needs_extra
from gpo_analysis.cli.numbers import WHOLE
from gpo_analysis.cli.output import say, say_report

EXPLORE_HELP = """\b
Examples:
  gpo explore
  gpo explore comparisons.csv
  gpo explore --loss dpo --loss "log(cosh(1-z))" --port 8000 --no-browser"""


@click.command(epilog=EXPLORE_HELP)
@click.argument("files", type=click.Path(path_type=Path), nargs=-1)
@click.option(
    "--loss", "losses", multiple=True, shell_complete=loss_names,
    help="A loss by name or expression to begin with (again for more).",
)  # fmt: skip
@click.option("--port", type=WHOLE, default=5016, show_default=True, help="Of 127.0.0.1; no other machine sees it.")
@click.option("--browser/--no-browser", default=True, help="Open a browser.")
def explore(files: tuple[Path, ...], losses: tuple[str, ...], port: int, browser: bool) -> None:
    """Change f, β, μ, πref and preferences in a browser, and see what follows.

    FILES are comparisons (as gpo solve reads them) that can be chosen on the page.
    """
    from gpo_analysis.explore import State
    from gpo_analysis.explore.server import serve
    from gpo_analysis.losses.lookup import get_margin_loss
    from gpo_analysis.preferences import read_comparisons

    if not 1 <= port <= 65535:
        raise ValueError(f"--port is {port}; accepted are 1 to 65535")
    for text in losses:
        get_margin_loss(text)
    read = {}
    for path in files:
        read[str(path)] = read_comparisons(path)
        say_report(read[str(path)].report)
    state = State()
    if losses:
        state = state.with_(losses=losses)
    if files:
        state = state.with_(preferences="file", file=str(files[0]), view="policies")
    with needs_extra("explore", "gpo"):
        import panel  # noqa: F401

        say(f"http://127.0.0.1:{port}/ (Ctrl+C ends it)")
        serve(state, read, port=port, show=browser)
