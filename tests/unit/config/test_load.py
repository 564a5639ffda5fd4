"""Load a file and an environment into one configuration, or report every fault at once."""

from __future__ import annotations

import base64
import re
from pathlib import Path

import pytest

from shadowdiff.config import Config, ConfigError, ProtobufConfig, load_config
from shadowdiff.model import Candidate, Control, HostPolicy, Target
from tests.fakes.shop_proto import descriptor_set

TARGET = "targets: [{name: a, hosts: [a], candidate: {url: 'http://a-v2'}%s}]\n"
KEY_ITSELF = base64.b64encode(bytes(range(200, 232))).decode()
ROOT = Path(__file__).parents[3]


def loaded(tmp_path: Path, text: str, env: dict[str, str] | None = None) -> Config:
    path = tmp_path / "s.yaml"
    path.write_text(text)
    return load_config(path, env or {})


def faults(tmp_path: Path, text: str, env: dict[str, str] | None = None) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path, text, env)
    return [line.replace(f"{tmp_path}/", "") for line in str(caught.value).splitlines()]


def test_the_documented_example_loads(tmp_path: Path) -> None:
    """The example gives the described target, with compiled rules and no warning."""
    text = (ROOT / "docs" / "configuration.md").read_text().split("```yaml\n")[1].split("```")[0]
    config = loaded(tmp_path, text)
    expected = Target(
        name="recommendation",
        hosts=("recommendation", "recommendation.tutorial"),
        candidate=Candidate(url="http://recommendation-v2:8080", host=HostPolicy.CANDIDATE),
        control=Control(url="http://recommendation-v1-control:8080"),
        routes=("/products/{id}",),
    )
    assert expected == config.targets[0].target
    assert len(config.targets[0].rules) == 5
    assert ("redis://redis:6379/0", 30.0, ()) == (config.store.url, config.pairing.window_s, config.warnings)


def test_without_file_and_variables_all_settings_have_their_defaults() -> None:
    """By default the pages listen on loopback."""
    config = load_config(None, {})
    assert (None, 30.0, 1 << 20, 10.0, "127.0.0.1") == (
        config.store.url,
        config.pairing.window_s,
        config.limits.body_bytes,
        config.drain_s,
        config.listen.web_host,
    )


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    """Variables set sections, list entries and whole lists; empty variables count as unset."""
    env = {
        "SHADOWDIFF_STORE__URL": "redis://other:1/2",
        "SHADOWDIFF_PAIRING__ID_HEADERS": "[X-A, x-b]",
        "SHADOWDIFF_TARGETS__0__SAMPLE": "0.25",
        "SHADOWDIFF_DRAIN": "",
    }
    config = loaded(tmp_path, "store: {url: 'redis://one'}\ndrain: 3s\n" + TARGET % "", env)
    assert ("redis://other:1/2", ("x-a", "x-b"), 0.25, 3.0) == (
        config.store.url,
        config.pairing.id_headers,
        config.targets[0].target.sample,
        config.drain_s,
    )


def test_a_variable_names_the_file(tmp_path: Path) -> None:
    """SHADOWDIFF_CONFIG is used if no path is given."""
    path = tmp_path / "s.yaml"
    path.write_text("drain: 4s\n")
    assert load_config(None, {"SHADOWDIFF_CONFIG": str(path)}).drain_s == 4.0


def test_variables_of_a_kubernetes_service_are_ignored() -> None:
    """Service links and unrelated variables change nothing."""
    env = {
        "SHADOWDIFF_PORT": "tcp://10.0.0.1:8080",
        "SHADOWDIFF_PORT_8080_TCP_ADDR": "10.0.0.1",
        "SHADOWDIFF_SERVICE_HOST": "10.0.0.1",
        "SHADOWDIFF_SERVICE_PORT_WEB": "8082",
        "SHADOWDIFF_BUFFER_KEY_NOT_USED": "x",
    }
    assert load_config(None, env) == load_config(None, {})


