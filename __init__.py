"""ssl-sweep: does self-supervised pretraining pay on your images?

The repository's root is this package: ``ssl_sweep.cli``, ``ssl_sweep.sweep``, ``ssl_sweep.ssl_core`` and
``ssl_sweep.data_ops`` are the folders beside this file. Nothing is imported here, so that
``import ssl_sweep`` costs nothing.
"""

__all__ = ["__version__"]


def __getattr__(name: str) -> str:
    if name == "__version__":
        from importlib.metadata import version

        return version("ssl-sweep")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
