"""``python -m fairlead.load``: the report on standard output, the verdict in the exit code, a polite end."""

import asyncio
import json
import signal
import sys

import pytest

from fairlead.load.report import Failure, FailureKind

from .misbehaving import Behaviour, Exchange, rightly, serve


async def start(*arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "fairlead.load",
        *arguments,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def unavailable(exchange: Exchange) -> None:
    exchange.send(b"", status=503)


@pytest.mark.parametrize(("behaviour", "code"), [(rightly, 0), (unavailable, 1)], ids=["clean", "failing"])
async def test_the_exit_code_says_whether_anything_failed(behaviour: Behaviour, code: int) -> None:
    async with serve(behaviour) as server:
        process = await start(server.url, "--rate=50", "--duration=0.5", "--mix=1,1,1,0", "--versions=v1")
        output, errors = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == code, errors.decode()
    report = json.loads(output)
    assert report["sent"] == report["ok"] + report["failed"] == len(server.requests)
    failures = [Failure.from_json(failure) for failure in report["failures"]]
    assert {failure.kind for failure in failures} == ({FailureKind.STATUS} if code else set())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_ends_it_politely_with_a_report(number: signal.Signals) -> None:
    async with serve() as server:
        process = await start(server.url, "--rate=50", "--mix=1,0,1,1", "--slow=0.01", "--progress=0.1")
        try:
            assert process.stderr is not None
            async with asyncio.timeout(30):
                while json.loads(await process.stderr.readline())["ok"] == 0:
                    pass
            process.send_signal(number)
            output, _ = await asyncio.wait_for(process.communicate(), 30)
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
    assert process.returncode == 0
    report = json.loads(output)
    assert report["ok"] == report["sent"] > 0
    assert report["versions"]["v1"]["count"] == report["sent"]


async def test_a_wrong_command_line_is_refused() -> None:
    process = await start("ftp://127.0.0.1/")
    output, errors = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == 2
    assert output == b""
    assert errors.decode().startswith("error: ftp://127.0.0.1/: expected http://")
