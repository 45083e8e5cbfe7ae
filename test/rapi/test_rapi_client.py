"""What the client does beyond sending: connections, certificates, errors, waiting."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from fakes.rapi_server import Recorder, recorder
from ganeti.rapi.client import (
    CertificateError,
    Error,
    GanetiApiError,
    GanetiRapiClient,
    GenericCurlConfig,
    Transport,
)


@pytest.fixture
def server() -> Iterator[Recorder]:
    with recorder() as made:
        yield made


def test_a_connection_is_kept_for_the_next_request(server: Recorder) -> None:
    client = server.client()
    for _ in range(3):
        client.GetNodes()
    assert len({one.connection for one in server.requests}) == 1


def test_a_connection_that_the_server_closed_is_not_used_again(server: Recorder) -> None:
    server.closes = True
    client = server.client()
    for _ in range(20):
        client.AddClusterTags(["a"])
        server.closed.get(timeout=10)
    assert len({one.connection for one in server.requests}) == 20


def test_every_request_has_the_headers_of_the_classic(server: Recorder) -> None:
    server.client("admin", "Example1").GetNodes()
    headers = server.requests[0].headers
    assert headers["Authorization"] == "Basic YWRtaW46RXhhbXBsZTE="
    assert headers["Accept"] == "application/json"
    assert headers["Content-type"] == "application/json"
    assert headers["User-Agent"] == "Ganeti RAPI Client"


def test_a_user_without_a_password_is_refused() -> None:
    with pytest.raises(Error, match="both"):
        GanetiRapiClient("cluster", username="admin")
    with pytest.raises(Error, match="both"):
        GanetiRapiClient("cluster", password="secret")


@pytest.mark.parametrize("host", ["::1", "[::1]"])
def test_an_ipv6_address_stands_in_brackets(host: str) -> None:
    with pytest.raises(GanetiApiError, match=r"https://\[::1\]:1"):
        GanetiRapiClient(host, 1).GetInfo()


def test_an_error_has_the_text_and_the_status_of_the_server(server: Recorder) -> None:
    told = b'{"code": 404, "message": "no node x", "explain": "Nothing matches"}'
    server.other = (404, told)
    with pytest.raises(GanetiApiError) as caught:
        server.client().GetNode("x")
    assert str(caught.value) == "404 no node x: Nothing matches"
    assert caught.value.code == 404


def test_an_error_without_json_has_the_text_as_it_came(server: Recorder) -> None:
    server.other = (502, b"<h1>proxy</h1>")
    with pytest.raises(GanetiApiError, match="502 Bad Gateway: <h1>proxy</h1>") as caught:
        server.client().GetInfo()
    assert caught.value.code == 502


def test_an_old_server_has_no_features(server: Recorder) -> None:
    server.other = (404, b"")
    assert server.client().GetFeatures() == []


def test_an_empty_answer_is_none(server: Recorder) -> None:
    server.other = (200, b"")
    assert server.client().RedistributeConfig() is None


def test_a_certificate_is_not_checked_unless_asked_for(server: Recorder) -> None:
    server.client().GetNodes()
    with pytest.raises(CertificateError) as caught:
        server.client(curl_config_fn=GenericCurlConfig(use_curl_cabundle=True)).GetNodes()
    assert caught.value.code == 60


def test_a_certificate_of_the_file_is_trusted(server: Recorder) -> None:
    config = GenericCurlConfig(cafile=str(server.certificate))
    assert server.client(curl_config_fn=config).GetNodes() == []


def test_another_name_in_the_certificate_is_refused_when_it_is_checked(server: Recorder) -> None:
    config = GenericCurlConfig(cafile=str(server.certificate), verify_hostname=True)
    with pytest.raises(CertificateError):
        server.client(curl_config_fn=config).GetNodes()


def test_a_missing_file_of_certificates_is_told(tmp_path: Path, server: Recorder) -> None:
    config = GenericCurlConfig(cafile=str(tmp_path / "absent.pem"))
    with pytest.raises(CertificateError, match=r"absent\.pem") as caught:
        server.client(curl_config_fn=config).GetNodes()
    assert caught.value.code == 77


def test_names_are_not_checked_without_trusted_certificates(server: Recorder) -> None:
    with pytest.raises(Error, match="cafile"):
        server.client(curl_config_fn=GenericCurlConfig(verify_hostname=True)).GetNodes()
    with pytest.raises(Error, match="cafile"):
        GenericCurlConfig(use_curl_cabundle=True, cafile="x")


def test_nobody_listening_is_curl_error_7() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(GanetiApiError) as caught:
        GanetiRapiClient("127.0.0.1", port).GetInfo()
    assert caught.value.code == 7


def test_a_server_that_says_nothing_is_curl_error_28() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        config = GenericCurlConfig(connect_timeout=0.01)
        client = GanetiRapiClient("127.0.0.1", silent.getsockname()[1], curl_config_fn=config)
        with pytest.raises(GanetiApiError) as caught:
            client.GetInfo()
    assert caught.value.code == 28


def test_a_request_that_was_not_answered_is_told_and_not_repeated(server: Recorder) -> None:
    server.answers = {"/2/tags": None}
    client = server.client()
    client.GetNodes()
    with pytest.raises(GanetiApiError) as caught:
        client.AddClusterTags(["a"])
    assert caught.value.code == 52
    assert len(server.requests) == 2


def test_another_transport_may_be_given(server: Recorder) -> None:
    made: list[Transport] = []

    def factory() -> Transport:
        made.append(Transport())
        made[0].cafile = str(server.certificate)
        return made[0]

    client = GanetiRapiClient("127.0.0.1", server.port, curl_factory=factory)
    assert client.GetNodes() == []
    assert len(made) == 1


@pytest.mark.parametrize(
    ("status", "good"),
    [("success", True), ("error", False), ("canceled", False), (None, False)],
)
def test_the_end_of_a_job_is_good_or_not(server: Recorder, status: str | None, good: bool) -> None:
    server.other = {"id": 1, "status": status}
    assert server.client().WaitForJobCompletion(1) is good
    assert len(server.requests) == 1


def test_a_job_is_asked_for_as_often_as_was_said(server: Recorder) -> None:
    server.other = {"id": 1, "status": "running"}
    assert server.client().WaitForJobCompletion(1, period=0, retries=3) is False
    assert len(server.requests) == 3


def test_lists_in_the_query_are_refused(server: Recorder) -> None:
    with pytest.raises(ValueError, match="can't be sent"):
        server.client().RebootInstance("web1", reboot_type=["soft"])  # type: ignore[arg-type]


def test_an_old_server_takes_a_reinstallation_in_the_query(server: Recorder) -> None:
    server.other = 7
    server.answers = {"/2/features": []}
    assert server.client().ReinstallInstance("web1", os="debian", no_startup=True) == 7
    assert server.requests[-1].target == "/2/instances/web1/reinstall?os=debian&nostartup=1"
    with pytest.raises(GanetiApiError):
        server.client().ReinstallInstance("web1", osparams={"a": "b"})


def test_an_old_server_takes_an_evacuation_in_the_query(server: Recorder) -> None:
    server.other = [[1, "web1"]]
    server.answers = {"/2/features": []}
    client = server.client()
    with pytest.raises(GanetiApiError):
        client.EvacuateNode("node2")
    client.EvacuateNode("node2", iallocator="hail", accept_old=True)
    assert server.requests[-1].target == "/2/nodes/node2/evacuate?iallocator=hail"
    assert server.requests[-1].body == b""


def test_dry_run_and_reason_do_not_go_together_in_a_migration_of_a_node(server: Recorder) -> None:
    server.answers = {"/2/features": ["node-migrate-reqv1"]}
    with pytest.raises(AssertionError):
        server.client().MigrateNode("node2", dry_run=True, reason="why")


def test_a_name_cant_become_another_path(server: Recorder) -> None:
    server.client().GetInstanceTags("a/../b?x=1")
    assert server.requests[-1].target == "/2/instances/a%2F..%2Fb%3Fx%3D1/tags"
