"""Watch a Ray cluster from outside, without joining it: a JSON line each second, until it is ended.

    python tests/helpers/cluster_watch.py HOST:PORT OUT.jsonl

{"t": Unix time, "workers": nodes beside the head, "waiting": the CPUs of each bundle of placement groups that
have no room, "drivers": on which kind of node (head, worker) each trial's driver and Train controller lives}
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path


def main(address: str, out: Path) -> None:
    from ray._private.state import GlobalState
    from ray._raylet import GcsClientOptions
    from ray.autoscaler.v2.sdk import get_cluster_status

    state = GlobalState()
    options = GcsClientOptions.create(address, None, allow_cluster_id_nil=True, fetch_cluster_id_if_nil=False)
    state._initialize_global_state(options)
    with out.open("w", buffering=1) as file:
        while True:
            began = time.monotonic()
            nodes = {node["NodeID"]: node for node in state.node_table() if node["Alive"]}
            heads = {id for id, node in nodes.items() if "node:__internal_head__" in node["Resources"]}
            demands = get_cluster_status(address).resource_demands
            waiting = [
                each.bundle.get("CPU", 0.0)
                for group in demands.placement_group_demand
                for each in group.bundles_by_count
                for _ in range(each.count)
            ]
            drivers = [
                [actor["ActorClassName"], "head" if actor["Address"]["NodeID"] in heads else "worker"]
                for actor in state.actor_table(None, actor_state_name="ALIVE").values()
                if actor["ActorClassName"] in ("ImplicitFunc", "TrainController")
            ]
            line = {
                "t": time.time(),
                "workers": len(nodes) - len(heads),
                "waiting": waiting,
                "drivers": drivers,
            }
            print(json.dumps(line), file=file)
            time.sleep(max(0.0, 1.0 - (time.monotonic() - began)))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
