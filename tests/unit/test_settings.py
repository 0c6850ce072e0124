"""Settings: defaults, precedence, and what a mistake gets."""

import re

import pytest

from serving.errors import SettingsError
from serving.settings import Settings, load


@pytest.fixture(autouse=True)
def _no_settings_around(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for name in ("POINTSMAN_CONFIG", "POINTSMAN_URL", "POINTSMAN_KEY"):
        monkeypatch.delenv(name, raising=False)


def write(folder, text):
    path = folder / "pointsman.yaml"
    path.write_text(text)
    return path


def test_everything_has_a_default():
    settings = load()
    assert settings.server.port == 8080
    assert settings.database.dsn is None
    assert [arm.id for arm in settings.arms] == ["edge", "cloud"]
    assert settings.scenario in settings.known_scenarios


def test_the_file_in_the_working_folder_is_read(tmp_path):
    write(tmp_path, "server:\n  port: 9000\n")
    assert load().server.port == 9000


def test_the_environment_wins_over_the_file_and_the_command_line_over_both(tmp_path, monkeypatch):
    write(tmp_path, "server:\n  port: 9000\n  drain_s: 3\n")
    monkeypatch.setenv("POINTSMAN_SERVER__PORT", "9001")
    assert load().server.port == 9001
    found = load(overrides={"server": {"port": 9002}})
    assert (found.server.port, found.server.drain_s) == (9002, 3)


def test_pointsman_config_names_the_file(tmp_path, monkeypatch):
    path = tmp_path / "other.yaml"
    path.write_text("scenario: speed\n")
    monkeypatch.setenv("POINTSMAN_CONFIG", str(path))
    assert load().scenario == "speed"


def test_variables_are_filled_in(tmp_path):
    path = write(tmp_path, "server:\n  port: ${P}\n  host: ${H:-localhost}\n")
    found = load(path, environ={"P": "7777"})
    assert (found.server.port, found.server.host) == (7777, "localhost")


def test_a_variable_that_is_not_set_is_named_with_its_line(tmp_path):
    path = write(tmp_path, "server:\n  port: ${NOWHERE}\n")
    with pytest.raises(SettingsError, match=r"pointsman\.yaml:2: .*NOWHERE is not set"):
        load(path, environ={})


MISTAKES = [
    ("sever:\n  port: 1\n", r"yaml:1: sever: unknown setting; did you mean 'server'\?"),
    ("server:\n  prot: 1\n", r"yaml:2: server\.prot: unknown setting; did you mean 'port'\?"),
    ("server:\n  port: many\n", r"yaml:2: server\.port: want a valid integer"),
    ("server:\n  port: 70000\n", r"yaml:2: server\.port: want less than or equal to 65535"),
    ("server:\n  port: 1\n  port: 2\n", r"yaml:3: 'port' is given twice"),
    ("server: [1\n", r"yaml:2: not valid YAML"),
    ("- 1\n", r"yaml:1: settings are a mapping"),
    ("policy:\n  gamma: .nan\n", r"yaml:2: policy\.gamma: want "),
    ("scenario: sped\n", r"scenario 'sped' does not exist; did you mean 'speed'\?"),
    (
        "scenarios:\n  mine:\n    w_quality: 0.5\n    w_cost: 0.1\n    w_latency: 0.1\n",
        r"yaml:2: scenarios\.mine: w_quality \+ .*weights that sum to 1",
    ),
    ("budgets:\n  - name: all\n", r"yaml:2: budgets\.0: usd_per_query and .*at least one"),
    (
        "arms:\n" + 2 * "  - {id: a, tier: edge, backend: llama_cpp}\n",
        r"two arms have the id 'a'",
    ),
    (
        "arms:\n  - id: gpt\n    tier: cloud\n    backend: openai\n",
        r"yaml:2: arms\.0: an openai arm needs base_url and model",
    ),
    (
        "arms:\n  - {id: auto, tier: edge, backend: llama_cpp}\n",
        r"yaml:2: arms\.0: 'auto' is what clients call the router",
    ),
    (
        "arms:\n  - id: x\n    tier: cloud\n    backend: openai\n    modle: y\n",
        r"yaml:5: arms\.0\.modle: unknown setting; did you mean 'model'\?",
    ),
    (
        'arms:\n  - {id: x, tier: cloud, backend: openai, model: m, base_url: "http://"}\n',
        r"yaml:2: arms\.0: base_url must be http:// or https:// and a host",
    ),
    ("database:\n  dsn: mysql://a@b/c\n", r"yaml:2: database\.dsn: want postgresql://"),
    ("[" * 2000, r"yaml: nested too deeply"),
    ("arms: &a [*a]\n", r"yaml:1: an alias to what it is part of has no end"),
    (
        "a0: &a0 [0, 0, 0, 0, 0, 0, 0, 0, 0, 0]\n"
        + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 9)),
        r"yaml:1: more than 100,000 values, aliases included",
    ),
    ("cloud:\n  model: !!python/name:os.system x\n", r"yaml:2: 'x' cannot be read as "),
    ("cloud:\n  model: 2026-99-99\n", r"yaml:2: '2026-99-99' cannot be read as .* quote it"),
    ("arms: []\n", r"yaml:1: arms: .*at least 1 item"),
    ("feedback:\n  weights: {thumb: 1}\n", r"yaml:2: feedback\.weights\.thumb"),
    (
        "objectives:\n  p95_latency_s: 0\n",
        r"yaml:2: objectives\.p95_latency_s: want greater",
    ),
    ("objectives:\n  quality_floor: 1\n", r"yaml:2: objectives\.quality_floor: want less than 1"),
    ("objectives:\n  p95_latency: 5\n", r"did you mean 'p95_latency_s'\?"),
    (
        "objectives: {quality_floor: 0.8}\npolicy: {name: direct}\n",
        r"objectives: the policy 'direct' does not expect latency and quality apart",
    ),
    ("feedback:\n  default_quality: 2\n", r"yaml:2: feedback\.default_quality: want less than"),
]


