"""The mirror in MLflow of what the store holds. Nothing is read back from it, so it can be deleted.

``mlflow_client`` alone imports MLflow. ``run``, ``report`` and ``commands`` may import this package.
"""

__all__ = ["location", "mirror", "mlflow_client"]
