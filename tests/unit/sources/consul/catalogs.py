"""Answers of Consul made up for tests: in the shape of its JSON, as far as rows look at it."""

import copy
import random
from typing import Any

from hypothesis import strategies as st

type Answer = list[dict[str, Any]]

NAMES = st.sampled_from(["web", "db", "a/b", "a", "b/c", "%2F", "ü", ""])
STATUSES = st.sampled_from(["passing", "warning", "critical"])
CHECK_IDS = st.sampled_from(["serfHealth", "service:web", "_node_maintenance", "_service_maintenance:web", "disk"])
TAGS = st.none() | st.lists(st.sampled_from(["blue", "green", "v1"]), max_size=3)
META = st.none() | st.dictionaries(st.sampled_from(["team", "version"]), st.sampled_from(["1", "2"]))


def instance(
    node: str = "node-1",
    service_id: str = "web-1",
    *,
    checks: dict[str, str] | None = None,
    node_address: str = "10.0.0.1",
    **service: Any,
) -> dict[str, Any]:
    """Return an element of `/v1/health/service/web`."""
    known = {"Service": "web", "Address": "", "Port": 80, "Tags": ["blue"], "Meta": None} | service
    return {
        "Node": {"ID": "", "Node": node, "Address": node_address, "Datacenter": "dc1"},
        "Service": {"ID": service_id, **known, "Weights": {"Passing": 1, "Warning": 1}, "ModifyIndex": 7},
        "Checks": [
            {"Node": node, "CheckID": check, "Status": status, "Output": "it said so", "Notes": ""}
            for check, status in (checks if checks is not None else {"serfHealth": "passing"}).items()
        ],
    }


def answers() -> st.SearchStrategy[Answer]:
    """Return answers about a service: instances on few nodes with few ids, so that two answers share some of them."""
    each = st.builds(
        instance,
        NAMES,
        NAMES,
        checks=st.dictionaries(CHECK_IDS, STATUSES, max_size=4),
        node_address=st.sampled_from(["10.0.0.1", "10.0.0.2"]),
        Address=st.sampled_from(["", "192.168.0.1"]),
        Port=st.integers(0, 2),
        Tags=TAGS,
        Meta=META,
    )
    return st.lists(each, max_size=12, unique_by=lambda each: (each["Node"]["Node"], each["Service"]["ID"]))


def catalogs() -> st.SearchStrategy[dict[str, list[str] | None]]:
    """Return answers about a catalog: the tags of each service."""
    return st.dictionaries(NAMES, TAGS, max_size=8)


def reordered(answer: Answer, shuffle: random.Random) -> Answer:
    """Return the same with everything that is a set in another order, and with other texts of its checks."""
    other = copy.deepcopy(answer)
    shuffle.shuffle(other)
    for each in other:
        shuffle.shuffle(each["Checks"])
        each["Service"]["Tags"] = sorted(each["Service"]["Tags"] or [], reverse=True)
        each["Service"]["Meta"] = dict(reversed((each["Service"]["Meta"] or {}).items()))
        for check in each["Checks"]:
            check["Output"] = f"it took {shuffle.random()} ms"
    return other
