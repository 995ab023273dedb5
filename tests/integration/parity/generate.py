"""Make Compose files from the table of keys: single files, pairs to merge, files that extend and include each other."""

from __future__ import annotations

import random

from fairlead.spec.rules import words
from fairlead.spec.schema import COMPOSE
from fairlead.spec.shapes import Shape

Files = dict[str, str]

ODD = words(
    "yes no on off true null ~ 0 1 -1 +1 0755 0o17 0x1F 0b11 1e3 1.5 .5 1. 1_000 22:22 2020-01-01 99999999999999999999 "
    '.inf "" "1" "true" [] {} [a] [1] {a:b} $X ${X:-d} $$X ./x ~/x /abs !!str'
)
_TEXT = words('a b "1" "0" x:y a=b "true" "" "-1" "A=${NOPE:-x}" "$$x" 1.2.3.4 "0755" "5s" ./p ~/p')
_HINTS: dict[str, tuple[str, ...]] = {}
for _keys, _values in (
    ("interval timeout start_period start_interval delay monitor window stop_grace_period", "5s 1m30s 500ms 0s 1.5h"),
    ("memory mem_limit mem_reservation memswap_limit shm_size size rate", '64m "1.5GB" 1024 "0" 10kb'),
    ("ports", '80 "80" "8080:80" "127.0.0.1:8080:80/udp" "8000-8002:9000-9002" "3000-3005:80" "[::1]:80:80"'),
    ("volumes", "n:/data ./x:/y:ro /abs:/abs /anon ~/h:/h:z,rshared n:/data2:nocopy"),
    ("networks secrets configs", "n m"),
    ("depends_on links volumes_from", "b"),
    ("devices", "/dev/a /dev/a:/dev/b /dev/a:/dev/b:r"),
    ("extra_hosts", "h:1.2.3.4 h=::1 g=1.1.1.1,2.2.2.2"),
    ("command entrypoint test", '"echo \'a b\' c" "a; b" [CMD,x] [CMD-SHELL,"a"] [a,""]'),
    ("environment args labels annotations sysctls options driver_opts", "A=1 B=2 A= C D=$NOPE"),
    ("env_file label_file", "./vars.env"),
    ("network_mode pid ipc", "host service:b none"),
    ("pull_policy", "always missing if_not_present build never"),
    ("condition", "service_started service_healthy"),
    ("restart", "always on-failure:3 no"),
    ("cpus", '0.5 "1.25" 2 0.1'),
    ("file", "./n.txt"),
    ("external", "true false"),
):
    _HINTS |= dict.fromkeys(words(_keys), words(_values))
_SKIPPED = frozenset(
    words("image extends provider models use_api_socket pre_start pull_refresh_after no_cache_filter provenance sbom")
) | {"include", "initial_sync", "interface_name"}
_RESOURCES = """networks: {n: {}, m: {}}
volumes: {n: {}}
secrets: {n: {file: ./n}, m: {environment: HOME}}
configs: {n: {content: x}, m: {file: ./m}}
"""
_EXTRA_FILES = {"vars.env": "A=env\nE='x y'\nF=${A}-$NOPE\nexport G=\"q\\tr\"\n"}


def single(dice: random.Random) -> Files:
    """One file with one or two services."""
    names = ("a", "b")[: dice.randint(1, 2)]
    keys = {name: dice.sample(sorted(_service_fields()), dice.randint(1, 3)) for name in names}
    text = "".join(_service(name, keys[name], dice) for name in names)
    return {
        "compose.yaml": f"services:\n{text}  b2: {{image: x}}\n{_RESOURCES}".replace(
            "b2", "b" if len(names) == 1 else "c"
        )
    }


def merged(dice: random.Random) -> Files:
    """A file and its override, which say the same keys."""
    keys = dice.sample(sorted(_service_fields()), dice.randint(1, 3))
    base = f"services:\n{_service('a', keys, dice)}  b: {{image: x}}\n{_RESOURCES}"
    over = _tagged(_service("a", keys, dice), dice)
    return {"compose.yaml": base, "compose.override.yaml": f"services:\n{over}{_resources_again(dice)}"}


def extended(dice: random.Random) -> Files:
    """A service that extends one of another file, which may extend a third in a folder below."""
    keys = dice.sample(sorted(_service_fields()), dice.randint(1, 3))
    top = _tagged(_service("a", keys, dice), dice) + "    extends: {file: sub/base.yaml, service: a}\n"
    middle = _service("a", keys, dice) + dice.choice(
        ("", "    extends: c\n", "    extends: {file: ../low.yaml, service: a}\n")
    )
    middle += _service("c", keys, dice)
    return {
        "compose.yaml": f"services:\n{top}  b: {{image: x}}\n{_RESOURCES}",
        "sub/base.yaml": f"services:\n{middle}",
        "low.yaml": f"services:\n{_service('a', keys, dice)}",
        "sub/vars.env": "S=sub\n",
    }


