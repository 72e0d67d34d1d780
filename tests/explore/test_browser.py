"""The explorer in a real browser, headless; ``make explore-test`` runs it, with screenshots in ``out/explore``.

The browser is the system's chromium, driven by Playwright. What the page draws is read out of its Bokeh document and
compared with the tables.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest

from gpo_analysis.explore import State, table

CHROMIUM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), ""
)
REASON = (
    "run by make explore-test (GPO_BROWSER=1)" if os.environ.get("GPO_BROWSER") != "1"
    else "no chromium is installed" if not CHROMIUM
    else "playwright is not installed" if importlib.util.find_spec("playwright") is None
    else "panel is not installed" if importlib.util.find_spec("panel") is None
    else ""
)  # fmt: skip
pytestmark = [
    pytest.mark.skipif(bool(REASON), reason=REASON or "-"),
    pytest.mark.filterwarnings("default"),
]
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
PICTURES = Path(os.environ.get("GPO_EXPLORE_PICTURES", "out/explore"))
PATIENCE = 120.0  # seconds, on a machine that does other things; nothing is measured by it
CURVES = """() => [...Bokeh.documents[0]._all_models.values()].filter(m => m.type === 'GlyphRenderer')
  .map(m => [m.name, Array.from(m.data_source.data.x || [], Number), Array.from(m.data_source.data.y || [], Number)])"""


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder = tmp_path_factory.mktemp("server")
    (folder / "games.csv").write_text("winner,loser,count\na,b,7\nb,a,3\nb,c,6\nc,b,5\na,c,8\nc,a,2\n")
    command = [sys.executable, "-m", "gpo_analysis.cli", "explore", "--no-browser", "--port", str(port)]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    with (folder / "log").open("w") as log:
        server = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, env=environment)
    try:
        until(lambda: answers(f"http://127.0.0.1:{port}/"), lambda: (folder / "log").read_text())
        yield f"http://127.0.0.1:{port}/"
    finally:
        server.terminate()
        server.wait()


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url) as page:
            return page.status == 200
    except OSError:
        return False


def until(done: Callable[[], Any], otherwise: Callable[[], object] = lambda: "") -> Any:
    """What comes of waiting; the failure says what was there instead."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        found = done()
        if found:
            return found
        time.sleep(0.2)
    pytest.fail(f"not within {PATIENCE:g} s; there is {otherwise()}")


@pytest.fixture(scope="module")
def context() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS, headless=True)
        made = browser.new_context(viewport={"width": 1360, "height": 1000}, accept_downloads=True)
        made.set_default_timeout(1000 * PATIENCE)
        yield made
        browser.close()


@pytest.fixture
def page(context: Any) -> Iterator[Any]:
    opened = context.new_page()
    opened.hosts = set()
    opened.complaints = []
    opened.on("request", lambda request: opened.hosts.add(urlsplit(request.url).hostname or "127.0.0.1"))  # none: data:
    opened.on("pageerror", lambda error: opened.complaints.append(str(error)))
    yield opened
    opened.close()


def curves(page: Any) -> list[tuple[str, np.ndarray, np.ndarray]]:
    if not page.evaluate("() => typeof Bokeh !== 'undefined' && Bokeh.documents.length > 0"):
        return []
    return [(name, np.array(x), np.array(y)) for name, x, y in page.evaluate(CURVES)]


def curve(page: Any, name: str, x: np.ndarray) -> np.ndarray | None:
    """The values that the page draws under a name at these x."""
    return next(
        (y for label, at, y in curves(page) if label == name and len(at) == len(x) and np.allclose(at, x)), None
    )


def of(shown: Any, loss: str, column: str) -> np.ndarray:
    return shown[shown["loss"] == loss][column].to_numpy()


def opened(page: Any, address: str, state: State) -> None:
    query = state.query()
    page.goto(address + (f"?{query}" if query else ""))
    until(lambda: len(curves(page)) > 1, lambda: page.content()[:2000])


def typed(page: Any) -> Any:
    return page.locator("input[placeholder^='log(cosh']")


def picture(page: Any, name: str) -> None:
    PICTURES.mkdir(parents=True, exist_ok=True)
    page.wait_for_timeout(1500)
    page.screenshot(path=PICTURES / f"{name}.png", full_page=True)


