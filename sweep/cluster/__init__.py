"""Stages on Ray: the connection, the back end, jobs of a cluster. The only package that imports Ray.

``run`` and ``commands`` may import it. Ray itself is imported when a command connects, never to plan.
"""

__all__ = ["autoscaler", "backend", "calibrate", "client", "connect", "jobs", "nodes", "submission"]