@pytest.mark.parametrize(
    ("env", "expected"),
    [
        ({"SHADOWDIFF_STORE_URL": "x"}, "did you mean SHADOWDIFF_STORE__URL?"),
        (
            {"SHADOWDIFF_LOG__LEVL": "info"},
            "SHADOWDIFF_LOG__LEVL: log.levl: unknown setting; did you mean level?",
        ),
        ({"SHADOWDIFF_TARGETS__3__NAME": "x"}, "the next one is number 0"),
        ({"SHADOWDIFF_DRAIN__X": "1"}, "drain: write a duration"),
        ({"SHADOWDIFF_PAIRING__ID_HEADERS": "[a"}, "environment SHADOWDIFF_PAIRING__ID_HEADERS: pairing.id_headers: "),
    ],
)
def test_a_misspelled_variable_is_a_fault(tmp_path: Path, env: dict[str, str], expected: str) -> None:
    """A variable that resembles a setting's is never ignored."""
    lines = faults(tmp_path, "", env)
    assert len(lines) == 1
    assert expected in lines[0]


def test_every_fault_is_reported_at_once_with_line_key_value_and_fix(tmp_path: Path) -> None:
    """The report includes faults in sections, targets and rules, and those between settings."""
    text = """store: {url: "http://u:pw@x", ky: 3}
pairing: {window: 30}
listen: {mirror: 70000, web: 8081}
limits: {body: 1MiBs, in_flight: 0.5}
targets:
  - name: Reco
    hosts: []
    candidate:
      url: ftp://x
      timout: 3s
    sample: 2
    rules:
      - {ignore: $.x, reson: y}
      - {ignore: $.y}
      - mask:
          path: text
          pattern: "("
  - {name: a, hosts: x}
  - {name: a, hosts: [x], candidate: {url: "http://u:pw@h"}}
"""
    starts = [
        "s.yaml:1: store.url: write redis://",
        "s.yaml:1: store.ky: unknown setting; did you mean key?",
        "s.yaml:2: pairing.window: write a duration with its unit, such as 500ms, 30s, 5m or 1h30m (got 30)",
        "s.yaml:3: listen.mirror: write 65535 or less (got 70000)",
        "s.yaml:4: limits.body: write a size such as",
        "s.yaml:4: limits.in_flight: write a whole number (got 0.5)",
        "s.yaml:6: targets[0].name: write a name of",
        "s.yaml:7: targets[0].hosts: write at least one entry (got [])",
        "s.yaml:9: targets[0].candidate.url: write a URL such as http",
        "s.yaml:10: targets[0].candidate.timout: unknown setting; did you mean timeout?",
        "s.yaml:11: targets[0].sample: write 1",
        "s.yaml:18: targets[1].hosts: write a list, such as [a, b]",
        "s.yaml:18: targets[1].candidate: is required",
        "s.yaml:19: targets[2].candidate.url: write the URL without user and password",
        "s.yaml:13: targets[0].rules[0].reson: 'y': unknown key",
        "s.yaml:17: targets[0].rules[2].mask.pattern: '(': not an RE2 pattern",
        "s.yaml:19: targets[2].name: is also the name of targets[1]",
        "s.yaml:3: listen.web: is also the port of listen.records",
    ]
    lines = faults(tmp_path, text)
    assert len(starts) == len(lines)
    assert [] == [start for start in starts if not any(line.startswith(start) for line in lines)]
    assert "pw" not in "".join(lines)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: 1\nb: [{c: 1,\n c: 2}]\n", "s.yaml:3: b[0].c: is written twice, first on line 2"),
        ("drain: 1s\ndrain: 2s\n", "s.yaml:2: drain: is written twice, first on line 1"),
        ("a: [1\nb", "s.yaml:2:2: is not YAML: "),
        ("a: &x\n - *x\n", "s.yaml:1: is too large or nested too deeply, or its aliases refer to themselves"),
        ("- 1\n", "s.yaml:1: is not a mapping; write keys and values"),
        ("8080: x\n", "s.yaml:1: write this key as text"),
        ("limits:\n  body: " + "9" * 5000, "s.yaml:2:9: is not YAML: a value of the type int cannot be read: "),
        ("a: 1\nb: [!!int x]\n", "s.yaml:2:5: is not YAML: a value of the type int cannot be read: "),
        ("a: !!timestamp x\n", "s.yaml:1:4: is not YAML: a value of the type timestamp cannot be read: "),
        ("a: !!python/object:os.system x\n", "s.yaml:1:4: is not YAML: could not determine a constructor"),
        ("pairing: {window: 1s, settle: 1s}\n", "s.yaml:1: pairing.settle: is not shorter than pairing.window"),
        (TARGET % ", sample: .nan", "s.yaml:1: targets[0].sample: "),
        (TARGET % ", openapi: none.yaml", "s.yaml:1: targets[0].openapi: names a file that cannot be read"),
        (
            TARGET % ", protobuf: {descriptor_set: none.pb}",
            "s.yaml:1: targets[0].protobuf.descriptor_set: names a file that cannot be read",
        ),
        (
            TARGET % ", protobuf: {descriptor_set: s.yaml}",
            "s.yaml:1: targets[0].protobuf.descriptor_set: is not a descriptor set",
        ),
        (
            TARGET % ", methods: [GE T]",
            "s.yaml:1: targets[0].methods[0]: write a method, such as GET, or a method with",
        ),
        (
            "targets: [{name: a, hosts: ['*'], candidate: {url: 'http://h'}}]",
            "s.yaml:1: targets[0].hosts[0]: write a host",
        ),
        (TARGET % ", methods: [POST /a*]", "s.yaml:1: targets[0].methods[0]: write a method, such as GET, or a method"),
        (TARGET % ", methods: ['POST /a/{id']", "s.yaml:1: targets[0].methods[0]: write a method, such as GET, or a"),
        (
            TARGET % ", include: ['/a/{id']",
            "s.yaml:1: targets[0].include[0].route: write a template such as /products/{id}",
        ),
        (TARGET % ", routes: ['/a/id}']", "s.yaml:1: targets[0].routes[0]: write a template such as /products/{id}"),
        (TARGET % ", graphql: ['/a/{{id}']", "s.yaml:1: targets[0].graphql[0]: write a path such as /graphql"),
        (TARGET % ", include: [x]", "s.yaml:1: targets[0].include[0].route: write a template such as /products/{id}"),
        (TARGET % ", include: ['x*']", "s.yaml:1: targets[0].include[0].path: write a path such as /export, or the"),
        (TARGET % ", exclude: [{}]", "s.yaml:1: targets[0].exclude[0]: write at least one of route, path, header and"),
        (TARGET % ", exclude: [{rute: /x}]", "s.yaml:1: targets[0].exclude[0].rute: unknown setting; did you mean rou"),
        (TARGET % ", exclude: [{header: {a: ''}}]", "s.yaml:1: targets[0].exclude[0].header.a: write a value such as"),
        (
            TARGET % ", exclude: [{header: {cookie: a}}]",
            "s.yaml:1: targets[0].exclude[0]: header cookie cannot be comp",
        ),
        (TARGET % ", include: [{users: {share: 1}}]", "s.yaml:1: targets[0].include[0].users: write either header or"),
        (
            TARGET % ", include: [{users: {share: 2, cookie: a}}]",
            "s.yaml:1: targets[0].include[0].users.share: write 1.0 or less (got 2)",
        ),
        (TARGET % f", include: [{', '.join(['/a'] * 101)}]", "s.yaml:1: targets[0].include: write at most 100"),
        ("log:\n  level: |\n    a\n    b\n", "s.yaml:2: log.level: write 'debug'"),
    ],
)
def test_one_fault_is_one_line(tmp_path: Path, text: str, expected: str) -> None:
    """Faults of syntax, structure and values each give a line that begins with the source."""
    assert [expected] == [line[: len(expected)] for line in faults(tmp_path, text)]


