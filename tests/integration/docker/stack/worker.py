"""Ships what was ordered; ends politely, with nothing half done."""

import signal
import sys

from shop import cache, database

ending = False


def end(number, frame):
    global ending
    ending = True


signal.signal(signal.SIGTERM, end)
connection, queue = database(), cache()
while not ending:
    found = queue.blpop("orders", timeout=1)
    if found:
        with connection.cursor() as cursor:
            cursor.execute("UPDATE orders SET shipped = now() WHERE id = %s", (int(found[1]),))
sys.exit(0)
