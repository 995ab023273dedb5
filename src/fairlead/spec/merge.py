"""Merge one Compose tree over another, with each attribute's own rule, and drop what is there twice.

Called by the loader for every further file, and for `extends`. Both trees are consumed. Mappings merge key by key and
lists are appended, except where the tables here say otherwise; afterwards :func:`drop_duplicates` keeps the last entry
of every list whose entries have an identity (a port, a mount target, a variable's name).
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

from fairlead.spec.numbers import go_text
from fairlead.spec.report import Report
from fairlead.spec.rules import Rules, rules, words
from fairlead.spec.tree import Map, Path, Position, Seq, clone, kind_of, position_of
from fairlead.spec.volumes import VolumeError, parse_volume

Merge = Callable[[Any, Any, Path, "Merger"], Any]
Identity = Callable[[Any], Hashable | None]


class Merger:
    """Carries the report through the recursion."""

    def __init__(self, report: Report) -> None:
        self._report = report

    def merge(self, base: Any, over: Any, path: Path, table: Rules[Merge] | None, at: Position) -> Any:
        """``over`` on ``base``: null changes nothing, kinds must agree."""
        if table is not None and table.rule is not None:
            return table.rule(base, over, path, self)
        if over is None:
            return base
        if isinstance(base, Map | Seq) and not isinstance(over, type(base)):
            self._report.problem(
                f"a {kind_of(over)} cannot override a {kind_of(base)}", at, path, f"write a {kind_of(base)} here too"
            )
            return base
        if isinstance(base, Map):
            return self.mappings(base, over, path, table)
        if isinstance(base, Seq):
            return appended(base, over)
        return over

    def mappings(self, base: Map, over: Map, path: Path, table: Rules[Merge] | None) -> Map:
        """Key by key; ``x-`` keys are replaced whole."""
        for key, value in over.items():
            at = over.mark(key)
            if key in base and not key.startswith("x-"):
                value = self.merge(base[key], value, (*path, key), table.below(key) if table else None, at)
                base.put(key, value, at if not isinstance(base[key], Map) else None)
            else:
                base.put(key, value, at)
        return base


def merge_trees(base: Map, over: Map, report: Report) -> Map:
    """The whole model of one more file on what was loaded before."""
    return Merger(report).mappings(base, over, (), _MERGES)


def merge_service(base: Map, over: Map, name: str, report: Report) -> Map:
    """A service on the one that it extends."""
    table = _MERGES.below("services")
    return Merger(report).mappings(base, over, ("services", name), table.below(name) if table else None)


def appended(base: Seq, over: Seq) -> Seq:
    base.extend(over)
    base.marks.extend(over.marks)
    return base


def _replace(_base: Any, over: Any, _path: Path, _merger: Merger) -> Any:
    return over


def _as_list(value: Any) -> Seq:
    """The list form of what may also be a mapping (``A=1``, sorted) or one string."""
    if isinstance(value, Seq):
        return value
    made = Seq(position_of(value))
    if isinstance(value, Map):
        entries = [
            (key if item is None else f"{key}={go_text(item)}", value.mark(key))
            for key, items in value.items()
            for item in (items if isinstance(items, Seq) else [items])
        ]
        for entry, mark in sorted(entries):
            made.add(entry, mark)
    elif isinstance(value, str):
        made.add(value)
    return made


def _lists(base: Any, over: Any, _path: Path, _merger: Merger) -> Seq:
    return appended(_as_list(base), _as_list(over))


def _new_entries(base: Any, over: Any, _path: Path, _merger: Merger) -> Seq:
    merged = _as_list(base)
    for entry, mark in _as_list(over).entries():
        if entry not in merged:
            merged.add(entry, mark)
    return merged


def _as_map(value: Any, make: Callable[[], Any]) -> Map:
    if isinstance(value, Map):
        return value
    made = Map(position_of(value))
    if isinstance(value, Seq):
        for name, mark in value.entries():
            if isinstance(name, str):
                made.put(name, make(), mark)
    return made


def _started() -> Map:
    made = Map()
    made.update(condition="service_started", required=True)
    return made


def _dependencies(base: Any, over: Any, path: Path, merger: Merger) -> Map:
    return merger.mappings(_as_map(base, _started), _as_map(over, _started), path, None)


def _networks(base: Any, over: Any, path: Path, merger: Merger) -> Map:
    return merger.mappings(_as_map(base, lambda: None), _as_map(over, lambda: None), path, None)


def _build(base: Any, over: Any, path: Path, merger: Merger) -> Map:
    table = _below(path)
    return merger.mappings(_build_map(base), _build_map(over), path, table)


def _build_map(value: Any) -> Map:
    if isinstance(value, str):
        made = Map()
        made["context"] = value
        return made
    return value if isinstance(value, Map) else Map()


def _logging(base: Any, over: Any, path: Path, merger: Merger) -> Any:
    if not isinstance(base, Map) or not isinstance(over, Map):
        return over if over is not None else base
    if "driver" in base and "driver" in over and base["driver"] != over["driver"]:
        return over
    return merger.mappings(base, over, path, None)


def _address_pools(base: Any, over: Any, path: Path, merger: Merger) -> Any:
    """`ipam.config`: pools of the same subnet merge, others stand side by side."""
    if not isinstance(base, Seq) or not isinstance(over, Seq):
        return over
    merged = Seq(base.at)
    for pool in base:
        for other in over:
            if not isinstance(pool, Map) or not isinstance(other, Map):
                merged.add(other)
                continue
            same = other.get("subnet") == pool.get("subnet")
            entry = merger.mappings(clone(pool), clone(other), path, None) if same else clone(other)
            known = [index for index, item in enumerate(merged) if item.get("subnet") == entry.get("subnet")]
            if not known:
                merged.add(entry, other.at)
            elif same:
                merged[known[0]] = entry
            else:
                merged[known[0]] = merger.mappings(clone(pool), clone(other), path, None)
    return merged


_MERGES: Rules[Merge] = rules(
    dict.fromkeys(
        words(
            "networks.*.labels volumes.*.labels services.*.annotations services.*.build.args "
            "services.*.build.additional_contexts services.*.build.labels services.*.deploy.labels services.*.dns "
            "services.*.dns_opt services.*.dns_search services.*.env_file services.*.label_file services.*.environment "
            "services.*.labels services.*.sysctls services.*.tmpfs"
        ),
        _lists,
    )
    | dict.fromkeys(
        words("services.*.command services.*.entrypoint services.*.healthcheck.test services.*.ulimits.*"), _replace
    )
    | {
        "networks.*.ipam.config": _address_pools,
        "services.*.build": _build,
        "services.*.build.extra_hosts": _new_entries,
        "services.*.depends_on": _dependencies,
        "services.*.extra_hosts": _new_entries,
        "services.*.logging": _logging,
        "services.*.models": _networks,
        "services.*.networks": _networks,
    }
)


def _below(path: Path) -> Rules[Merge] | None:
    table: Rules[Merge] | None = _MERGES
    for step in path:
        table = table.below(step) if table else None
    return table


def _key_of(entry: Any) -> Hashable | None:
    return entry.partition("=")[0] if isinstance(entry, str) else None


def _target_of_volume(entry: Any) -> Hashable | None:
    if isinstance(entry, Map):
        target = entry.get("target")
        return target if isinstance(target, str) else None
    if isinstance(entry, str):
        try:
            return str(parse_volume(entry).get("target", ""))
        except VolumeError:
            return None
    return None


def _target_of_device(entry: Any) -> Hashable | None:
    if isinstance(entry, Map):
        target = entry.get("target")
        return target if isinstance(target, str) else None
    if isinstance(entry, str):
        parts = entry.split(":")
        return parts[0] if len(parts) == 1 else parts[1]
    return None


def _path_of(entry: Any) -> Hashable | None:
    value = entry.get("path") if isinstance(entry, Map) else entry
    return value if isinstance(value, str) else None


def _text_of(entry: Any) -> Hashable | None:
    return go_text(entry) if isinstance(entry, str | int) and not isinstance(entry, bool) else None


def _file_target(folder: str) -> Identity:
    def identity(entry: Any) -> Hashable | None:
        if isinstance(entry, str):
            return f"{folder}/{entry}"
        if isinstance(entry, Map):
            return go_text(entry["target"]) if "target" in entry else f"{folder}/{go_text(entry.get('source'))}"
        return None

    return identity


def _port_identity(entry: Any) -> Hashable | None:
    if isinstance(entry, Map):
        if "target" not in entry:
            return None
        target, published = entry["target"], entry.get("published")
        return (
            go_text(entry.get("host_ip", "0.0.0.0")),
            type(published).__name__,
            go_text(published),
            type(target).__name__,
            go_text(target),
            go_text(entry.get("protocol", "tcp")),
        )
    return go_text(entry) if isinstance(entry, str | int) and not isinstance(entry, bool) else None


_IDENTITIES: Rules[Identity] = rules(
    dict.fromkeys(
        words(
            "networks.*.labels networks.*.ipam.options services.*.annotations services.*.build.args "
            "services.*.build.additional_contexts services.*.build.platform services.*.build.tags "
            "services.*.build.labels services.*.cap_add services.*.cap_drop services.*.deploy.labels services.*.dns "
            "services.*.dns_opt services.*.dns_search services.*.environment services.*.labels services.*.links "
            "services.*.networks.*.aliases services.*.networks.*.link_local_ips services.*.profiles services.*.sysctls "
            "services.*.tmpfs"
        ),
        _key_of,
    )
    | {
        "services.*.configs": _file_target(""),
        "services.*.devices": _target_of_device,
        "services.*.env_file": _path_of,
        "services.*.expose": _text_of,
        "services.*.ports": _port_identity,
        "services.*.secrets": _file_target("/run/secrets"),
        "services.*.volumes": _target_of_volume,
    }
)


def drop_duplicates(value: Any, table: Rules[Identity] | None = _IDENTITIES) -> None:
    """In every list whose entries have an identity, an entry replaces the earlier one of the same identity."""
    if table is None:
        return
    if isinstance(value, Map):
        for key, item in value.items():
            if isinstance(item, Map | Seq):
                drop_duplicates(item, table.below(key))
    elif isinstance(value, Seq) and table.rule is not None and len(value) > 1:
        _drop_in(value, table.rule)


def _drop_in(entries: Seq, identity: Identity) -> None:
    places: dict[Hashable, int] = {}
    kept: list[tuple[Any, Position]] = []
    for entry, mark in list(entries.entries()):
        name = identity(entry)
        if name is not None and name in places:
            kept[places[name]] = (entry, mark)
            continue
        if name is not None:
            places[name] = len(kept)
        kept.append((entry, mark))
    entries[:] = [entry for entry, _ in kept]
    entries.marks[:] = [mark for _, mark in kept]
