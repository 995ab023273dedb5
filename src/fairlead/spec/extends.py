"""`extends`: a service takes what another one says, from this file or from another.

Called by the loader on the substituted tree of one document, before it is merged with other files.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fairlead.spec.canonical import canonicalize
from fairlead.spec.environment import absolute
from fairlead.spec.interpolate import interpolate
from fairlead.spec.merge import drop_duplicates, merge_service, merge_trees
from fairlead.spec.paths import Paths
from fairlead.spec.report import suggestion
from fairlead.spec.tree import Map, Path, clone

if TYPE_CHECKING:
    from fairlead.spec.loader import Context


MAX_CHAIN = 50


class Extender:
    """Resolves the services of one document; ``resets`` are the document's `!reset` and `!override` paths."""

    def __init__(self, file: str, resets: tuple[Path, ...], context: Context) -> None:
        self._file, self._resets, self._context = file, resets, context
        self._files: dict[str, tuple[Map, tuple[Path, ...]] | None] = {}

    def apply(self, tree: Map) -> None:
        services = tree["services"]
        for name in services:
            services[name] = self._service(name, services, self._file, (), self._resets)

    def _service(
        self, name: str, services: Map, file: str, chain: tuple[tuple[str, str], ...], resets: tuple[Path, ...]
    ) -> Any:
        service = services[name]
        if not isinstance(service, Map) or "extends" not in service:
            return service
        base = self._base(name, service, services, file, chain, resets)
        if base is None:
            service.pop("extends", None)
            return service
        merged = merge_service(base, service, name, self._context.report)
        merged.pop("extends", None)
        services[name] = merged
        return merged

    def _base(
        self,
        name: str,
        service: Map,
        services: Map,
        file: str,
        chain: tuple[tuple[str, str], ...],
        resets: tuple[Path, ...],
    ) -> Map | None:
        """The extended service, itself resolved, as a copy; None when there is none (the report says why)."""
        extends, at = service["extends"], service.mark("extends")
        path = ("services", name, "extends")
        target = extends.get("service") if isinstance(extends, Map) else extends
        other = extends.get("file") if isinstance(extends, Map) else None
        if not isinstance(target, str) or not isinstance(other, str | None):
            self._context.report.problem("expected the name of a service", at, path, "write 'extends: {service: NAME}'")
            return None
        link = (file, name)
        if len(chain) > MAX_CHAIN:
            self._context.report.problem(
                f"more than {MAX_CHAIN} services extend each other", at, path, "shorten the chain"
            )
            return None
        if link in chain:
            words = " → ".join([known for _, known in chain] + [name])
            self._context.report.problem(
                f"services extend each other in a circle: {words}", at, path, "break the circle"
            )
            return None
        if other is not None:
            file = absolute(self._context.working_dir, other)
            loaded = self._load(file)
            if loaded is None:
                return None
            services, more = loaded
            resets = (*resets, *more)
        if target not in services:
            fix = suggestion(target, services) or f"services there: {', '.join(sorted(services)) or 'none'}"
            self._context.report.problem(f"the service {target!r} to extend is not in {file}", at, path, fix)
            return None
        base = self._service(target, services, file, (*chain, link), resets)
        if not isinstance(base, Map):
            return None
        copy = clone(base)
        self._reset(copy, name, resets)
        return copy  # type: ignore[no-any-return]

    def _reset(self, base: Map, name: str, resets: tuple[Path, ...]) -> None:
        from fairlead.spec.loader import remove

        for path in resets:
            if path[:2] == ("services", name) and len(path) > 2:
                remove(base, path[2:])

    def _load(self, file: str) -> tuple[Map, tuple[Path, ...]] | None:
        if file not in self._files:
            self._files[file] = self._read(file)
        return self._files[file]

    def _read(self, file: str) -> tuple[Map, tuple[Path, ...]] | None:
        from fairlead.spec.loader import read

        context, model = self._context, Map((file, 1, 1))
        resets: tuple[Path, ...] = ()
        found = len(context.report.problems)
        for document in read(file, context):
            resets = document.resets
            if isinstance(document.root, Map):
                if context.interpolation:
                    interpolate(document.root, context.environment, context.report, context.deferred)
                model = merge_trees(model, document.root, context.report)
        drop_duplicates(model)
        canonicalize(model, context.report, lenient=not context.interpolation)
        drop_duplicates(model)
        Paths(absolute(file, ".."), context.home, context.report).resolve(model)
        services = model.get("services")
        if isinstance(services, Map):
            return services, resets
        if len(context.report.problems) == found:
            context.report.problem("the file has no services to extend", (file, 0, 0), "", "check the path")
        return None
