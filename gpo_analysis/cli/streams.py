"""What a command owes its terminal: text in any encoding, an end without a traceback, whatever the output does."""

from __future__ import annotations

import codecs
import contextlib
import os
import sys
import warnings
from collections.abc import Callable
from types import FrameType
from typing import Any, TextIO

import click

from gpo_analysis.reading import visible

TRACEBACK = "GPO_TRACEBACK"  # set to 1 to see where a fault of the program came from
_PLAIN = {
    "α": "alpha", "β": "beta", "δ": "delta", "ε": "epsilon", "ζ": "zeta", "η": "eta", "κ": "kappa", "λ": "lambda",
    "μ": "mu", "π": "pi", "ρ": "rho", "σ": "sigma", "τ": "tau", "φ": "phi", "γ": "gamma", "θ": "theta", "ω": "omega",
    "Σ": "Sum", "Δ": "Delta", "ℝ": "R", "∈": "in", "∞": "inf", "≥": ">=", "≤": "<=", "≠": "!=", "≈": "~", "≻": ">",
    "→": "->", "←": "<-", "↦": "->", "⇒": "=>", "−": "-", "–": "-", "—": "-", "…": "...", "′": "'", "″": "''",
    "‖": "||", "─": "-",
    "·": "*", "×": "x", "½": "1/2", "¼": "1/4", "²": "^2", "³": "^3", "ᵖ": "^p", "±": "+-", "√": "sqrt", "∪": "U",
    "“": '"', "”": '"', "‘": "'", "’": "'", "„": '"', "°": " deg", "∘": "o", "∂": "d", "∫": "int",
    "≡": "=", "µ": "mu",
}  # fmt: skip


def _as_plain(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end]
    return "".join(_PLAIN.get(c) or c.encode("unicode_escape").decode("ascii") for c in text), error.end


def _own_ascii(name: str) -> codecs.CodecInfo | None:
    """ASCII under a name of its own: click takes streams of that encoding for misconfigured, writes UTF-8 to them."""
    if name.replace("_", "-") != "gpo-ascii":
        return None
    known = codecs.lookup("ascii")
    return codecs.CodecInfo(
        known.encode, known.decode, known.streamreader, known.streamwriter, known.incrementalencoder,
        known.incrementaldecoder, name="gpo-ascii",
    )  # fmt: skip


codecs.register_error("gpo-plain", _as_plain)
codecs.register(_own_ascii)


def write_anything() -> None:
    """Let standard output and error write every character: by name or as an escape where the encoding lacks it."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by whoever started the program
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123, SIM115
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            own = {"encoding": "gpo-ascii"} if _is_ascii(stream) else {}
            reconfigure(errors="gpo-plain", **own)


def _is_ascii(stream: TextIO) -> bool:
    try:
        return codecs.lookup(getattr(stream, "encoding", None) or "utf-8").name == "ascii"
    except LookupError:
        return False


def is_unicode(stream: TextIO) -> bool:
    """Whether a stream takes every character as it is."""
    try:
        return codecs.lookup(getattr(stream, "encoding", None) or "utf-8").name.startswith("utf")
    except LookupError:
        return False


def guarded(name: str, run: Callable[[], Any]) -> int:
    """Run a command; what goes wrong is one line on standard error, never a traceback.

    Parameters
    ----------
    name : str
        Of the command, before each line.
    run : function
        Its result is the exit code, if a whole number.

    Returns
    -------
    int
        The exit code: 0 done, or the reader of the output has gone; 1 a file or the output cannot be read or written,
        or memory does not suffice; 2 bad input; 3 a fault of the program; 130 interrupted.
    """
    write_anything()
    shown, warned = warnings.showwarning, dict[str, None]()
    ignored = sys.unraisablehook
    sys.unraisablehook = lambda what: _again(what, ignored)
    warnings.showwarning = lambda message, *_args, **_kwargs: warned.setdefault(str(message))
    try:
        code = run()
        sys.stdout.flush()
        for message in warned:  # each once, and none beside an error, which is one line
            _say(name, f"warning: {message}")
        return code if isinstance(code, int) else 0
    except SystemExit as leave:
        if type(sys.stdout).__name__.endswith("PacifyFlushWrapper"):  # click has met the closed pipe first
            return 0
        if isinstance(leave.code, str):  # the line of needs_extra, which names the program itself
            _say(name, leave.code.removeprefix(f"{name}: "))
        return _flushed(name, leave.code if isinstance(leave.code, int) else 0 if leave.code is None else 1)
    except BrokenPipeError:  # the reader (head, less) has gone
        _drop_output()
        return 0
    except Exception as error:
        message, code = _told(error)
        if code == 3 and os.environ.get(TRACEBACK):
            raise
        _drop_output_that_fails()
        _say(name, message)
        return code
    except (KeyboardInterrupt, click.Abort):
        _drop_output_that_fails()
        _say(name, "interrupted")
        return 130
    finally:
        warnings.showwarning, sys.unraisablehook = shown, ignored


def _again(what: sys.UnraisableHookArgs, otherwise: Callable[[sys.UnraisableHookArgs], Any]) -> None:
    """Ctrl-C in a finalizer or a callback, where Python drops it, is raised at the next line of who was interrupted."""
    if not issubclass(what.exc_type, KeyboardInterrupt):
        otherwise(what)
        return
    before = sys.gettrace()

    def pressed(_frame: FrameType, _event: str, _argument: Any) -> None:
        sys.settrace(before)
        raise KeyboardInterrupt

    sys.settrace(lambda _frame, _event, _argument: None)
    frame = sys._getframe(2)  # past this and the hook
    while frame is not None:
        frame.f_trace = pressed
        frame = frame.f_back  # type: ignore[assignment]


def _told(error: Exception) -> tuple[str, int]:
    """What to say of an error, and the exit code."""
    if isinstance(error, click.ClickException):
        return error.format_message(), 2
    if isinstance(error, ValueError):
        return str(error), 2
    if isinstance(error, OSError):
        return (f"{error.filename}: " if error.filename else "") + (error.strerror or str(error)), 1
    if isinstance(error, MemoryError):
        return f"not enough memory: {error}".removesuffix(": "), 1
    if isinstance(error, click.Abort):
        return "interrupted", 130
    return f"a fault of the program: {type(error).__name__}: {error} ({TRACEBACK}=1 shows where; please report it)", 3


def _flushed(name: str, code: int) -> int:
    try:
        sys.stdout.flush()
    except OSError as error:
        _drop_output()
        if isinstance(error, BrokenPipeError):
            return code
        _say(name, error.strerror or str(error))
        return 1
    return code


def _say(name: str, message: str) -> None:
    with contextlib.suppress(OSError, ValueError):  # with no standard error nobody can be told
        print(visible(" ".join(f"{name}: {message}".split())), file=sys.stderr, flush=True)


def _drop_output_that_fails() -> None:
    """Write out what was said before the error, or drop it where the output takes no more."""
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        _drop_output()


def _drop_output() -> None:
    """So that Python's last flush, at exit, does not fail again."""
    try:
        devnull = os.open(os.devnull, os.O_WRONLY)
        os.dup2(devnull, sys.stdout.fileno())
        os.close(devnull)
    except (OSError, ValueError):
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115
