"""Notify a command or a webhook when a run ends. If that fails, the run only says so."""

from __future__ import annotations

import json
import shlex
import subprocess
import threading
import urllib.request
from collections.abc import Callable
from typing import Any
from urllib.error import HTTPError, URLError

from ssl_sweep.sweep.errors import SweepError
from ssl_sweep.sweep.run.run import RunResult
from ssl_sweep.sweep.util.addresses import masked

_PATIENCE_S = 20.0
_FAILURES_SENT = 5


def notified(target: str | None, work: Callable[[], RunResult], say: Callable[[str], None]) -> RunResult:
    """Do the work and notify ``target``, if there is one, of how it ended."""
    try:
        result = work()
    except Exception as error:  # an unexpected error is worth a notification too
        code = error.exit_code if isinstance(error, SweepError) else 1
        _notify(target, {"outcome": "failed", "exit_code": code, "message": masked(str(error))}, say)
        raise
    _notify(target, event(result), say)
    return result


def event(result: RunResult) -> dict[str, Any]:
    """The notification: it holds no addresses, no paths of the store and no settings."""
    if result.interrupted is not None or result.limit:
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
            for stage, why in result.failed[:_FAILURES_SENT]
        ],
    }


def _notify(target: str | None, content: dict[str, Any], say: Callable[[str], None]) -> None:
    if not target:
        return
    body = json.dumps(content).encode()
    why: list[str] = []
    thread = threading.Thread(target=_send, args=(target, body, why), daemon=True)
    thread.start()
    thread.join(_PATIENCE_S + 1.0)
    if thread.is_alive():
        why.append(f"it did not finish within {_PATIENCE_S:.0f} s")
    if why:
        say(f"the notification failed: {masked(why[0])}")


def _send(target: str, body: bytes, why: list[str]) -> None:
    """Send it, and add what fails to ``why``. The address may be a secret, and an error's text may repeat it:
    ``why`` holds neither."""
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
            why.append(": ".join([f"the command ended with exit code {done.returncode}", *last]))
    except subprocess.TimeoutExpired:
        why.append(f"the command took more than {_PATIENCE_S:.0f} s")
    except Exception as error:  # from the address, the server or the command line
        why.append(_kind_of(error))


def _kind_of(error: Exception) -> str:
    """The kind of an error, without its text."""
    if isinstance(error, HTTPError):
        return f"the server answered {error.code}"
    cause = error.reason if isinstance(error, URLError) else error
    return type(cause if isinstance(cause, Exception) else error).__name__
