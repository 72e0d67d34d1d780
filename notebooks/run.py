"""Execute the notebooks in a copy and keep nothing of it: ``python notebooks/run.py [NAME.ipynb …]``.

A notebook is stored without outputs; one that has some, or that fails, ends this with exit code 1.
"""

from __future__ import annotations

import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

HERE = Path(__file__).parent


def problems(path: Path) -> list[str]:
    """What is wrong with a notebook: stored outputs, or the error of a cell."""
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    if any(cell.outputs or cell.execution_count for cell in code):
        return ["it is stored with outputs; clear them"]
    try:
        NotebookClient(notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": HERE}}).execute()
    except CellExecutionError as error:
        return [str(error)]
    silent = [cell.source for cell in code if not cell.outputs]
    return [f"a cell shows nothing:\n{source}" for source in silent]


def main(names: list[str]) -> int:
    """Run all notebooks or the named ones; return the exit code."""
    code = 0
    for path in [HERE / name for name in names] or sorted(HERE.glob("*.ipynb")):
        found = problems(path)
        code |= bool(found)
        print(f"{path.name}: " + ("\n".join(found) if found else "all cells run"))
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
