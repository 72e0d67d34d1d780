"""Where a result comes from: the code that ran, its commit, the versions around it, the device and its arithmetic.

`code_hash` takes in the whole library and the experiment, so that a result is found again as long as no code that it
can have used has changed, and no longer.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import os
import platform
import re
import subprocess
from pathlib import Path
from typing import Any

LIBRARY = "gpo_analysis"
SHOWING = ("plotting", "cli")
"""Folders of the library whose code shows results and cannot change one."""
USED_BY_SOME = "llm"
DISTRIBUTIONS = ("gpo-analysis", "numpy", "scipy", "sympy", "pandas", "pyarrow", "matplotlib", "joblib", "torch")


def versions() -> dict[str, str]:
    """Return the version of Python and of every installed package that results may depend on (none is imported).

    Examples
    --------
    >>> "python" in versions(), "numpy" in versions()
    (True, True)
    """
    found = {"python": platform.python_version()}
    for distribution in DISTRIBUTIONS:
        try:
            found[distribution] = importlib.metadata.version(distribution)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def git_state(folder: str | os.PathLike[str], besides: str = "") -> dict[str, str | bool | None]:
    """Return the commit checked out around ``folder`` and whether files differ from it.

    Parameters
    ----------
    folder : path
    besides : str
        A folder below it whose files do not count, because what is recorded goes there.

    Returns
    -------
    dict
        ``commit`` (40 hexadecimal digits) and ``dirty``; both None where there is no git or no commit.
    """
    commit = _git(folder, "rev-parse", "HEAD")
    if commit is None:
        return {"commit": None, "dirty": None}
    changed = _git(folder, "status", "--porcelain", *(["--", ".", f":(exclude){besides}"] if besides else []))
    return {"commit": commit, "dirty": None if changed is None else bool(changed)}


def device() -> dict[str, str | int | None]:
    """Return what the computation ran on: processor, cores and system."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "machine": platform.machine(),
        "system": platform.system(),
    }


def arithmetic() -> dict[str, str | int | list[str] | None]:
    """Return what the last digits depend on: BLAS kernels and threads, vector instructions of numpy, C library.

    Examples
    --------
    >>> sorted(arithmetic())
    ['blas', 'libc', 'simd', 'threads']
    """
    import numpy as np
    from threadpoolctl import threadpool_info

    pools = [pool for pool in threadpool_info() if pool["user_api"] == "blas"]
    words = ("internal_api", "version", "architecture")
    config: Any = np.show_config("dicts")
    return {
        "blas": sorted({" ".join(str(pool[word]) for word in words if pool.get(word)) for pool in pools}),
        "threads": max((int(pool["num_threads"]) for pool in pools), default=None),
        "simd": [str(name) for name in config.get("SIMD Extensions", {}).get("found", [])],
        "libc": " ".join(platform.libc_ver()).strip() or None,
    }


def code_hash(module: str, *, where: Path | None = None) -> str:
    """Return 16 hexadecimal digits that change when code that ``module`` can run changes.

    Parameters
    ----------
    module : str
        Dotted name of an experiment, such as ``"experiments.losses"``.
    where : path, optional
        Folder that holds the packages; where Python finds them by default.

    Raises
    ------
    ValueError
        If there is no such module.

    Notes
    -----
    The files of `code_files` go in with their names, line ends apart. Versions of other people's packages do not.
    """
    digest = hashlib.sha256()
    for label, file in code_files(module, where=where).items():
        digest.update(f"{label}\0".encode() + file.read_bytes().replace(b"\r\n", b"\n") + b"\0")
    return digest.hexdigest()[:16]


def code_files(module: str, *, where: Path | None = None) -> dict[str, Path]:
    """Return the files that a run of ``module`` can depend on, by the path below the folder of the packages.

    These are the library without what only shows results; of the experiment's own package the framework, the modules
    that begin with an underscore and the experiment itself, a file or a folder; and ``llm``, where one of those
    imports it.

    Parameters
    ----------
    module, where : as of `code_hash`

    Raises
    ------
    ValueError
        If there is no such module.
    """
    package, _, name = module.partition(".")
    root, below = _folder(package, where), name.replace(".", "/")
    if root is None or not name or not ((root / f"{below}.py").is_file() or (root / below / "__init__.py").is_file()):
        raise ValueError(f"no module {module!r}")
    own = [
        path
        for path in _files(root)
        if (inside := path.relative_to(root).as_posix()).startswith(("_", "framework/", f"{below}/"))
        or inside == f"{below}.py"
    ]
    found = {f"{package}/{path.relative_to(root).as_posix()}": path for path in own}
    others = [LIBRARY]
    if any(re.search(rf"^\s*(from|import) {USED_BY_SOME}\b", _text(path), re.MULTILINE) for path in own):
        others.append(USED_BY_SOME)
    for other in others:
        folder = _folder(other, where)
        for path in _files(folder) if folder is not None else []:
            inside = path.relative_to(folder).as_posix()  # type: ignore[arg-type]
            if other != LIBRARY or inside.partition("/")[0] not in SHOWING:
                found[f"{other}/{inside}"] = path
    return dict(sorted(found.items()))


def _folder(package: str, where: Path | None) -> Path | None:
    """Return the folder of a package, or None where there is none."""
    if where is not None:
        return where / package if (where / package).is_dir() else None
    spec = importlib.util.find_spec(package)
    return Path(spec.origin).parent if spec is not None and spec.origin is not None else None


def _files(folder: Path) -> list[Path]:
    """Return the files of a package, but for what Python caches there."""
    return [path for path in sorted(folder.rglob("*")) if path.is_file() and "__pycache__" not in path.parts]


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.suffix == ".py" else ""


def _git(folder: str | os.PathLike[str], *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "--no-optional-locks", *arguments],  # a killed one would leave its lock of the index
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _processor() -> str:
    """Return the processor's name; Linux keeps it in /proc only."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
