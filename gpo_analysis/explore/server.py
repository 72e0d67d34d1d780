"""The page served on this machine alone, its address kept in step with its state."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gpo_analysis.explore import words
from gpo_analysis.explore.explorer import Explorer, load_panel
from gpo_analysis.explore.state import State
from gpo_analysis.preferences import Comparisons


def serve(
    state: State | None = None,
    files: Mapping[str, Comparisons] | None = None,
    *,
    port: int = 5016,
    show: bool = True,
) -> None:
    """Serve the explorer on this machine alone, until interrupted.

    Parameters
    ----------
    state : State, optional
        What stands in the fields where the address has no state.
    files : mapping of str to Comparisons, optional
    port : int
        Of 127.0.0.1.
    show : bool
        Open a browser.

    Raises
    ------
    OSError
        Where the port is taken.
    """
    pn = load_panel()
    given = dict(files or {})

    def page() -> Any:
        location = pn.state.location
        query = (location.search or "") if location is not None else ""
        found, remarks = State.from_query(query) if query.strip("?") else (state or State(), ())
        explorer = Explorer(found, given, remarks)
        if location is not None:
            follow_address(explorer, location)
        return explorer.layout

    pn.serve(
        page,
        port=port,
        address="127.0.0.1",
        websocket_origin=[f"127.0.0.1:{port}", f"localhost:{port}"],
        show=show,
        title=words.TITLE,
    )


def follow_address(explorer: Explorer, location: Any) -> None:
    """Keep an address in step with the state, and the state with the address (back, forward).

    Parameters
    ----------
    explorer : Explorer
    location : panel.io.location.Location
        Of the page.
    """

    def write(state: State) -> None:
        query = state.query()
        location.search = f"?{query}" if query else ""

    def read(_event: Any) -> None:
        if location.search.removeprefix("?") != explorer.state.query():
            found, explorer.remarks = State.from_query(location.search)
            explorer.load(found)

    explorer.on_change(write)
    location.param.watch(read, "search")