def test_a_missing_file_is_a_fault(tmp_path: Path) -> None:
    """The message has the path and the system's reason."""
    with pytest.raises(ConfigError, match=r"none\.yaml: cannot be read: No such file"):
        load_config(tmp_path / "none.yaml", {})


def test_a_binary_file_is_a_fault(tmp_path: Path) -> None:
    """The error has one line."""
    path = tmp_path / "s.yaml"
    path.write_bytes(b"\xff\xfe\x00drain\x00")
    with pytest.raises(ConfigError) as caught:
        load_config(path, {})
    assert len(str(caught.value).splitlines()) == 1


def test_scalars_follow_yaml_1_2(tmp_path: Path) -> None:
    """`no` is a host, 010 is ten, and 1e-3 is a number."""
    config = loaded(
        tmp_path,
        "store: {shards: 010}\n"
        "targets: [{name: no, hosts: [on, 1.2.3.4], candidate: {url: 'https://x'}, sample: 1e-3}]",
    )
    target = config.targets[0].target
    assert ("no", ("on", "1.2.3.4"), 0.001, 10) == (target.name, target.hosts, target.sample, config.store.shards)


def test_merge_keys_and_empty_sections_are_accepted(tmp_path: Path) -> None:
    """An anchor's keys are merged, and an empty section has its defaults."""
    text = "store:\nlisten: &l {mirror: 1}\npairing: {<<: {window: 9s}, settle: 2s}\n"
    config = loaded(tmp_path, text)
    assert (9.0, 2.0, None, 1) == (
        config.pairing.window_s,
        config.pairing.settle_s,
        config.store.url,
        config.listen.mirror,
    )


