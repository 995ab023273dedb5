"""Published ports that another project of this home has: found before a release begins.

Called by `runtime`; pure. The load balancer refuses them too, but only when the release is under way.
"""

from __future__ import annotations

from collections.abc import Mapping

from fairlead.controller.book import Book
from fairlead.controller.requests import current_targets
from fairlead.errors import RefusedError
from fairlead.plan.sharing import contested, listens
from fairlead.spec.model import Project, Service


def refuse_ports_of_others(books: Mapping[str, Book], project: Project, engine: str) -> None:
    """Refuse what ``project`` publishes anew and another project of the same engine has.

    What it publishes already is not looked at: a release must not fail for what the other project did since.

    :raises RefusedError: with the port and its owner.
    """
    mine = books.get(project.name)
    has = {(name, *listens(port)) for name, service in _services(mine).items() for port in service.ports}
    for name, book in sorted(books.items()):
        if name == project.name or book.project.engine != engine or book.project.leaving:
            continue
        for clash in contested(_services(book), project.services):
            heir, port = clash.later.service.name, clash.later.port
            if (heir, *listens(port)) not in has:
                owner = f"{clash.earlier.service.name} of the project {name}"
                raise RefusedError(
                    f"port {port.published} of {heir} is published by {owner}",
                    hint=f"{clash.fix}, or end that project: `fairlead down -p {name}`",
                )


def _services(book: Book | None) -> dict[str, Service]:
    if book is None or book.gone:
        return {}
    return {name: book.stored[target.definition_id].revision.service for name, target in current_targets(book).items()}