def test_it_loads_and_a_typed_loss_changes_the_plots(page: Any, address: str) -> None:
    opened(page, address, State())
    before = table(State())
    z = of(before, "squared", "z")
    np.testing.assert_allclose(curve(page, "squared (IPO)", z), of(before, "squared", "f"))
    picture(page, "losses")
    typed(page).fill("log(cosh(1-z))")
    typed(page).press("Enter")
    found = until(lambda: curve(page, "log(cosh(1-z))", z) is not None, lambda: [c[0] for c in curves(page)])
    assert found
    np.testing.assert_allclose(curve(page, "log(cosh(1-z))", z), np.log(np.cosh(1 - z)), rtol=1e-12)
    assert "losses=log%28cosh%281-z%29%29" in until(lambda: "log" in page.url and page.url, lambda: page.url)
    assert page.locator("table.facts").inner_text().count("log(cosh") >= 1
    picture(page, "typed")
    assert page.hosts == {"127.0.0.1"}
    assert page.complaints == []


def test_a_wrong_loss_says_why_under_its_field_and_leaves_the_rest(page: Any, address: str) -> None:
    opened(page, address, State(losses=("dpo",)))
    typed(page).fill("foo(z) + __import__('os').getcwd()")
    typed(page).press("Enter")
    fault = page.locator("[role=alert]").first
    fault.wait_for()
    message = fault.inner_text()
    assert "cannot read" in message
    assert "accepted: the symbol z" in message
    field, below = typed(page).bounding_box(), fault.bounding_box()
    assert below["y"] >= field["y"] + field["height"] - 1
    assert below["y"] - field["y"] < 90
    assert curve(page, "logistic (DPO)", np.linspace(-5, 5, 401)) is not None
    picture(page, "wrong")
    typed(page).fill("exp(-z)")
    typed(page).press("Enter")
    until(lambda: page.locator("[role=alert]").count() == 0, message.strip)
    assert page.complaints == []


@pytest.mark.parametrize(
    "state",
    [
        State(
            losses=("dpo", "exp(-z)"), view="policies", rewards="0, 1, 3", mu="1, 2, 3", amount="0.25", by="strength"
        ),
        State(losses=("ipo", "(1-z)**4"), view="regularizers", preferences="cycle", cycle="0.25"),
    ],
    ids=lambda state: state.view,
)
def test_the_link_restores_the_state(page: Any, address: str, state: State) -> None:
    opened(page, address, state)
    shown, column = table(state), "policy" if state.view == "policies" else "kl"
    for loss in shown["loss"].unique():
        wanted = of(shown, loss, column)
        until(
            lambda wanted=wanted: any(len(y) == len(wanted) and np.allclose(y, wanted) for _, _, y in curves(page)),
            lambda: [(name, y[:3]) for name, _, y in curves(page)],
        )
    assert typed(page).input_value() == state.losses[1]
    again, notes = State.from_query(urlsplit(page.url).query)
    assert (again, notes) == (state, ())
    picture(page, state.view)


@pytest.mark.parametrize("view", ["training", "mixture"])
def test_the_exported_python_prints_the_numbers_of_the_data(page: Any, address: str, view: str, tmp_path: Path) -> None:
    state = State(losses=("dpo", "log(cosh(1-z))"), view=view, steps="80", step="40", modes="-2, 0, 3")
    opened(page, address, state)
    picture(page, view)
    saved = {}
    for label in ("The Python that makes it", "Data (CSV)", "Figure (SVG)"):
        with page.expect_download() as coming:
            page.get_by_text(label).first.click()
        saved[label] = tmp_path / coming.value.suggested_filename
        coming.value.save_as(saved[label])
    script, data, drawn = saved.values()
    assert (script.name, data.name, drawn.name) == (f"gpo-{view}.py", f"gpo-{view}.csv", f"gpo-{view}.svg")
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, cwd=tmp_path, env=environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout == data.read_text()
    assert len(done.stdout.splitlines()) > 50
    assert "<svg" in drawn.read_text()[:1000]


def test_a_file_is_chosen_and_read(page: Any, address: str, tmp_path: Path) -> None:
    opened(page, address, State(losses=("dpo",), view="policies"))
    file = tmp_path / "own games.csv"
    file.write_text("winner,loser,count\nred,blue,3\nblue,red,1\n")
    page.locator("select:not([multiple]):visible").first.select_option("a file of comparisons")
    page.locator("[role=alert]").first.wait_for()
    page.locator("input[type=file]").set_input_files(file)
    until(lambda: curve(page, "logistic (DPO)", np.arange(2.0)) is not None, lambda: [c[0] for c in curves(page)])
    np.testing.assert_allclose(curve(page, "logistic (DPO)", np.arange(2.0)), [0.9, 0.1], atol=1e-9)  # σ(log 3 / β)
    picture(page, "file")
