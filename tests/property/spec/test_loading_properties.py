"""Whatever a Compose file holds, loading it ends with a project or with problems, never with anything else."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fairlead.errors import SpecError
from fairlead.spec.dotenv import DotenvError, parse_dotenv
from fairlead.spec.load import LoadOptions, Tree, load, load_tree
from fairlead.spec.numbers import byte_count, duration_text, nanoseconds
from fairlead.spec.render import canonical, to_json, to_yaml
from fairlead.spec.schema import SERVICE
from fairlead.spec.shapes import Shape
from fairlead.spec.template import RequiredError, TemplateError, substitute
from fairlead.spec.volumes import VolumeError, parse_volume
from fairlead.spec.words import split_words

SETTINGS = settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
TEXT = st.one_of(
    st.sampled_from(
        ["", "a", "b", "80:80", "1s", "64m", "$X", "${X:-d}", "$$", "a=b", "./x:/y", "service:b", "yes", "0755", "n"]
    ),
    st.text(max_size=12),
)
SCALAR = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), TEXT)
DEFERRED = frozenset({"PORT"})
ANYTHING = st.recursive(
    SCALAR, lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXT, inner, max_size=3)), max_leaves=8
)


def of_shape(shape: Shape, depth: int = 0) -> st.SearchStrategy[Any]:
    """Values of the shape, and a few that are not."""
    options: list[st.SearchStrategy[Any]] = []
    if "mapping" in shape.kinds and depth < 4:
        known = {
            key: st.deferred(lambda field=field: of_shape(field, depth + 1))
            for key, field in (shape.fields or {}).items()
        }
        if known:
            options.append(st.fixed_dictionaries({}, optional=known))
        if shape.values is not None:
            values = shape.values
            options.append(st.dictionaries(TEXT, st.deferred(lambda: of_shape(values, depth + 1)), max_size=2))
    if "list" in shape.kinds and depth < 4 and shape.item is not None:
        item = shape.item
        options.append(st.lists(st.deferred(lambda: of_shape(item, depth + 1)), max_size=2))
    if shape.choices:
        options.append(st.sampled_from(shape.choices))
    return st.one_of(*options, SCALAR, ANYTHING) if depth else st.one_of(*options)


def loaded(options: LoadOptions) -> Tree | None:
    """The tree, after the typed project was made of it too; None when there are problems."""
    try:
        load(options)
    except SpecError as error:
        if not error.problems or not all(problem.message for problem in error.problems):
            raise AssertionError("an error without a problem") from error
        return None
    return load_tree(options)


def load_text(text: bytes | str) -> str:
    """What is printed, or the problems."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "compose.yaml")
        path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass"))
        tree = loaded(LoadOptions(environment={"X": "x"}, cwd=folder, project_name="p", deferred_variables=DEFERRED))
        if tree is None:
            return ""
        shown = canonical(tree)
        printed = to_json(shown)
        assert json.loads(printed.replace("$$", "$")) == json.loads(json.dumps(shown))
        to_yaml(shown)
        return printed


@SETTINGS
@given(st.binary(max_size=200))
def test_any_bytes(data: bytes) -> None:
    load_text(data)


@SETTINGS
@given(st.text(alphabet=" \n:-#{}[]\"'$&*!|>%@`,?<~abservic01", max_size=120))
def test_any_text_of_yaml_characters(text: str) -> None:
    load_text(f"services:\n  a:\n    image: x\n{text}")


SAMPLE = """\
x-common: &common {restart: always, logging: {driver: json-file}}
services:
  api:
    <<: *common
    build: {context: ./app, args: [A=1, B]}
    command: ["run", "--port", "$PORT", "${X:-d}"]
    ports: ["8080:80", "9000-9002:9000-9002/udp", {target: 1, published: "2"}]
    environment: {A: 1, B: "${X?}", C: 0755, D: yes}
    volumes: [n:/data, ./x:/y:ro, {type: tmpfs, target: /t, tmpfs: {size: 64m}}]
    healthcheck: {test: curl x, interval: 1m30s, retries: 3}
    deploy: {replicas: 2, resources: {limits: {cpus: "0.5", memory: 64M}}, update_config: {order: start-first}}
    depends_on: {db: {condition: service_healthy}}
    networks: {front: {aliases: [w]}, default: }
    ulimits: {nofile: {soft: 1, hard: 2}}
    x-fairlead: {probes: {readiness: {http: /h, interval: 1s}}, rollout: {strategy: canary, steps: [5%]}}
  db: {extends: {service: base}, secrets: [s], profiles: []}
  base: {image: "db:${TAG-1}", stop_grace_period: 10s}
networks: {front: {ipam: {config: [{subnet: 10.0.0.0/8}]}}}
volumes: {n: {driver: local, driver_opts: {o: bind, device: ./d}}}
secrets: {s: {environment: X}}
"""


def test_the_sample_is_right() -> None:
    assert load_text(SAMPLE)


@settings(SETTINGS, max_examples=300)
@given(st.data())
def test_the_sample_with_a_few_bytes_changed(data: st.DataObject) -> None:
    text = bytearray(SAMPLE.encode())
    for _ in range(data.draw(st.integers(1, 4))):
        at, length = data.draw(st.integers(0, len(text))), data.draw(st.integers(0, 6))
        piece = data.draw(
            st.one_of(
                st.sampled_from([b"", b"\n", b": ", b"- ", b"*common", b"${", b"]", b"\t"]), st.binary(max_size=3)
            )
        )
        text[at : at + length] = piece
    load_text(bytes(text))


@SETTINGS
@given(ANYTHING)
def test_any_tree(value: Any) -> None:
    load_text(yaml.safe_dump(value, allow_unicode=True))


@SETTINGS
@given(of_shape(SERVICE), of_shape(SERVICE))
def test_any_service(first: Any, second: Any) -> None:
    load_text(yaml.safe_dump({"services": {"a": first, "b": second}, "volumes": {"n": None}}))


@SETTINGS
@given(of_shape(SERVICE), of_shape(SERVICE))
def test_any_override_and_extension(base: Any, over: Any) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for name, service in (("compose.yaml", base), ("compose.override.yaml", over)):
            Path(folder, name).write_text(yaml.safe_dump({"services": {"a": {"image": "x"} | dict(service)}}))
        extending = {"services": {"a": dict(over) | {"extends": {"file": "compose.yaml", "service": "a"}}}}
        Path(folder, "extending.yaml").write_text(yaml.safe_dump(extending))
        for files in ((), ("extending.yaml",)):
            loaded(LoadOptions(files=files, environment={}, cwd=folder, project_name="p"))


@SETTINGS
@given(of_shape(SERVICE))
def test_what_was_printed_loads_again_as_the_same(service: Any) -> None:
    text = yaml.safe_dump({"services": {"a": {"image": "x"} | dict(service)}, "volumes": {"n": None}})
    printed = load_text(text)
    if printed:
        assert load_text(printed) == printed


@SETTINGS
@given(st.text(max_size=40))
def test_small_parsers_raise_only_their_own_error(text: str) -> None:
    for parse in (
        lambda: substitute(text, {"A": "$A"}.get, lambda name: None),
        lambda: parse_dotenv(text, {}.get, lambda name: None),
        lambda: parse_volume(text),
        lambda: split_words(text),
        lambda: byte_count(text),
        lambda: nanoseconds(text),
    ):
        try:
            parse()
        except (TemplateError, RequiredError, DotenvError, VolumeError, ValueError):
            pass


@given(st.integers(min_value=-(2**62), max_value=2**62))
def test_a_duration_reads_back(amount: int) -> None:
    assert nanoseconds(duration_text(amount)) == amount
