"""Must have completed before anything else starts."""

from shop import database

with database().cursor() as cursor:
    cursor.execute(
        "CREATE TABLE IF NOT EXISTS orders (id bigserial PRIMARY KEY, version text NOT NULL, shipped timestamptz)"
    )
print("migrated")
