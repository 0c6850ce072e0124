"""API keys: made, recognised, revoked, never stored."""

import json
import stat
from datetime import UTC, datetime

import pytest
from typer.testing import CliRunner

from serving.cli import app
from serving.errors import ForbiddenError, SettingsError, UnauthorizedError
from serving.keys import EVERYONE, KeyRing, check_exposure

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def now():
    return NOW


def ring(folder, **options):
    return KeyRing(folder / "keys.json", **options)


def test_without_any_key_everyone_may_do_everything(tmp_path):
    assert ring(tmp_path).authenticate(None) is EVERYONE


def test_a_key_is_recognised_with_its_scopes(tmp_path):
    token, record = ring(tmp_path).create(["feedback", "inference"], name="app", now=now)
    who = ring(tmp_path).authenticate(token)
    assert (who.key_id, who.scopes) == (record.key_id, {"inference", "feedback"})


def test_a_key_has_a_public_and_a_secret_part(tmp_path):
    token, record = ring(tmp_path).create(["admin"], name="", now=now)
    prefix, public, secret = token.rsplit("-", 2)
    assert (prefix, public, len(secret)) == ("sk-pm", record.key_id, 48)


def test_the_secret_is_nowhere_on_disk(tmp_path):
    token, _ = ring(tmp_path).create(["admin"], name="", now=now)
    secret = token.rsplit("-", 1)[1]
    assert all(secret not in path.read_text() for path in tmp_path.iterdir())


def test_the_file_is_for_its_owner_only(tmp_path):
    ring(tmp_path).create(["admin"], name="", now=now)
    assert stat.S_IMODE((tmp_path / "keys.json").stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "change",
    [
        lambda token: None,
        lambda token: "",
        lambda token: token[:-1],
        lambda token: token + "a",
        lambda token: token.upper(),
        lambda token: token.replace("sk-pm-", "sk-"),
        lambda token: "sk-pm-aaaaaaaaaaaa-" + "b" * 48,
        lambda token: "é" * 80,
        lambda token: token.rsplit("-", 1)[0],
    ],
)
def test_anything_but_the_key_itself_is_refused(tmp_path, change):
    token, _ = ring(tmp_path).create(["inference"], name="", now=now)
    with pytest.raises(UnauthorizedError):
        ring(tmp_path).authenticate(change(token))


def test_a_running_server_notices_a_new_key_and_a_revoked_one(tmp_path):
    server, operator = ring(tmp_path), ring(tmp_path)
    assert server.open
    token, record = operator.create(["inference"], name="", now=now)
    with pytest.raises(UnauthorizedError):
        server.authenticate(None)
    assert server.authenticate(token).key_id == record.key_id
    operator.revoke(record.key_id, now=now)
    with pytest.raises(UnauthorizedError):
        server.authenticate(token)


def test_an_open_server_says_once_that_a_first_key_closed_it(tmp_path, caplog):
    server = ring(tmp_path)
    server.authenticate(None)
    for _ in range(2):
        token, _ = ring(tmp_path).create(["inference"], name="", now=now)
        server.authenticate(token)
    assert [r.message for r in caplog.records] == [
        "a first API key was made: requests without one are refused from now on"
    ]


def test_a_server_that_was_never_open_has_nothing_to_say(tmp_path, caplog):
    token, _ = ring(tmp_path).create(["inference"], name="", now=now)
    ring(tmp_path).authenticate(token)
    assert not caplog.records


def test_the_first_key_is_announced_with_what_it_closes(tmp_path):
    asked = ["keys", "create", "--scope", "inference", "--data-dir", str(tmp_path)]
    first, second = (CliRunner().invoke(app, asked) for _ in range(2))
    assert first.exit_code == second.exit_code == 0
    said = " ".join(first.stderr.split())
    assert "every request needs one" in said
    assert "Callers without a key get 401" in said
    assert "lacks the scope feedback: voting" in said
    assert "every request" not in second.stderr


def test_a_list_of_keys_can_be_read_and_copied_from(tmp_path):
    _, record = ring(tmp_path).create(["inference"], name="app", now=now)
    said = CliRunner().invoke(app, ["keys", "list", "--data-dir", str(tmp_path)]).stdout
    (line,) = [line for line in said.splitlines() if record.key_id in line]
    assert [cell.strip() for cell in line.strip("│").split("│")] == [
        record.key_id,
        "app",
        "inference",
        "2026-03-01T00:00:00",
    ]
    assert "revoked_at" not in said


def test_deleting_the_file_never_opens_a_server(tmp_path):
    server = ring(tmp_path)
    server.create(["inference"], name="", now=now)
    server.authenticate(server.create(["inference"], name="", now=now)[0])
    (tmp_path / "keys.json").unlink()
    with pytest.raises(UnauthorizedError):
        server.authenticate(None)


