"""The way to the database and the cache, for all parts of the shop."""

from pathlib import Path

import psycopg2
import redis


def database():
    password = Path("/run/secrets/db_password").read_text()
    connection = psycopg2.connect(host="db", user="postgres", password=password, connect_timeout=10)
    connection.autocommit = True
    return connection


def cache():
    return redis.Redis(host="cache", socket_timeout=10)
