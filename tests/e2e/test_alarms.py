"""Alarms on a real server: who may see them, and how."""

import pytest


def get(server, path, key=None):
    with server.client(key) as client:
        return client.get(path)


def test_alarms_are_for_admins_where_keys_are_in_force(locked):
    assert get(locked, "/v1/alarms").status_code == 401
    assert get(locked, "/v1/alarms", locked.first_key).status_code == 403
    reply = get(locked, "/v1/alarms", locked.key("admin"))
    assert reply.json() == {"object": "list", "data": [], "next_before": None}


@pytest.mark.parametrize(
    "asked", ["kind=nope", "limit=0", "limit=501", "before=x", "limit=-1", "before=1e3"]
)
def test_a_page_that_cannot_be_is_a_clear_error(server, asked):
    reply = get(server, f"/v1/alarms?{asked}")
    assert reply.status_code == 400
    assert reply.json()["error"]["param"] == asked.partition("=")[0]


def test_the_command_line_says_that_nothing_was_noticed(server):
    done = server.cli("alarms", "list", "--url", server.base_url, "--kind", "guard")
    assert (done.returncode, done.stdout) == (0, "no alarms\n")


def test_an_address_that_is_none_is_a_clear_error(server):
    done = server.cli("alarms", "list", "--url", "localhost")
    assert done.returncode == 1
    assert done.stderr.startswith(
        "error: localhost/v1/alarms?limit=20: not a URL; want one such as"
    )


def test_health_and_metrics_say_how_many_alarms_there_are(server):
    told = get(server, "/health/learn").json()["alarms"]
    assert (told["count"], told["pending"]) == (sum(told["by_kind"].values()), 0)
    assert "pointsman_alarms_pending 0.0" in get(server, "/metrics").text
