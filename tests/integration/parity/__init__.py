"""Compare what Fairlead makes of Compose files with what Docker Compose makes of them.

Run by ``make parity CORPUS=DIR``, which is ``python -m tests.integration.parity DIR``. It needs the binary of Docker
Compose (``--oracle PATH``, or ``docker-compose`` on PATH), and no daemon.
"""
