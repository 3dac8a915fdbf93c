"""The study's figures and tables, one module per question; ``all`` lists them. Only the report imports it."""

__all__ = ["all", "base"]
