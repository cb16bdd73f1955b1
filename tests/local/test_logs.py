"""Logs are one stream in time order, whatever file and form they came in."""

import asyncio
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from api.errors import InvalidInput
from controller.local import logs


def line(second, message, **more):
    return msgspec.json.encode({"time": f"2026-01-01T00:00:{second:02d}Z", "message": message, **more}) + b"\n"


@pytest.fixture
def folder(tmp_path):
    place = tmp_path / "default" / "f"
    for revision, replica, data in (
        ("00001", "one", line(1, "a", call="x") + line(3, "c") + b"Segmentation fault\n"),
        ("00002", "two", line(2, "b", call="x") + line(4, "d")),
    ):
        (place / revision).mkdir(parents=True)
        (place / revision / f"{replica}.log").write_bytes(data)
    return place


def messages(folder, living=frozenset(), **query):
    return [one["message"] for one in logs.read(folder, logs.Query(**query), living)]


def test_replicas_and_revisions_are_merged_by_time(folder):
    assert messages(folder) == ["a", "b", "c", "Segmentation fault", "d"]
    assert logs.read(folder, logs.Query())[1]["replica"] == "two"


def test_queries_narrow(folder):
    assert messages(folder, tail=2) == ["Segmentation fault", "d"]
    assert messages(folder, tail=0) == []
    assert messages(folder, revision="00002") == ["b", "d"]
    assert messages(folder, call="x") == ["a", "b"]
    assert messages(folder, since=datetime(2026, 1, 1, 0, 0, 4, tzinfo=UTC)) == ["d"]
    assert messages(folder, living=frozenset({"two"}), previous=True) == ["a", "c", "Segmentation fault"]


def test_following_goes_on_over_new_replicas_and_waits_for_whole_lines(folder):
    async def go():
        query = logs.Query()
        stream = logs.follow(folder, query, past=lambda: logs.read(folder, logs.Query(tail=1)))
        seen = [(await anext(stream))["message"]]
        (folder / "00003").mkdir()
        with (folder / "00003" / "three.log").open("wb", buffering=0) as file:
            file.write(line(5, "e")[:-1])
            waiting = asyncio.ensure_future(anext(stream))
            await asyncio.sleep(2 * logs.POLL)
            assert not waiting.done()
            file.write(b"\n")
            seen.append((await asyncio.wait_for(waiting, 5))["message"])
        await stream.aclose()
        return seen

    assert asyncio.run(go()) == ["d", "e"]


def test_since_is_a_duration_or_a_time():
    now = datetime(2026, 1, 1, tzinfo=UTC)

    assert logs.parse_since("10m", now) == now - timedelta(minutes=10)
    assert logs.parse_since("2025-12-31T00:00:00", now) == now - timedelta(days=1)
    assert logs.parse_since("", now) is None
    with pytest.raises(InvalidInput):
        logs.parse_since("soon", now)


def test_old_files_go(folder):
    for number in range(logs.KEPT + 5):
        (folder / "00001" / f"r{number}.log").write_bytes(line(1, "x"))

    logs.prune(folder)

    assert len(list(folder.rglob("*.log"))) == logs.KEPT


def test_a_long_file_is_cut_under_its_writer(folder, monkeypatch):
    monkeypatch.setattr(logs, "LONGEST", 1000)
    monkeypatch.setattr(logs, "_LAST", 200)
    path = folder / "00001" / "one.log"
    with path.open("ab", buffering=0) as writer:
        for number in range(50):
            writer.write(line(5, f"m{number}"))
        tail = logs.Tail(folder, from_end=True)

        logs.trim(folder)
        writer.write(line(6, "after"))

        assert [one["message"] for one in tail.poll()][-1] == "after"
    assert path.stat().st_size < 100
    assert messages(folder)[-2:] == ["m49", "after"]


def test_lines_of_other_loggers_keep_their_place_and_fields(tmp_path):
    place = tmp_path / "default" / "f" / "00001"
    place.mkdir(parents=True)
    pino = b'{"level":30,"time":1767225603000,"message":"took","ms":7}\n'
    (place / "one.log").write_bytes(line(2, "before") + pino + b"plain\n" + line(4, "after"))
    (place / "two.log").write_bytes(line(3, "other"))

    found = logs.read(place.parent, logs.Query())

    assert [one["message"] for one in found] == ["before", "took", "plain", "other", "after"]
    assert found[1]["ms"] == 7


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", ""),
        (b"one\n\ntwo\nthree\nfour", "two | three | four"),
        (line(1, "structured") + b"  last \n", "structured | last"),
        (
            b"up\npanic: no database\n\ngoroutine 1 [running]:\n" + b"main.f()\n" * 9,
            "panic: no database | goroutine 1 [running]: | main.f()",
        ),
        (
            b"app.js:1\n\nError: no database\n" + b"    at f\n" * 9 + b"\nNode.js v20\n",
            "Error: no database | at f | at f",
        ),
        (b"Error: tried again\none\ntwo\nthree\n", "one | two | three"),
        (b'  File "app.py"\n    f()\nValueError: no\n', 'File "app.py" | f() | ValueError: no'),
        (b"\xff\n", "\N{REPLACEMENT CHARACTER}"),
    ],
)
def test_last_words_fit_a_line(tmp_path, data, words):
    (tmp_path / "log").write_bytes(data)

    assert logs.last_words(tmp_path / "log") == words
    assert logs.last_words(tmp_path / "none") == ""
