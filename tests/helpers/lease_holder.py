"""A driver that only holds a lease: `python lease_holder.py STORE STAGE ID`. Says "held", waits for a line,
says whether it has lost the lease, and gives everything back."""

from __future__ import annotations

import sys
from pathlib import Path

from ssl_sweep.sweep.store.leases import driving
from ssl_sweep.sweep.store.records import LocalStorage


def main() -> None:
    folder, stage, id = sys.argv[1:]
    with driving(LocalStorage(Path(folder))) as leases:
        print("held" if leases.take(stage, id) else "refused", leases.driver, flush=True)
        sys.stdin.readline()
        print("lost" if leases.lost(stage, id) else "kept", flush=True)


if __name__ == "__main__":
    main()
