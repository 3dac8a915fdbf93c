"""The order in which Python looks for modules: the installed program first, for the driver and its workers.

A file of the working folder or of PYTHONPATH may have any name, such as csv.py or numpy.py. It must not stand
in for a module of the same name. So these folders come last. They are not dropped, because methods and
encoders of other packages may be there.

Only modules that Python has loaded at its start are imported here: any other import could find such a file.
"""

import os
import sys

_VARIABLE = "PYTHONPATH"
_PACKAGE = "ssl_sweep"
_FOLDER = os.path.realpath(os.path.join(os.path.dirname(__file__), "..", ".."))
"""The package's folder, whatever its name is."""


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
    whole = list(dict.fromkeys(map(_absolute, path)))
    if not any(map(_has_the_package, whole)):
        # An editable installation: Python looks for it only after every folder.
        whole = [entry for entry in whole if entry not in last or not _has_another(entry)]
    return sorted(whole, key=last.__contains__)  # sorted() keeps the order within each part


def _has_the_package(folder: str) -> bool:
    package = os.path.join(folder, _PACKAGE)
    return os.path.isdir(package) and os.path.realpath(package) == _FOLDER


def _has_another(folder: str) -> bool:
    names = (os.path.join(folder, name) for name in (_PACKAGE, f"{_PACKAGE}.py"))
    return any(os.path.exists(name) for name in names)


def _absolute(entry: str) -> str:
    """A folder's absolute path, "" being the working folder; other entries are names for import hooks."""
    try:
        return os.path.abspath(entry) if not entry or os.path.exists(entry) else entry
    except OSError:  # the working folder was removed
        return entry
