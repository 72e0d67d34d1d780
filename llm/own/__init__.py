"""People's own runs: their model, trained on their preference pairs with any f, by ``python -m llm train``."""
