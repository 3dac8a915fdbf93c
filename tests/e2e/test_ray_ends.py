"""The end of the connection to Ray: whatever other threads do meanwhile, the command continues."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow

# Another thread drops a reference to an object of Ray now and then, in a knot that only the collector undoes,
# from when Ray begins to go. Without a guard Ray's core ends the process in most of its goings.
LITTER = """
import gc, threading, time
import ray
from ray._private import worker
from ssl_sweep.sweep.cluster.connect import connect

going, disconnect = threading.Event(), worker.disconnect

def told(*args, **options):
    going.set()
    disconnect(*args, **options)

def litter(references):
    going.wait()
    while references:
        knot = [references.pop()]
        knot.append(knot)
        del knot
        time.sleep(0.0002)

worker.disconnect = told
gc.set_threshold(5)
with connect(None):
    references = [ray.put(number) for number in range(3000)]
    thread = threading.Thread(target=litter, args=(references,))
    thread.start()
assert gc.isenabled()
thread.join()
print("the last line")
"""


def test_garbage_of_other_threads_does_not_end_the_process() -> None:
    done = subprocess.run([sys.executable, "-c", LITTER], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (0, "the last line\n"), done.stderr


# Tune dies with two trainings; a third is given in the moment in which the first of them is told of.
DEATH = """
import threading
from types import SimpleNamespace
from ssl_sweep.sweep.cluster import trials
from ssl_sweep.sweep.execution.runtime import TrainPlan

def fit(self):
    while len(told) == 0 and len(thread._feed._queue) < 2:
        pass
    raise RuntimeError("Tune died")

told, late = [], []
trials.tune.Tuner.fit = fit
works = [trials.Work(SimpleNamespace(id=id), TrainPlan()) for id in "abc"]

def ended(stage, error):
    if not told:
        late.append(thread.give(works[2]))
    told.append((stage.id, str(error)))

ready = threading.Event()
thread = trials.TuneThread.__new__(trials.TuneThread)
thread.__init__(SimpleNamespace(), ended)
for work in works[:2]:
    thread.give(work)
thread.close(60)
print(sorted(told), late)
"""


def test_what_tune_dies_of_is_told_of_everything_it_took() -> None:
    done = subprocess.run([sys.executable, "-c", DEATH], capture_output=True, text=True, timeout=120)
    assert done.stdout == "[('a', 'Tune died'), ('b', 'Tune died')] [False]\n", done.stderr
