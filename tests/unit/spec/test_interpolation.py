"""Variables in a Compose file: where they may stand, what they become, and which are left for the engine."""

from __future__ import annotations

import pytest

from .loading import problem, project, service, tree


def test_values_become_their_type() -> None:
    attributes = (
        "scale: ${N}\ntty: ${T}\nulimits: {nofile: '${N}'}\nhealthcheck: {retries: '${N}'}\nprivileged: ${U:-off}"
    )
    found = service(attributes, environment={"N": "3", "T": "yes"})
    assert (found["scale"], found["tty"], found["ulimits"], found["healthcheck"]) == (
        3,
        True,
        {"nofile": 3},
        {"retries": 3},
    )
    assert "privileged" not in found


def test_keys_are_left_alone_and_extensions_are_not() -> None:
    found = tree("x-a: $V\nservices: {a: {image: x, labels: {$V: $V}}}", environment={"V": "v"})
    assert found["services"]["a"]["labels"] == {"$V": "v"}
    assert found["x-a"] == "v"


def test_what_is_not_set_is_warned_about_once() -> None:
    loaded = project("services: {a: {image: 'x:$NO', command: ['$NO', $$NO]}}")
    assert loaded.services["a"].command == ("", "$NO")
    assert [warning for warning in loaded.warnings if "NO" in warning] == [
        'the variable "NO" is not set and becomes an empty string'
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("${NO:?tell me}", "the variable NO is required: tell me"),
        ("${", "not a valid variable"),
        ("$$${-}", "not a valid"),
    ],
)
def test_problems_name_the_place(text: str, words: str) -> None:
    found = problem(f"user: '{text}'")
    assert words in found.message
    assert (found.line, found.key) == (4, "services.a.user")


DEFERRED = frozenset({"PORT"})


def test_the_engines_variables_stay_in_commands() -> None:
    text = """
    services:
      a:
        image: x:$PORT
        command: run --port $PORT --b ${PORT} --c ${PORT:-1} --d $PORT_8080 --e $PORTS --f $$PORT
        entrypoint: ["$PORT"]
        healthcheck: {test: "curl :$PORT"}
        environment: {A: "$PORT", B: "${PORT:-9}"}
        labels: {l: "${PORT:-9}"}
    """
    loaded = project(text, deferred_variables=DEFERRED)
    service = loaded.services["a"]
    expected = "run --port $PORT --b ${PORT} --c ${PORT} --d $PORT_8080 --e --f $PORT"
    assert " ".join(service.command or ()) == expected
    assert service.entrypoint == ("$PORT",)
    assert service.healthcheck is not None
    assert service.healthcheck.test == ("CMD-SHELL", "curl :$PORT")
    assert service.environment == {"A": "$PORT", "B": "${PORT}"}
    assert (service.image, service.labels) == ("x:", {"l": "9"})
    assert len(loaded.warnings) == 2  # PORT in the image, PORTS in the command


def test_the_engines_variables_stay_in_hooks_and_in_the_commands_of_probes() -> None:
    text = """
    x-fairlead:
      probes: {liveness: {command: "live $PORT"}}
    services:
      a:
        image: x
        post_start:
          - {command: "warm $PORT", user: "u$PORT", environment: {A: "$PORT"}}
        pre_stop: [{command: ["leave", "${PORT_80}"]}]
        x-fairlead:
          probes: {readiness: {command: ["ask", "$PORT"]}}
    """
    loaded = project(text, deferred_variables=DEFERRED)
    service = loaded.services["a"]
    assert service.post_start[0].command == ("warm", "$PORT")
    assert service.post_start[0].environment == {"A": "$PORT"}
    assert service.pre_stop[0].command == ("leave", "${PORT_80}")
    probes = service.options.probes
    assert probes.readiness is not None
    assert probes.readiness.command == ("ask", "$PORT")
    assert probes.liveness is not None
    assert probes.liveness.command == ("live", "$PORT")
    assert (service.post_start[0].user, len(loaded.warnings)) == ("u", 1)


def test_the_engines_variables_in_a_fragment_are_no_reason_to_warn() -> None:
    text = """
    x-web: &web {command: ["serve", "$PORT"], environment: {A: "$PORT"}}
    services:
      a: {<<: *web, image: x}
    """
    loaded = project(text, deferred_variables=DEFERRED)
    assert loaded.services["a"].command == ("serve", "$PORT")
    assert loaded.warnings == ()


def test_a_variable_that_is_set_stays_deferred_in_commands_only() -> None:
    text = "services: {a: {image: x, command: $PORT, environment: {A: $PORT}}}"
    found = project(text, deferred_variables=DEFERRED, environment={"PORT": "5"}).services["a"]
    assert (found.command, found.environment) == (("$PORT",), {"A": "5"})


def test_without_deferred_variables_everything_is_as_in_compose() -> None:
    assert service("command: $PORT x", environment={"PORT": "5"})["command"] == ["5", "x"]
