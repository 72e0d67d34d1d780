"""``python -m gpo_analysis``: the ``gpo`` command where its script is not on the path."""

from gpo_analysis.cli.main import main

if __name__ == "__main__":
    main()