@pytest.mark.parametrize("where", ["variable", "file"])
def test_the_store_key_is_read_from_its_source(tmp_path: Path, where: str) -> None:
    """The source is a variable or a file with 32 bytes, and no repr shows them."""
    key = bytes(range(32))
    text = base64.b64encode(key).decode()
    (tmp_path / "key").write_text(text + "\n")
    name = "SHADOWDIFF_STORE_KEY" if where == "variable" else str(tmp_path / "key")
    config = loaded(
        tmp_path, f"store: {{key: {name}}}\n", {"SHADOWDIFF_STORE_KEY": text} if where == "variable" else {}
    )
    assert config.store.key is not None
    assert key == config.store.key.reveal()
    assert "Secret(…)" in repr(config)
    assert text not in repr(config)


@pytest.mark.parametrize(
    "value", [base64.b64encode(bytes(range(200, 232))).decode(), "A_SECRET_NOT_SET", "/nowhere/key"]
)
def test_an_unusable_key_source_is_a_fault_that_does_not_show_it(tmp_path: Path, value: str) -> None:
    """A key in place of its source, an unset variable and a missing file are rejected."""
    lines = faults(tmp_path, f"store: {{key: '{value}'}}\n")
    assert len(lines) == 1
    assert lines[0].startswith(("s.yaml:1: store.key: names ", "s.yaml:1: store.key: is neither "))
    assert KEY_ITSELF[:8] not in lines[0]


def test_a_key_of_the_wrong_length_is_a_fault_that_does_not_show_it(tmp_path: Path) -> None:
    """A key of sixteen bytes is rejected, because it needs thirty-two."""
    text = base64.b64encode(b"sixteen bytes ..").decode()
    assert [text in line for line in faults(tmp_path, "store: {key: K}", {"K": text})] == [False]


def test_a_descriptor_set_is_read_and_checked(tmp_path: Path) -> None:
    """The descriptor set is next to the configuration file. Messages of routes without gRPC are checked."""
    (tmp_path / "shop.pb").write_bytes(descriptor_set())
    given = ', protobuf: {descriptor_set: shop.pb, answers: {"GET /products/{id}": shop.v1.Product}}'
    config = loaded(tmp_path, TARGET % given)
    expected = ProtobufConfig(descriptor_set=descriptor_set(), answers=(("GET /products/{id}", "shop.v1.Product"),))
    assert expected == config.targets[0].protobuf


def test_types_of_bodies_are_read_by_route(tmp_path: Path) -> None:
    """A type may have parameters, and `*` is every route."""
    given = ', body_types: {"*": application/json, "GET /feed": "text/xml; charset=iso-8859-1"}'
    expected = (("*", "application/json"), ("GET /feed", "text/xml; charset=iso-8859-1"))
    assert expected == loaded(tmp_path, TARGET % given).targets[0].target.body_types


