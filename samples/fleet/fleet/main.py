"""The state of the fleet: built from every event, answered over HTTP, kept in a file that survives zero replicas."""

import os
import sqlite3
import tempfile
from pathlib import Path

import functions_framework as ff

DATABASE = os.environ.get("FLEET_DB") or str(Path(tempfile.gettempdir()) / f"evoke-sample-fleet-{os.getuid()}.db")
UPSERT = "INSERT OR REPLACE INTO fleet VALUES (?, ?, ?)"

connection = sqlite3.connect(DATABASE, check_same_thread=False, isolation_level=None)
connection.execute("PRAGMA synchronous = OFF")
connection.execute("CREATE TABLE IF NOT EXISTS fleet (vehicle TEXT PRIMARY KEY, battery INTEGER, seen REAL)")


@ff.batch(max_size=100)
async def store(events):
    connection.executemany(UPSERT, [(e.data["vehicle"], e.data["battery"], e.data["sent_at"]) for e in events])


@ff.http
def fleet(request):
    low = int(request.args.get("below", 101))
    rows = connection.execute(
        "SELECT vehicle, battery FROM fleet WHERE battery < ? ORDER BY vehicle", (low,)
    ).fetchall()
    return {"vehicles": len(rows), "battery": dict(rows)}
