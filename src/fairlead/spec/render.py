"""Print a loaded project the way ``docker compose config`` does: as JSON, as YAML, as lists of names.

Called by ``fairlead config``. A dollar is doubled, so that what is printed can be loaded again. The verb prints; this
module only makes the text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from fairlead.spec.rules import words
from fairlead.spec.tree import plain
from fairlead.spec.yaml_reader import resolve_plain

if TYPE_CHECKING:
    from fairlead.spec.load import Tree

_OLD_WORDS = frozenset(words("y yes n no on off true false null << ="))
_INDICATORS = frozenset("[]{},#&*!|>'\"%@`?:-")


def canonical(tree: Tree) -> dict[str, Any]:
    """The tree that Compose prints; `x-fairlead` of a service is added, other `x-` keys of a service are not shown."""
    shown = dict(tree.canonical)
    sources = tree.model.get("services") or {}
    shown["services"] = {
        name: service | {"x-fairlead": plain(sources[name]["x-fairlead"])}
        if name in sources and "x-fairlead" in sources[name]
        else service
        for name, service in shown["services"].items()
    }
    return shown


def with_extensions(tree: Tree) -> dict[str, Any]:
    """What Compose prints as YAML: with every `x-` key of a service, without what is null or empty there."""
    sources = tree.model.get("services") or {}
    services = {
        name: _yaml_form(service)
        | {key: plain(value) for key, value in (sources.get(name) or {}).items() if key.startswith("x-")}
        for name, service in tree.canonical["services"].items()
    }
    networks = {
        name: {key: value for key, value in network.items() if key != "ipam" or value}
        for name, network in tree.canonical.get("networks", {}).items()
    }
    shown = tree.canonical | {"services": services} | ({"networks": networks} if networks else {})
    return {key: shown[key] for key in ("name", *(key for key in shown if key != "name"))}


def _yaml_form(service: Mapping[str, Any]) -> dict[str, Any]:
    """JSON shows a command that is not set as null, and some empty records; YAML shows neither."""
    shown = {key: value for key, value in service.items() if value is not None}
    if "deploy" in shown:
        empty = ("resources", "placement")
        shown["deploy"] = {key: value for key, value in shown["deploy"].items() if key not in empty or value}
    if "ulimits" in shown:
        shown["ulimits"] = {
            name: {"soft": limit.get("soft", 0), "hard": limit.get("hard", 0)} if isinstance(limit, dict) else limit
            for name, limit in shown["ulimits"].items()
        }
    for hooks in ("pre_start", "post_start", "pre_stop"):
        if hooks in shown:
            shown[hooks] = [{key: value for key, value in hook.items() if value is not None} for hook in shown[hooks]]
    if shown.get("develop"):
        watch = [_trigger(trigger) for trigger in shown["develop"].get("watch", ())]
        shown["develop"] = {"watch": watch} if watch else {}
    if "blkio_config" in shown:
        shown["blkio_config"] = {
            key: [{name.lower(): item for name, item in entry.items()} for entry in value]
            if isinstance(value, list)
            else value
            for key, value in shown["blkio_config"].items()
        }
    return shown


def _trigger(trigger: Mapping[str, Any]) -> dict[str, Any]:
    found = {key: value for key, value in trigger["exec"].items() if value is not None}
    return {key: value for key, value in trigger.items() if key != "exec"} | ({"exec": found} if found else {})


def to_json(value: Any, *, escape_dollar: bool = True) -> str:
    """Indented JSON; a number that JSON does not know is an error of the caller."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    return text.replace("$", "$$") if escape_dollar else text


def to_yaml(value: Any, *, escape_dollar: bool = True) -> str:
    """Block style, two spaces a level."""
    text = "\n".join(_yaml_lines(value, 0)) + "\n"
    return text.replace("$", "$$") if escape_dollar else text


def _yaml_lines(value: Any, level: int) -> Iterator[str]:
    indent = "  " * level
    if isinstance(value, Mapping) and value:
        for key, item in value.items():
            yield from _yaml_entry(f"{indent}{_yaml_key(key)}:", item, level + 1)
    elif isinstance(value, list) and value:
        for item in value:
            if isinstance(item, Mapping | list) and item:
                first, *rest = _yaml_lines(item, level + 1)
                yield f"{indent}- {first[len(indent) + 2 :]}"
                yield from rest
            else:
                yield from _yaml_entry(f"{indent}-", item, level + 1)
    else:
        yield indent + _yaml_scalar(value, level)


def _yaml_entry(head: str, item: Any, level: int) -> Iterator[str]:
    if isinstance(item, Mapping | list) and item:
        yield head
        yield from _yaml_lines(item, level)
    else:
        yield f"{head} {_yaml_scalar(item, level)}"


def _yaml_scalar(value: Any, level: int) -> str:
    if isinstance(value, Mapping | list):
        return "{}" if isinstance(value, Mapping) else "[]"
    if not isinstance(value, str):
        return json.dumps(value)
    if "\n" in value and not re.search(r"[^\n\x20-\x7e\xa0-\ud7ff]", value) and not value.startswith((" ", "\n")):
        return _literal_block(value, level)
    return value if _is_plain(value) else json.dumps(value, ensure_ascii=True)


def _yaml_key(key: str) -> str:
    return key if _is_plain(key) else json.dumps(key)


def _literal_block(value: str, level: int) -> str:
    body = value.rstrip("\n")
    trailing = len(value) - len(body)
    chomp = "-" if trailing == 0 else "" if trailing == 1 else "+"
    indent = "  " * level
    lines = [f"{indent}{line}" if line else "" for line in body.split("\n")] + [""] * max(trailing - 1, 0)
    return f"|{chomp}\n" + "\n".join(lines)


def _is_plain(value: str) -> bool:
    """Whether ``value`` reads back as itself without quotes."""
    if not value or value != value.strip() or value[0] in _INDICATORS or value.lower() in _OLD_WORDS:
        return False
    if ": " in value or " #" in value or value.endswith(":") or not value.isprintable():
        return False
    return isinstance(resolve_plain(value), str) and type(resolve_plain(value)) is str and not _looks_sexagesimal(value)


def _looks_sexagesimal(value: str) -> bool:
    return bool(re.fullmatch(r"[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?", value))


def service_hash(service: Mapping[str, Any]) -> str:
    """The hash that ``docker compose config --hash`` prints; what does not change a container is left out."""
    import hashlib

    hashed = {key: value for key, value in service.items() if key not in ("build", "pull_policy", "scale")}
    if hashed.get("deploy") is not None:
        hashed["deploy"] = {key: value for key, value in hashed["deploy"].items() if key != "replicas"}
    text = json.dumps(hashed, separators=(",", ":"), ensure_ascii=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return hashlib.sha256(text.encode()).hexdigest()


def image_name(name: str, service: Mapping[str, Any], project: str) -> str:
    """The image of a service; what is built has a name made of project and service."""
    return str(service.get("image") or f"{project}-{name}")