def included(dice: random.Random) -> Files:
    """A file that includes one or two others."""
    keys = dice.sample(sorted(_service_fields()), 2)
    entry = dice.choice(
        (
            "sub/inc.yaml",
            "{path: sub/inc.yaml}",
            "{path: [sub/inc.yaml, over.yaml]}",
            "{path: sub/inc.yaml, project_directory: .}",
            "{path: sub/inc.yaml, env_file: other.env}",
            "{path: sub/inc.yaml, project_directory: sub/deep, env_file: [other.env, vars.env]}",
        )
    )
    return {
        "compose.yaml": f"include:\n  - {entry}\nservices:\n{_service('a', keys, dice)}",
        "sub/inc.yaml": f"services:\n{_service('d', keys, dice)}  b: {{image: 'x:${{TAG:-none}}'}}\n{_RESOURCES}",
        "over.yaml": f"services:\n{_service('d', keys[:1], dice)}",
        "sub/.env": "TAG=sub\nNOPE=sub\n",
        "sub/vars.env": "S=sub\n",
        "sub/deep/vars.env": "S=deep\n",
        "other.env": "TAG=other\n",
    }


GENERATORS = {"keys": single, "merge": merged, "extends": extended, "include": included}


def generate(mode: str, dice: random.Random) -> Files:
    return GENERATORS[mode](dice) | _EXTRA_FILES | {".env": dice.choice(("", "X=env\nC=fromdotenv\n"))}


def _service_fields() -> dict[str, Shape]:
    services = (COMPOSE.fields or {})["services"].values
    fields = services.fields if services is not None else None
    return {key: shape for key, shape in (fields or {}).items() if key not in _SKIPPED}


def _service(name: str, keys: list[str], dice: random.Random) -> str:
    fields = _service_fields()
    lines = [f"  {name}:", "    image: x", *(f"    {key}: {value(fields[key], key, dice, 1)}" for key in keys)]
    return "\n".join(lines) + "\n"


def _tagged(text: str, dice: random.Random) -> str:
    """Sometimes with `!reset` or `!override` at one key."""
    if dice.random() < 0.7:
        return text
    lines = text.split("\n")
    at = dice.randrange(2, len(lines) - 1)
    key, _, rest = lines[at].partition(":")
    lines[at] = f"{key}: {dice.choice(('!reset null', '!override' + rest))}"
    return "\n".join(lines)


def _resources_again(dice: random.Random) -> str:
    return dice.choice(
        (
            "",
            "networks: {n: {labels: [A=1]}, m: {driver: bridge, ipam: {config: [{subnet: 10.0.0.0/8}]}}}\n",
            "volumes: {n: {driver: local, driver_opts: {o: bind, device: ./d}}}\n",
            "secrets: {n: !override {environment: HOME}}\n",
            "networks: {n: {external: true}}\n",
        )
    )


def value(shape: Shape, key: str, dice: random.Random, depth: int) -> str:
    """A value of the shape, in flow style; once in a while another one."""
    if dice.random() < 0.015 or depth > 6:
        return dice.choice(ODD)
    kind = dice.choice(shape.kinds)
    if kind == "mapping":
        return _mapping(shape, key, dice, depth)
    if kind == "list":
        items = {value(shape.item, key, dice, depth + 1) for _ in range(dice.randint(0, 3))} if shape.item else set()
        return "[" + ", ".join(sorted(items)) + "]"
    if kind == "null":
        return "null"
    hints = _HINTS.get(key)
    if hints and kind in ("string", "number", "integer"):
        return dice.choice(hints)
    if shape.choices:
        return dice.choice(shape.choices)
    if kind == "boolean":
        return dice.choice(("true", "false"))
    if kind == "string":
        numeric = {"integer", "number", "boolean"} & set(shape.kinds)
        return dice.choice(('"1"', '"2"', '"0"') if numeric else _TEXT)
    return dice.choice(("0", "1", "7", "80", "-1") if kind == "integer" else ("0", "1", "0.5", "1e3", "-2"))


def _mapping(shape: Shape, key: str, dice: random.Random, depth: int) -> str:
    fields = {name: field for name, field in (shape.fields or {}).items() if name not in _SKIPPED}
    chosen = set(dice.sample(sorted(fields), min(len(fields), dice.randint(0, 3)))) | set(shape.required)
    entries = [f"{name}: {value(fields[name], name, dice, depth + 1)}" for name in sorted(chosen)]
    if shape.values is not None:
        names = {"networks": ("n", "m", "default"), "depends_on": ("b",), "ulimits": ("nofile", "nproc")}.get(
            key, ("A", "B", "C.d")
        )
        free = dice.sample(names, dice.randint(0, len(names) - 1) if len(names) > 1 else 1)
        entries += [
            f"{name}: {value(shape.values, name if shape.named else key, dice, depth + 1)}" for name in sorted(free)
        ]
    return "{" + ", ".join(entries) + "}"
