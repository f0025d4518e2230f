"""Two real operators on one API server: one reconciles, and the other when that one is gone."""

from __future__ import annotations

import time
from typing import Any

import pytest
from modelyard.api.resources import OURS

from .running import KILL, TERM, until

LEASE = ("--lease-namespace", "default")


def only_leader(one: Any, two: Any) -> Any:
    leaders = [operator for operator in (one, two) if operator.leads()]
    assert len(leaders) < 2
    return leaders[0] if leaders else None


def kill_at_work(site: Any, count: int) -> float:
    """Kill the leader while it starts children; return seconds until the other leads."""
    site.install_backends()
    site.put("Project", "team", {})
    one, two = site.operator(*LEASE), site.operator(*LEASE)
    leader = until(lambda: only_leader(one, two), "one leads")
    standby = two if leader is one else one
    assert standby.ask("/readyz").status_code == 200
    assert standby.metric('modelyard_reconciles_total{kind="Project",result="success"}') == 0
    for number in range(count):
        site.put("Dataset", f"cells-{number:03}", {"source": {"builtin": "iris"}})
    until(lambda: len(site.workflows()) >= count // 10, "some children are there")
    leader.end(KILL)
    died = time.monotonic()
    first = {child["metadata"]["uid"] for child in site.workflows()}
    print(f"{len(first)} of {count} children when the leader died")
    until(standby.leads, "the other leads")
    seconds = time.monotonic() - died

    def all_started() -> bool:
        found = site.client.list(OURS["Dataset"], "default")
        return all((one.get("status") or {}).get("run", {}).get("child") for one in found)

    until(all_started, "every Dataset has its child in its status", 120)
    children = site.workflows()
    owners = {child["metadata"]["ownerReferences"][0]["uid"] for child in children}
    assert len(children) == len(owners) == count
    assert first <= {child["metadata"]["uid"] for child in children}, "none was made anew"
    return seconds


def test_a_leader_that_is_killed_at_work_is_followed_and_no_child_exists_twice(site: Any) -> None:
    kill_at_work(site, 20)


@pytest.mark.soak
def test_another_leads_within_twenty_seconds_of_a_kill_amid_a_hundred_reconciles(site: Any) -> None:
    seconds = kill_at_work(site, 100)
    print(f"the other leads after {seconds:.1f} s")
    assert seconds <= 20


def test_a_leader_that_is_told_to_stop_hands_over(site: Any) -> None:
    one = site.operator(*LEASE)
    until(one.leads, "the first leads")
    two = site.operator(*LEASE)
    start = time.monotonic()
    assert one.end(TERM) == 0
    print(f"ended after {time.monotonic() - start:.1f} s")
    until(two.leads, "the second leads")
    print(f"handed over after {time.monotonic() - start:.1f} s")
    site.put("Project", "team", {})
    site.until_reason("Project", "team", "StoreReachable")
    assert two.end(TERM) == 0
    lease = site.lease()
    assert lease["spec"]["holderIdentity"] == ""
    assert lease["spec"]["leaseTransitions"] == 1
