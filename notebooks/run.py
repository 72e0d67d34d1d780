"""Execute the notebooks: ``python notebooks/run.py [--store] [NAME.ipynb …]``.

A notebook is kept with its outputs, so that it shows something where it is only looked at; ``--store`` renews them.
One without outputs, or that fails, or with a cell that shows nothing, ends this with exit code 1.
"""

from __future__ import annotations

import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

HERE = Path(__file__).parent


def problems(path: Path, store: bool) -> list[str]:
    """What is wrong with a notebook: the error of a cell, a cell that shows nothing, or no stored outputs."""
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    bare = [cell for cell in notebook.cells if cell.cell_type == "code" and not cell.outputs]
    if bare and not store:
        return ["it is kept without outputs; run this with --store"]
    try:
        NotebookClient(notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": HERE}}).execute()
    except CellExecutionError as error:
        return [str(error)]
    silent = [cell.source for cell in notebook.cells if cell.cell_type == "code" and not cell.outputs]
    if store and not silent:
        for cell in notebook.cells:
            cell.metadata.pop("execution", None)  # times of day
        nbformat.write(notebook, path)
    return [f"a cell shows nothing:\n{source}" for source in silent]


def main(arguments: list[str]) -> int:
    """Run all notebooks or the named ones; return the exit code."""
    code = 0
    store, names = "--store" in arguments, [word for word in arguments if word != "--store"]
    for path in [HERE / name for name in names] or sorted(HERE.glob("*.ipynb")):
        found = problems(path, store)
        code |= bool(found)
        print(f"{path.name}: " + ("\n".join(found) if found else "all cells run"))
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