def test_a_scope_that_is_missing_is_named(tmp_path):
    token, _ = ring(tmp_path).create(["inference"], name="", now=now)
    with pytest.raises(ForbiddenError, match="feedback"):
        ring(tmp_path).authenticate(token).require("feedback")


def test_admin_includes_the_other_scopes_and_sees_every_decision(tmp_path):
    token, _ = ring(tmp_path).create(["admin"], name="", now=now)
    who = ring(tmp_path).authenticate(token)
    who.require("inference")
    assert who.speaks_for is None


def test_other_keys_speak_for_themselves(tmp_path):
    token, record = ring(tmp_path).create(["feedback"], name="", now=now)
    assert ring(tmp_path).authenticate(token).speaks_for == record.key_id


def test_a_feedback_key_may_speak_for_the_key_that_asks(tmp_path):
    keys = ring(tmp_path)
    _, app = keys.create(["inference"], name="app", now=now)
    token, judge = keys.create(["feedback"], name="judge", now=now, on_behalf_of=app.key_id)
    who = ring(tmp_path).authenticate(token)
    assert (who.key_id, who.speaks_for) == (judge.key_id, app.key_id)
    with pytest.raises(ForbiddenError):
        who.require("inference")


@pytest.mark.parametrize("scopes", [["inference", "feedback"], ["inference"], ["admin"]])
def test_only_a_key_for_feedback_alone_speaks_for_another(tmp_path, scopes):
    keys = ring(tmp_path)
    _, app = keys.create(["inference"], name="", now=now)
    with pytest.raises(SettingsError, match="feedback alone"):
        keys.create(scopes, name="", now=now, on_behalf_of=app.key_id)


def test_nobody_speaks_for_a_key_that_cannot_ask(tmp_path):
    keys = ring(tmp_path)
    _, judge = keys.create(["feedback"], name="", now=now)
    _, gone = keys.create(["inference"], name="", now=now)
    keys.revoke(gone.key_id, now=now)
    for key_id in (judge.key_id, gone.key_id, "nobody", ""):
        with pytest.raises(SettingsError, match="no valid key"):
            keys.create(["feedback"], name="", now=now, on_behalf_of=key_id)


def test_a_file_of_before_keys_spoke_for_others_is_still_read(tmp_path):
    token, record = ring(tmp_path).create(["feedback"], name="", now=now)
    path = tmp_path / "keys.json"
    rows = json.loads(path.read_text())["keys"]
    old = [{name: row[name] for name in row if name != "on_behalf_of"} for row in rows]
    path.write_text(json.dumps({"keys": old}))
    assert ring(tmp_path).authenticate(token).speaks_for == record.key_id


@pytest.mark.parametrize("scopes", [[], ["everything"], ["inference", "Admin"]])
def test_unknown_scopes_are_refused(tmp_path, scopes):
    with pytest.raises(SettingsError, match="inference, feedback, admin"):
        ring(tmp_path).create(scopes, name="", now=now)


def test_revoking_what_does_not_exist_says_so(tmp_path):
    with pytest.raises(SettingsError, match="no key 'nobody'"):
        ring(tmp_path).revoke("nobody", now=now)


def test_a_file_that_is_damaged_while_serving_changes_nothing_and_is_logged_once(tmp_path, caplog):
    server = ring(tmp_path)
    token, _ = ring(tmp_path).create(["inference"], name="", now=now)
    server.authenticate(token)
    whole = (tmp_path / "keys.json").read_text()
    (tmp_path / "keys.json").write_text(whole[:20])
    for _ in range(3):
        server.authenticate(token)
        with pytest.raises(UnauthorizedError):
            server.authenticate(None)
    assert [r.message[:24] for r in caplog.records] == ["the API keys stay those "]
    (tmp_path / "keys.json").write_text(whole + "\n")
    server.authenticate(token)


def test_a_damaged_file_is_named(tmp_path):
    (tmp_path / "keys.json").write_text("{")
    with pytest.raises(SettingsError, match=r"keys\.json"):
        ring(tmp_path).authenticate(None)


def test_a_folder_that_cannot_be_written_is_named_with_its_setting(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(SettingsError, match=r"database\.data_dir: .*file/keys\.json cannot be"):
        ring(tmp_path / "file").create(["admin"], name="", now=now)
    assert ring(tmp_path / "file").list() == []


def test_beyond_loopback_a_valid_key_is_needed(tmp_path):
    keys = ring(tmp_path)
    check_exposure("127.0.0.1", keys)
    with pytest.raises(SettingsError, match="pointsman keys create"):
        check_exposure("0.0.0.0", keys)
    _, record = keys.create(["inference"], name="", now=now)
    check_exposure("0.0.0.0", keys)
    keys.revoke(record.key_id, now=now)
    with pytest.raises(SettingsError):
        check_exposure("0.0.0.0", keys)
