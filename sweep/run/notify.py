"""Tell a person's command or webhook how a run ended. What goes wrong with that is said, and no more."""

from __future__ import annotations

import json
import shlex
import subprocess
import threading
import urllib.request
from collections.abc import Callable
from typing import Any
from urllib.error import HTTPError, URLError

from ssl_sweep.sweep.errors import SweepError, masked
from ssl_sweep.sweep.run.run import RunResult

_PATIENCE_S = 20.0
_SHOWN = 5  # failures that are told one by one


def notified(target: str | None, work: Callable[[], RunResult], say: Callable[[str], None]) -> RunResult:
    """Do the work and tell `target` how it ended, where there is one."""
    try:
        result = work()
    except Exception as error:  # those that nobody foresaw as well: that is when one wants to be told
        code = error.exit_code if isinstance(error, SweepError) else 1
        _tell(target, {"outcome": "failed", "exit_code": code, "message": masked(str(error))}, say)
        raise
    _tell(target, event(result), say)
    return result


def event(result: RunResult) -> dict[str, Any]:
    """What is told of a run: no addresses, no paths of the store, no settings."""
    if result.interrupted is not None or result.budget:
        outcome = "stopped"
    else:
        outcome = "failed" if result.failed else "complete"
    counts = result.table.column("status").value_counts().to_pylist()
    return {
        "sweep": result.plan.sweep,
        "outcome": outcome,
        "exit_code": result.exit_code,
        "seconds": round(result.seconds, 1),
        "rows": {each["values"]: each["counts"] for each in counts},
        "stages_done": len(result.executed),
        "stages_failed": len(result.failed),
        "failures": [
            {"stage": stage.kind, "id": stage.id, "label": stage.label, "message": masked(why)}
            for stage, why in result.failed[:_SHOWN]
        ],
    }


def _tell(target: str | None, told: dict[str, Any], say: Callable[[str], None]) -> None:
    if not target:
        return
    body = json.dumps(told).encode()
    why: list[str] = []
    thread = threading.Thread(target=_send, args=(target, body, why), daemon=True)
    thread.start()
    thread.join(_PATIENCE_S + 1.0)
    if thread.is_alive():
        why.append(f"no end within {_PATIENCE_S:.0f} s")
    if why:
        say(f"the notification failed: {masked(why[0])}")


def _send(target: str, body: bytes, why: list[str]) -> None:
    """The address may be a secret itself: it is in no message, and errors repeat what they were given."""
    target = target.strip()
    try:
        if target.lower().startswith(("http://", "https://")):
            headers = {"Content-Type": "application/json"}
            request = urllib.request.Request(target, data=body, headers=headers, method="POST")
            urllib.request.urlopen(request, timeout=_PATIENCE_S).close()
            return
        done = subprocess.run(
            shlex.split(target),
            input=body,
            timeout=_PATIENCE_S,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        if done.returncode:
            last = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
            why.append(": ".join([f"the command ended with {done.returncode}", *last]))
    except subprocess.TimeoutExpired:
        why.append(f"the command took more than {_PATIENCE_S:.0f} s")
    except Exception as error:  # whatever an address, a server or a command line is wrong with
        why.append(_named(error))


def _named(error: Exception) -> str:
    """An error without its text."""
    if isinstance(error, HTTPError):
        return f"the server answered {error.code}"
    cause = error.reason if isinstance(error, URLError) else error
    return type(cause if isinstance(cause, Exception) else error).__name__
