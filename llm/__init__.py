"""Language models trained with f(βρ): a study from records to tables, by ``python -m llm``.

The rooms, each of which takes from those before it and never from those after:

- ``storage`` reports of finished stages with checksums, tensors and checkpoints, folders; ``devices`` processes;
  ``commands`` how a command ends
- ``data`` records: the generated world, files, hub; how they are dealt out to a study's parts
- ``policy`` models, tokenizers, batches, sampling, and the one way to a log-probability (`llm.policy.logprobs`)
- ``rewards`` gold rewards and judges, labels, pairs labelled by them
- ``training`` cells, the objective, optimisers, stacks, the trainer, supervised fine-tuning
- ``sweep`` a grid of cells: planned, trained, exported
- ``evaluation`` exported policies, read and measured; keyed apart from their training
- ``study`` configuration, presets, stages as functions, the order in which they run, tables; ``optimum`` study A,
  ``predicted`` study C
- ``own`` people's own runs: a model and pairs of theirs, trained with any f by GPOTrainer
- ``real`` a study of a real model, adapters on the upper layers, beside what was said of each run before
"""
