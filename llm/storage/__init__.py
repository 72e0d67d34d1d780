"""What lies on disk: reports of finished stages, tensors and checkpoints, folders written whole."""
