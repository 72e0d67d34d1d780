"""The explorer without a browser: addresses, errors by field, tables beside other computations, scripts run."""

from __future__ import annotations

import contextlib
import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from scipy.optimize import minimize, minimize_scalar
from scipy.special import expit

import gpo_analysis as gpo
from gpo_analysis.cli.main import gpo as command
from gpo_analysis.explore import Explorer, FieldError, State, faults, figure, notes, script, table
from gpo_analysis.explore.drawing import panels
from gpo_analysis.explore.fields import betas_of
from gpo_analysis.explore.state import VIEWS
from gpo_analysis.explore.uploads import read_bytes
from gpo_analysis.preferences import read_comparisons

ODD = State(
    losses=("dpo", "log(cosh(1-z))", "exp(-z) + 'ü'"),
    view="policies",
    by="strength",
    amount="0.3",
    mu="1 2\n3",
    matrix="0.5, 0.8; 0.2, 0.5",
    step="8",
)


@pytest.mark.parametrize("state", [State(), ODD, State(losses=()), State(rewards="")])
def test_an_address_gives_its_state_back(state: State) -> None:
    assert State.from_query(state.query()) == (state, ())
    assert State.from_query(f"?{state.query()}") == (state, ())


def test_what_an_address_says_wrongly_is_told() -> None:
    state, lines = State.from_query("losses=ipo&view=nothing&colour=red&amount=2")
    assert state == State(losses=("ipo",), amount="2")
    assert "view='nothing'" in lines[0]
    assert "'colour'" in lines[1]
    assert State.from_query("amount=" + "1" * 5000)[1][0].startswith("the address has 5,007 characters")
    with pytest.raises(ValueError, match="by is 'kappa'; accepted are beta, strength"):
        State(by="kappa")
    with pytest.raises(ValueError, match="accepted is a tuple of texts"):
        State(losses="dpo")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changed", "field", "says"),
    [
        ({"losses": ("relu(1-z) + foo(z)",)}, "losses", "accepted: the symbol z"),
        ({"losses": ("__import__('os')",)}, "losses", "cannot read"),
        ({"losses": ("a - 2*b",)}, "losses", "of two log-ratios"),
        ({"losses": ("dpoo",)}, "losses", "did you mean 'dpo'"),
        ({"losses": ()}, "losses", "choose one, or type one"),
        ({"losses": tuple(f"exp(-{k}*z)" for k in range(1, 10))}, "losses", "9 losses"),
        ({"amount": "0"}, "amount", "from 0.0001 to 10000"),
        ({"amount": "nan"}, "amount", "accepted is a number"),
        ({"by": "strength", "losses": ("slic",)}, "amount", "κ = f″(0)/|f′(0)| = 0"),
        ({"rewards": "0, x"}, "rewards", "accepted are 2 to 30 numbers"),
        ({"rewards": "0"}, "rewards", "has 1 numbers"),
        ({"rewards": "0, 1e9"}, "rewards", "too large"),
        ({"preferences": "cycle", "cycle": "1.5"}, "cycle", "from 0 to 1"),
        ({"preferences": "cycle", "rewards": "0, 1"}, "rewards", "accepted are 3 to 30"),
        ({"preferences": "annotators", "annotators": "1, 2; 3"}, "annotators", "accepted are 2 to 30"),
        ({"preferences": "annotators", "annotators": "1, 2; 3, 4, 5"}, "annotators", "rows of one length"),
        ({"preferences": "annotators", "annotators": ";"}, "annotators", "0 rows"),
        ({"preferences": "matrix", "matrix": "0.5, 0.8; 0.3, 0.5"}, "matrix", "1"),
        ({"preferences": "matrix", "matrix": "x"}, "matrix", "accepted"),
        ({"preferences": "file", "file": "/etc/passwd"}, "file", "no file '/etc/passwd' is loaded"),
        ({"mu": "1, 2"}, "mu", "accepted are 3 to 3 numbers"),
        ({"mu": "0, 0, 0"}, "mu", "not all 0"),
        ({"reference": "0, 1, 1"}, "reference", "above 0"),
        ({"order": "2.5"}, "order", "a whole number from 0 to 20"),
        ({"rate": "-1"}, "rate", "accepted is a number"),
        ({"steps": "100000"}, "steps", "from 1 to 5000"),
        ({"modes": "0, 1000"}, "modes", "too far out"),
        ({"modes": "1,2,3,4,5,6,7"}, "modes", "accepted are 1 to 6"),
        ({"width": "0"}, "width", "from 0.05 to 20"),
        ({"shift": "a"}, "shift", "accepted is a number"),
    ],
)
def test_what_is_wrong_is_said_of_its_field(changed: dict[str, object], field: str, says: str) -> None:
    found = faults(State(**changed), {})  # type: ignore[arg-type]
    assert list(found) == [field]
    assert says in found[field]


