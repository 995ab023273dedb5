"""What a verb works with: the settings, the project that is meant, and a controller to talk to.

Called by every verb. Finding a project never starts a controller where there is nothing to be found.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cached_property

from fairlead.api import unix
from fairlead.api.client import CALL_TIMEOUT_S, Client
from fairlead.cli.selection import Selection
from fairlead.controller.controls import ReplicaRow
from fairlead.errors import ControllerError, NotFoundError, UsageError
from fairlead.settings import Settings
from fairlead.spec.report import unknown_service


class Session:
    """One command's view of one home."""

    def __init__(self, timeout_s: float = CALL_TIMEOUT_S) -> None:
        self._timeout_s = timeout_s
        self._notice = ""

    @cached_property
    def settings(self) -> Settings:
        return Settings.from_environ(os.environ)

    def running(self) -> Client | None:
        """A client of the controller that runs; None where none does."""
        if not unix.answers(self.settings.socket_path):
            return None
        return self._heard(Client(self.settings.socket_path, self._timeout_s))

    def started(self) -> Client:
        """A client of the controller, which is started if none runs."""
        client = self.running()
        if client is not None:
            return client
        from fairlead.cli.spawn import start_controller

        return self._heard(start_controller(self.settings))

    def _heard(self, client: Client) -> Client:
        client.on_notice = self._on_notice
        return client

    def _on_notice(self, notice: str) -> None:
        """Say it, once a command."""
        from fairlead.cli.output import note

        if notice != self._notice:
            self._notice = notice
            note(f"notice: {notice}")

    def found(self) -> Client | None:
        """A client of the controller, started only if this home has ever had one; else None.

        :raises ControllerError: this user may not look into the home.
        """
        if client := self.running():
            return client
        # Replicas outlive a state that was lost, and a controller finds them again: its log tells that there was one.
        traces = (self.settings.database_path, self.settings.log_path)
        try:
            had_one = any(trace.exists() for trace in traces)
        except OSError as error:
            raise ControllerError(
                f"cannot look into {self.settings.home}: {error.strerror}",
                hint=unix.way_in(self.settings.home, "700"),
            ) from error
        return self.started() if had_one else None

    def name(self, selection: Selection) -> str:
        """The project that is meant.

        :raises UsageError: nothing says it; the hint names the projects that run.
        """
        if name := selection.name:
            return name
        raise UsageError(
            "which project? there is no Compose file here",
            hint=f"name the project with -p, or the file with -f; {self._running_projects(self.found())}",
        )

    def of_project(self, selection: Selection) -> tuple[Client, str]:
        """A client and the name of a project that the controller knows.

        :raises NotFoundError: it knows no such project; the hint names those that it does.
        """
        name = self.name(selection)
        client = self.found()
        if client is None or name not in {status.name for status in client.projects()}:
            raise NotFoundError(f"there is no project `{name}`", hint=self._running_projects(client))
        assert client is not None
        return client, name

    def replica(self, client: Client, project: str, wanted: str) -> ReplicaRow:
        """The replica named ``wanted``, or the first ready one of the service of that name.

        :raises NotFoundError: there is neither.
        """
        rows = client.replicas(project)
        exact = [row for row in rows if row.id in (wanted, f"{project}.{wanted}")]
        of_service = [row for row in rows if row.service == wanted and row.state in ("ready", "starting")]
        candidates = exact or sorted(of_service, key=lambda row: (row.state != "ready", row.slot, row.id))
        if candidates:
            return candidates[0]
        known = ", ".join(sorted({row.service for row in rows}))
        raise NotFoundError(
            f"{project} has no replica or running service {wanted!r}",
            hint=f"its services: {known}" if known else "nothing of it runs; `fairlead up -d` starts it",
        )

    def check_services(self, client: Client, project: str, wanted: Sequence[str]) -> None:
        """See to it that ``project`` has every service of ``wanted``.

        :raises NotFoundError: it lacks one.
        """
        if not wanted:
            return
        known = sorted(service.name for service in client.project(project).services)
        for name in wanted:
            if name not in known:
                raise unknown_service(project, name, known)

    @staticmethod
    def _running_projects(client: Client | None) -> str:
        names = sorted(status.name for status in client.projects()) if client else []
        return f"projects here: {', '.join(names)}" if names else "no project runs here; `fairlead up` starts one"
