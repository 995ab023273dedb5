"""One order a request: a transaction in the database, a word for the worker in the cache.

Each thread has a connection of its own, so their number is bounded: PostgreSQL takes a hundred, and two revisions of
four replicas share them during a release.
"""

import contextlib
import os
import threading

import anyio.to_thread
from shop import cache, database
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

THREADS = 8
mine = threading.local()


@contextlib.asynccontextmanager
async def few_threads(app):
    anyio.to_thread.current_default_thread_limiter().total_tokens = THREADS
    yield


def connections():
    if not hasattr(mine, "pair"):
        mine.pair = database(), cache()
    return mine.pair


def order(request):
    connection, queue = connections()
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO orders (version) VALUES (%s) RETURNING id", (os.environ["VERSION"],))
        (number,) = cursor.fetchone()
    queue.rpush("orders", number)
    return JSONResponse({"order": number, "version": os.environ["VERSION"], "replica": os.environ["FAIRLEAD_REPLICA"]})


def totals(request):
    connection, _ = connections()
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*), count(shipped), count(DISTINCT version) FROM orders")
        ordered, shipped, versions = cursor.fetchone()
    return JSONResponse({"ordered": ordered, "shipped": shipped, "versions": versions})


def health(request):
    connection, queue = connections()
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    queue.ping()
    return JSONResponse({})


app = Starlette(routes=[Route("/", order), Route("/totals", totals), Route("/health", health)], lifespan=few_threads)
