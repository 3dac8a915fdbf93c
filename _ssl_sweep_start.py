"""Start of the console script: the order in which Python looks for modules, for the driver and its workers.

A file of the working folder or of PYTHONPATH may have any name, such as csv.py or ssl_sweep.py. It must not
stand in for a module of the same name. So these folders come last. They are not dropped, because methods and
encoders of other packages may be there.

This module is installed beside the package too, because its name is its own: the script finds it whatever
else is called ssl_sweep. It imports only what Python has loaded at its start, until the order is right.
"""

import os
import sys

_VARIABLE = "PYTHONPATH"


def main() -> None:
    """The console script."""
    installed_first()
    from importlib import import_module

    import_module("ssl_sweep.cli").main()


def installed_first() -> None:
    """Move the folders of PYTHONPATH, the working folder and the script's folder to the end of sys.path."""
    sys.path[:] = _installed_first(sys.path)


def for_workers() -> dict[str, str]:
    """The environment variables that give Python processes on this machine this process's search path."""
    return {_VARIABLE: os.pathsep.join(_installed_first(sys.path))}


def _installed_first(path: list[str]) -> list[str]:
    given = os.environ.get(_VARIABLE)
    theirs = map(_absolute, given.split(os.pathsep)) if given else ()
    script = os.path.dirname(os.path.realpath(sys.argv[0])) if sys.argv and sys.argv[0] else ""
    last = {_absolute(""), script, *theirs}
    whole = dict.fromkeys(map(_absolute, path))
    return sorted(whole, key=last.__contains__)  # sorted() keeps the order within each part


def _absolute(entry: str) -> str:
    """A folder's absolute path, "" being the working folder; other entries are names for import hooks."""
    try:
        return os.path.abspath(entry) if not entry or os.path.exists(entry) else entry
    except OSError:  # the working folder was removed
        return entry