@pytest.fixture(scope="module")
def games(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("explore") / "games.csv"
    path.write_text("winner,loser,count\na,b,7\nb,a,3\nb,c,6\nc,b,5\na,c,8\nc,a,2\n")
    return path


MIXED = ("dpo", "slic", "log(cosh(1-z))")
SHOWN = [
    State(losses=(*MIXED, "abs(z-1) + abs(z)"), view="losses", order="6"),
    State(losses=MIXED, view="link"),
    State(losses=MIXED, view="policies", mu="1, 2, 3", reference="3, 2, 1"),
    State(losses=MIXED, view="policies", by="strength", amount="0.2", preferences="cycle", cycle="0.3"),
    State(losses=MIXED, view="regularizers", preferences="annotators"),
    State(losses=("ipo", "exp(-z)"), view="regularizers", preferences="matrix"),
    State(losses=("ipo", "dpo"), view="policies", preferences="file"),
    State(
        losses=("ipo", "savage"), view="training", by="strength", amount="0.1", steps="37", optimizer="adam", rate="0.1"
    ),
    State(losses=("dpo",), view="training", steps="20", optimizer="flow", mu="1, 1, 4"),
    State(view="mixture", modes="-2, 0.5, 3", weights="1, 2, 1", width="0.7", mean="0.5"),
]


@pytest.mark.parametrize("state", SHOWN, ids=[f"{s.view}-{s.preferences}-{s.by}" for s in SHOWN])
def test_the_script_prints_the_table(state: State, games: Path) -> None:
    files = {str(games): read_comparisons(games)}
    state = state.with_(file=str(games)) if state.preferences == "file" else state
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        exec(compile(script(state, files), "script", "exec"), {})
    wanted = table(state, files)
    assert said.getvalue() == wanted.to_csv(index=False)
    assert len(wanted) >= 4
    assert all(len(line) <= 130 for line in script(state, files).splitlines())


def test_a_script_is_a_program_of_its_own() -> None:
    state = State(losses=("exp(-z)",), view="link")
    done = subprocess.run(
        [sys.executable, "-c", script(state)], capture_output=True, text=True, cwd=Path(__file__).parents[2]
    )
    assert done.stdout == table(state).to_csv(index=False)


def test_a_loss_of_two_lines_stays_in_its_comment() -> None:
    state = State(losses=("dpo", "(max(0, 1-z)\n+print)"), view="policies", by="strength")
    with pytest.raises(FieldError, match="cannot read"):
        script(state)
    state = state.with_(losses=("dpo", "max(0,\n1-z)"))
    text = script(state)
    assert [line for line in text.splitlines() if line.startswith("1-z")] == []
    assert "# max(0, 1-z) has no second-order term" in text


def test_links_are_minimisers() -> None:
    shown = table(State(losses=("dpo", "(1-z)**4"), view="link"))
    np.testing.assert_allclose(
        shown[shown["loss"] == "logistic"]["margin"], np.log(shown["eta"][:199] / (1 - shown["eta"][:199])), atol=1e-12
    )
    for eta, z in shown[shown["loss"] == "(1-z)**4"][["eta", "margin"]].to_numpy()[::40]:
        best = minimize_scalar(lambda z, eta=eta: eta * (1 - z) ** 4 + (1 - eta) * (1 + z) ** 4, tol=1e-14).x
        assert z == pytest.approx(best, abs=1e-5)


def test_policies_and_regularizers_are_those_of_scipys_minimum() -> None:
    rewards, mu = np.array([0.0, 1.0, 2.0]), np.array([1.0, 2.0, 1.0]) / 4
    state = State(losses=("dpo", "exp(-z)"), view="policies", rewards="0 1 2", mu="1 2 1", amount="0.5")
    preference = expit(rewards[:, None] - rewards[None, :])

    def risk(g: np.ndarray) -> float:
        return float(np.sum(mu[:, None] * mu * preference * np.exp(g[None, :] - g[:, None])))

    g = minimize(risk, np.zeros(3), tol=1e-14).x
    policy = np.exp(g / 0.5) / np.exp(g / 0.5).sum()
    shown = table(state)
    np.testing.assert_allclose(shown[shown["loss"] == "exp(-z)"]["policy"], policy, atol=1e-6)
    tilt = np.exp(rewards / 0.5)
    np.testing.assert_allclose(shown[shown["loss"] == "logistic"]["policy"], tilt / tilt.sum(), atol=1e-12)
    over = table(state.with_(view="regularizers"))
    near = over[(over["loss"] == "exp(-z)")].iloc[(over["beta"][:101] - 0.5).abs().argmin()]
    h = g / near["beta"] - np.log(np.exp(g / near["beta"]).mean())
    assert near["mu_squared_loss"] == pytest.approx(mu @ h**2 - (mu @ h) ** 2, rel=1e-5)
    assert near["kl"] == pytest.approx(np.exp(h) / 3 @ h, rel=1e-5)


def test_taylor_polynomials_come_near_within_the_radius() -> None:
    shown = table(State(losses=("dpo",), order="20"))
    near, far = shown[shown["z"].abs() < 1.5], shown[shown["z"].abs() > 4.5]
    assert (near["taylor"] - near["f"]).abs().max() < 1e-7
    assert (far["taylor"] - far["f"]).abs().min() > 10
    kinked = State(losses=("abs(z)",), order="2")
    assert table(kinked)["taylor"].isna().all()
    assert "kink" in notes(kinked)[0]


def test_equal_strength_divides_by_kappa_and_says_what_has_none() -> None:
    betas, left_out = betas_of(State(by="strength", amount="0.1"))
    assert betas == {"logistic": pytest.approx(0.2), "squared": pytest.approx(0.1)}
    assert "hinge has no second-order term" in left_out[0]
    assert set(table(State(by="strength", view="policies"))["loss"]) == {"logistic", "squared"}


def test_training_goes_to_the_optimum() -> None:
    state = State(losses=("dpo",), view="training", rate="5", steps="3000")
    last = table(state).iloc[-1]
    optimum = table(state.with_(view="policies"))["policy"]
    np.testing.assert_allclose(last[["p(0)", "p(1)", "p(2)"]].astype(float), optimum, atol=1e-6)
    assert notes(state) == []
    assert "rising" in " ".join(notes(state.with_(losses=("ipo",), rate="1e3", steps="50"))) or notes(
        state.with_(losses=("ipo",), rate="1e3", steps="50")
    )


def test_the_mixture_has_the_minima_of_the_counterexample() -> None:
    shown = table(State(view="mixture"))
    assert (shown["minimum"] == "kl").sum() == 1
    far = shown[(shown["minimum"] == "mu_squared_loss") & (shown["c"].abs() > 1)]
    np.testing.assert_allclose(far["c"].abs(), 2.99, atol=0.01)
    np.testing.assert_allclose(far["kl"], 5.98, atol=0.01)


@pytest.mark.parametrize("view", VIEWS)
def test_every_view_is_drawn(view: str) -> None:
    state = State(losses=("dpo", "logistic", "log(cosh(1-z))", "cosh(z)-z"), view=view)
    drawn = figure(state)
    assert len(drawn.axes) == 2
    assert all(ax.get_xlabel() and ax.get_ylabel() and ax.get_title(loc="left") for ax in drawn.axes)
    labelled = {curve.label: curve.style for panel in panels(state) for curve in panel.curves if not curve.faint}
    colours = [labelled[name].color for name in ("log(cosh(1-z))", "cosh(z)-z") if name in labelled]
    assert len(set(colours)) == len(colours)


def test_without_an_optimum_it_says_so() -> None:
    state = State(losses=("dpo",), view="policies", preferences="matrix", matrix="0.5, 1; 0, 0.5")
    assert table(state)["policy"].isna().all()
    assert "no finite optimum" in notes(state)[0]


# -- the page without a browser ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def page() -> Explorer:
    pytest.importorskip("panel", reason="panel is not installed")
    return Explorer()


def drawn(page: Explorer) -> dict[str, np.ndarray]:
    plots = page.plot.object.children
    return {r.name: np.asarray(r.data_source.data["y"]) for plot in plots for r in plot.renderers}


@pytest.mark.filterwarnings("default")
def test_widgets_change_the_state_and_the_picture(page: Explorer) -> None:
    heard: list[State] = []
    page.on_change(heard.append)
    page.load(State())
    page.typed.value = "exp(-z); (1-z)**4"
    assert page.state.losses == ("logistic", "squared", "hinge", "exp(-z)", "(1-z)**4")
    assert "exp(-z)" in drawn(page)
    page.typed.value = "foo(z)"
    assert "cannot read" in page.errors["losses"].object
    assert "last one that could be drawn" in page.remark.object
    page.typed.value = ""
    assert page.errors["losses"].object == ""
    page.view.value = "policies"
    assert not page.groups["order"].visible
    page.amount.value = 0
    assert page.state.amount == "1"
    tilt = np.exp(np.arange(3.0))
    np.testing.assert_allclose(table(page.state)["policy"][:3], tilt / tilt.sum())
    page.view.value = "mixture"
    page.movers[1].value = 0.5
    assert page.state.modes == "-3, 0.5, 3"
    assert heard[-1] == page.state
    assert page.csv().read().decode() == table(page.state).to_csv(index=False)
    assert page.python().read().decode() == script(page.state)
    assert page.svg().read().startswith(b"<?xml")
    assert page.png().read().startswith(b"\x89PNG")
    assert "Explorer(State(" in repr(page)


@pytest.mark.filterwarnings("default")
def test_a_state_is_put_into_the_widgets(page: Explorer) -> None:
    state = State(
        losses=("savage", "exp(-z)"), view="training", steps="80", step="16", preferences="annotators", amount="2"
    )
    page.load(state)
    assert page._read() == state
    assert page.step.value == 16
    assert page.inputs["annotators"].visible
    assert not page.inputs["rewards"].visible


@pytest.mark.filterwarnings("default")
def test_a_file_is_read_or_refused_under_its_field(page: Explorer) -> None:
    page.load(State(losses=("dpo",), view="policies"))
    page.upload.param.update(filename="../own games.csv", value=b"winner,loser\na,a\n")
    assert "own_games.csv" in page.errors["file"].object
    page.upload.param.update(filename="own.csv", value=b"winner,loser,count\na,b,3\nb,a,1\n")
    assert (page.state.preferences, page.state.file) == ("file", "own.csv")
    np.testing.assert_allclose(table(page.state, page.files)["policy"], [0.9, 0.1], atol=1e-9)  # σ(log 3/β)
    with pytest.raises(ValueError, match="accepted are up to 10,000,000"):
        read_bytes(b"x" * 10_000_001, "large.csv")


@pytest.mark.filterwarnings("default")
def test_a_notebook_shows_it(page: Explorer) -> None:
    shown = page._repr_mimebundle_()
    data = shown[0] if isinstance(shown, tuple) else shown
    assert any("html" in kind for kind in data)
    assert len(json.dumps(data)) > 1000


@pytest.mark.filterwarnings("default")
def test_the_address_follows_the_state_and_the_state_the_address(page: Explorer) -> None:
    param = pytest.importorskip("param")
    from gpo_analysis.explore.server import follow_address

    location = param.parameterized_class("Location", {"search": param.String("")})()
    page.load(State())
    follow_address(page, location)
    page.view.value = "link"
    assert location.search == "?view=link"
    page.typed.value = "exp(-z)"
    assert State.from_query(location.search) == (page.state, ())
    location.search = "?view=training&steps=40&colour=red"  # as the button for going back does
    assert page.state == State(view="training", steps="40")
    assert "colour" in page.remark.object
    location.search = ""
    assert page.state == State()


def test_the_command_refuses_what_it_cannot_show(tmp_path: Path) -> None:
    for arguments, says in (
        (["--port", "0"], "accepted are 1 to 65535"),
        (["--loss", "foo(z)"], "neither a name"),
        ([str(tmp_path / "none.csv")], "none.csv"),
    ):
        done = CliRunner().invoke(command, ["explore", *arguments])
        assert done.exception is not None
        assert says in str(done.exception)
    assert gpo.explore.State is State


def test_without_the_extra_it_is_named() -> None:
    code = (
        "import sys; sys.modules['panel'] = None; from gpo_analysis.cli import main; main(['explore', '--no-browser'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert done.returncode == 1
    assert done.stderr == "gpo: panel is not installed; it comes with: pip install 'gpo-analysis[explore]'\n"
