"""Self-supervised learning in plain PyTorch: encoders, losses, trainer, features, evaluation."""
