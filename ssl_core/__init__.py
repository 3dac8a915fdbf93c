"""Self-supervised learning in plain PyTorch: configs, encoders, methods, training, evaluation.

Imports ``data_ops``, neither Ray nor MLflow; ``sweep`` may import it. Only ``config``, ``training.reporter``
and ``evaluation.metrics`` are without torch.
"""

__all__ = ["config", "distributed", "encoders", "evaluation", "export", "methods", "training"]