@pytest.mark.parametrize(("text", "message"), MISTAKES, ids=[text[:30] for text, _ in MISTAKES])
def test_a_mistake_is_refused_with_its_line(tmp_path, text, message):
    with pytest.raises(SettingsError, match=message):
        load(write(tmp_path, text))


def test_every_mistake_is_told_at_once(tmp_path):
    path = write(tmp_path, "server:\n  prot: 1\n  drain_s: -1\n")
    with pytest.raises(SettingsError) as caught:
        load(path)
    assert "prot" in str(caught.value)
    assert "drain_s" in str(caught.value)


def test_a_misspelt_variable_is_refused(monkeypatch):
    monkeypatch.setenv("POINTSMAN_SEVER__PORT", "1")
    with pytest.raises(SettingsError, match=r"POINTSMAN_SEVER__PORT: .*'server'"):
        load()


def test_a_misspelt_nested_variable_is_refused(monkeypatch):
    monkeypatch.setenv("POINTSMAN_SERVER__PROT", "1")
    with pytest.raises(SettingsError, match=r"POINTSMAN_SERVER__PROT: .*'port'"):
        load()


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(SettingsError, match=r"nowhere\.yaml"):
        load(tmp_path / "nowhere.yaml")


def test_three_variables_replace_the_stand_in(monkeypatch):
    monkeypatch.setenv("POINTSMAN_CLOUD__BASE_URL", "https://api.example.com/v1")
    monkeypatch.setenv("POINTSMAN_CLOUD__MODEL", "large")
    monkeypatch.setenv("POINTSMAN_CLOUD__API_KEY", "sk-secret")
    cloud = load().arms[1]
    assert (cloud.backend, cloud.model) == ("openai", "large")
    assert cloud.api_key.get_secret_value() == "sk-secret"


def test_secrets_are_masked_when_settings_are_shown(monkeypatch):
    monkeypatch.setenv("POINTSMAN_CLOUD__BASE_URL", "https://api.example.com/v1")
    monkeypatch.setenv("POINTSMAN_CLOUD__MODEL", "large")
    monkeypatch.setenv("POINTSMAN_CLOUD__API_KEY", "sk-secret")
    monkeypatch.setenv("POINTSMAN_DATABASE__DSN", "postgresql://me:hunter2@db/x")
    shown = load().model_dump_json() + repr(load())
    assert "sk-secret" not in shown
    assert "hunter2" not in shown


