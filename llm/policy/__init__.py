"""Policies: models, tokenizers, batches, sampling and log-probabilities."""