@pytest.mark.parametrize(
    ("entry", "key", "got", "advice"),
    [
        (
            "get /feed: text/xml",
            "get /feed",
            '"get /feed"',
            'write a template such as /products/{id} or GET /products/{id}, or "*"',
        ),
        ("feed: text/xml", "feed", '"feed"', "write a template such as /products/{id}"),
        ("/feed: json", "/feed", '"json"', "write a type that shadowdiff can read, such as application/json"),
        ("/feed: image/png", "/feed", '"image/png"', "write a type that shadowdiff can read"),
        ('/feed: "text/"', "/feed", '"text/"', "write a type that shadowdiff can read"),
        ("/feed: 5", "/feed", "5", "write text"),
    ],
)
def test_a_wrong_type_of_a_body_is_one_fault(tmp_path: Path, entry: str, key: str, got: str, advice: str) -> None:
    """The fault names the key, the fix and the value."""
    (fault,) = faults(tmp_path, TARGET % f", body_types: {{{entry}}}")
    assert fault.startswith(f"s.yaml:1: targets[0].body_types.{key}: {advice}")
    assert fault.endswith(f"(got {got})")


def test_openapi_gives_the_routes(tmp_path: Path) -> None:
    """The paths of an OpenAPI document become templates with methods, after the server's path."""
    (tmp_path / "api.yaml").write_text(
        "servers: [{url: 'https://{host}/shop/{v}', variables: {host: {default: h}, v: {default: v1}}}]\n"
        "paths: {'/products/{id}': {get: {}, parameters: []}, /carts: {post: {}}}\n".replace("/{id}", "/{id}").replace(
            "{/products/{id}:", "{'/products/{id}':"
        )
    )
    config = loaded(tmp_path, TARGET % ", openapi: api.yaml, methods: [get, post]")
    assert ("GET /shop/v1/products/{id}", "POST /shop/v1/carts") == config.targets[0].target.routes


def test_bytes_that_are_not_utf_8_are_described(tmp_path: Path) -> None:
    """The error has one line, without the library's own message."""
    for content in (b"\x00\x01targets", b"a: \xff\xfe"):
        path = tmp_path / "s.yaml"
        path.write_bytes(content)
        with pytest.raises(ConfigError) as refused:
            load_config(path, {})
        assert re.fullmatch(
            r"\S+/s\.yaml:1: is not UTF-8 text \(at character \d+\); write YAML, .*", str(refused.value)
        )


def test_a_fault_without_a_file_has_no_line() -> None:
    """The source of the fault is the environment."""
    (warning,) = load_config(None, {}).warnings
    assert warning.startswith("environment: targets: is empty")


def test_a_misspelled_rule_kind_names_the_nearest_kind(tmp_path: Path) -> None:
    """The error has the line, but not the whole mapping."""
    path = tmp_path / "s.yaml"
    path.write_text(
        "targets:\n  - name: a\n    hosts: [a]\n    candidate: {url: http://v2}\n    rules:\n      - {ignroe: x}\n"
    )
    with pytest.raises(ConfigError) as refused:
        load_config(path, {})
    assert f"{path}:6: targets[0].rules[0].ignroe: unknown kind of rule; did you mean ignore?" == str(refused.value)


@pytest.mark.parametrize(
    ("said", "expected"),
    [("https://sd.example", "https://sd.example"), ("http://sd.example:8443/", "http://sd.example:8443")],
)
def test_the_public_url_of_the_pages_is_accepted(tmp_path: Path, said: str, expected: str) -> None:
    """The URL is used in links of verdicts and webhooks."""
    assert expected == loaded(tmp_path, f"web: {{url: '{said}'}}\n").web.url


@pytest.mark.parametrize(
    "said", ["sd.example", "https://sd.example/tools", "https://jo:pw@sd.example", "ftp://sd.example"]
)
def test_an_impossible_url_of_the_pages_is_a_fault(tmp_path: Path, said: str) -> None:
    """The pages must be at the root of their host."""
    (fault,) = faults(tmp_path, f"web: {{url: '{said}'}}\n")
    assert fault.startswith("s.yaml:1: web.url: ")


def test_targets_from_the_environment_are_in_numeric_order() -> None:
    """In text order, number 10 would come before number 2 and leave a gap in the list."""
    env: dict[str, str] = {}
    for number in range(12):
        env |= {
            f"SHADOWDIFF_TARGETS__{number}__NAME": f"t{number}",
            f"SHADOWDIFF_TARGETS__{number}__HOSTS": f"[t{number}]",
            f"SHADOWDIFF_TARGETS__{number}__CANDIDATE__URL": f"http://v2-{number}",
        }
    assert [f"t{number}" for number in range(12)] == [one.target.name for one in load_config(None, env).targets]