def test_an_error_does_not_show_the_value(tmp_path):
    path = write(tmp_path, "cloud:\n  api_key: [sk-secret]\n  base_url: http://x/v1\n  model: m\n")
    with pytest.raises(SettingsError) as caught:
        load(path)
    assert "sk-secret" not in str(caught.value)


def test_settings_cannot_be_changed():
    with pytest.raises(ValueError, match="frozen"):
        load().server.port = 1


def test_every_setting_is_described():
    def sections():
        for name, field in Settings.model_fields.items():
            model = field.annotation
            if hasattr(model, "model_fields"):
                yield from ((f"{name}.{n}", f) for n, f in model.model_fields.items())
            else:
                yield name, field

    assert [name for name, field in sections() if not field.description] == []


def test_own_scenarios_stand_beside_the_presets(tmp_path):
    text = "scenarios:\n  mine: {w_quality: 1, w_cost: 0, w_latency: 0}\nscenario: mine\n"
    found = load(write(tmp_path, text))
    assert {"mine", "balanced", "speed"} <= set(found.known_scenarios)
    assert found.known_scenarios["mine"].w_quality == 1.0


PARTS = """\
arms:
  - {id: edge, tier: edge, backend: llama_cpp}
  - {id: cloud, tier: cloud, backend: stand_in}
  - {id: both, %s}
"""


def test_a_cascade_joins_two_arms(tmp_path):
    write(tmp_path, PARTS % "tier: cascade, backend: cascade, edge: edge, cloud: cloud")
    cascade = load().arms[2]
    assert (cascade.edge, cascade.cloud, cascade.hold_tokens) == ("edge", "cloud", None)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ("tier: cascade, backend: cascade, edge: edge", "needs edge and cloud"),
        ("tier: cascade, backend: cascade, edge: edg, cloud: cloud", "no arm 'edg'.*'edge'"),
        ("tier: cascade, backend: cascade, edge: both, cloud: cloud", "'both' is of tier cascade"),
        ("tier: cascade, backend: cascade, edge: cloud, cloud: cloud", "'cloud' is of tier cloud"),
        ("tier: cascade, backend: cascade, edge: edge, cloud: edge", "'edge' is of tier edge"),
        ("tier: cascade, backend: stand_in", "tier cascade has the backend cascade"),
        ("tier: edge, backend: cascade, edge: edge, cloud: cloud", "tier cascade has the backend"),
        ("tier: cloud, backend: stand_in, hold_tokens: 3", "hold_tokens is for an arm of tier"),
        (
            "tier: cascade, backend: cascade, edge: edge, cloud: cloud, hold_tokens: 0",
            "greater than or equal to 1",
        ),
    ],
)
def test_a_cascade_that_cannot_be_is_refused(tmp_path, fields, message):
    write(tmp_path, PARTS % fields)
    with pytest.raises(SettingsError, match=message):
        load()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("policy: {challengers: [{name: live}]}", "'live' is the policy that serves"),
        ("policy: {challengers: [{name: a}, {name: a}]}", "two of them have the same name"),
        ("policy: {challengers: [{name: a, floor: 0.01}]}", "below policy.floor"),
        ("policy: {challengers: [{name: a, gama: 3}]}", "did you mean 'gamma'"),
        ("policy: {challengers: [{gamma: 3}]}", "Field required"),
        ("policy: {promotion_alpha: 0}", "policy.promotion_alpha"),
        ("guard: {margin: 1.5}", "guard.margin"),
        ("guard: {retrial: 0}", "guard.retrial"),
        ("guard: {run_length: .inf}", "guard.run_length"),
        ("alarms: {webhook_url: 'ftp://host/'}", "webhook_url must be http"),
        ("alarms: {webhook_url: 'http:///path'}", "webhook_url must be http"),
    ],
)
def test_a_guard_a_challenger_or_a_webhook_that_cannot_be_is_said(tmp_path, text, says):
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(SettingsError, match=re.escape(says)):
        load(path)
