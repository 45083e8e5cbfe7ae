"""The call table against the facts."""

from __future__ import annotations

from fact_tables import facts
from ganeti.node.daemon import load_served
from ganeti.rpc import calls
from ganeti.rpc.base import CALLS, SERVED

OURS = {
    "blockdev_verify",
    "journal_job_files",
    "journal_append",
    "journal_promise",
    "journal_state",
    "journal_read",
    "journal_replace",
    "jobqueue_place",
    "jobqueue_settle",
    "node_figures",
}

# Behind the arguments of the facts, with a default: a classic caller does not send them.
OUR_ARGUMENTS = {"write_ssconf_files": ["generation"]}

# Declared, but no node serves them yet, by the work that they wait for.
UNSERVED = {
    "DRBD": "blockdev_addchildren blockdev_removechildren drbd_attach_net drbd_disconnect_net"
    " drbd_helper drbd_needs_activation drbd_wait_sync",
    "LVM": "lv_list node_volumes vg_list",
    "exports": "export_info export_list export_remove finalize_export",
    "metadata daemon": "instance_metadata_modify",
}


def rows() -> dict[str, dict[str, object]]:
    return {row["call"]: row for row in facts("node-rpc")["calls"]}


def test_every_call_of_the_facts_is_declared() -> None:
    assert set(CALLS) >= set(rows())
    assert set(CALLS) - set(rows()) == OURS


def test_every_call_is_read_from_the_package_of_the_table() -> None:
    assert {name: getattr(calls, name, None) for name in CALLS} == CALLS


def test_arguments_stand_in_wire_order() -> None:
    for name, row in rows().items():
        wanted = [argument["name"] for argument in row["args"]]  # type: ignore[attr-defined]
        codec = CALLS[name].codec
        assert list(codec.names) == wanted + OUR_ARGUMENTS.get(name, []), name
        assert codec.required <= len(wanted), name


def test_time_limits_are_those_of_the_facts() -> None:
    for name, row in rows().items():
        if name != "test_delay":
            assert CALLS[name].timeout_s == row["timeout_s"], name
    assert CALLS["test_delay"].deadline_s((2.5,)) == 7


def test_calls_to_offline_nodes_are_those_of_the_facts() -> None:
    wanted = {name for name, row in rows().items() if row.get("accepts_offline_node")}
    assert {name for name, call in CALLS.items() if call.offline_too} == wanted


def test_every_call_has_a_codec() -> None:
    for call in CALLS.values():
        assert call.codec.names is not None


def test_no_served_function_is_without_a_declaration() -> None:
    load_served()
    assert set(SERVED) <= set(CALLS)


def test_only_these_calls_are_not_served() -> None:
    load_served()
    assert set(CALLS) - set(SERVED) == set(" ".join(UNSERVED.values()).split())


def test_calls_that_others_wait_for_have_workers_of_their_own() -> None:
    assert {name for name, call in CALLS.items() if call.express} == {
        *("journal_append", "journal_state", "journal_read", "journal_replace"),
        *("journal_promise", "version", "master_node_name"),
    }
