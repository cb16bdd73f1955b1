"""Events on the streams that apps open: credit, answers, broken streams, and the function that is woken for them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from api.errors import EvokeError
from api.frames import Endpoint, Endpoints, Want
from api.meta import Key
from api.model import AppSubscription, Subscription
from eventbus import raw
from proxy.dapr.streams import CREDIT, Place, Stream, Streams, place_of
from proxy.stream_receiver import PATIENCE
from tests.proxy.plant import FAST, REVISION, SUBJECT, Plant, event, subscription, until

WANTED = AppSubscription(pubsub="default", topic=SUBJECT, stream=True)
Answerer = Callable[[dict[str, Any]], Awaitable[str | None]]


async def well(_event: dict[str, Any]) -> str | None:
    return "SUCCESS"


def streamed(**changes: Any) -> Subscription:
    return subscription(**{"form": "stream", "bulk": CREDIT, **changes})


class Client:
    """An app's end of one stream; *answerer* says the status of each event, or None: it never answers."""

    def __init__(self, plant: Plant, answerer: Answerer = well) -> None:
        self._streams, self._answerer = plant.wiring.streams, answerer
        self.stream: Stream = self._streams.open(place_of(plant.subscription), WANTED, bytes)
        self.numbers: list[int] = []
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        async for message in self.stream.outgoing():
            one = json.loads(message)
            self.numbers.append(one["data"]["n"])
            status = await self._answerer(one)
            if status is not None:
                self.stream.answered(one["id"], status)

    async def leave(self) -> None:
        self._streams.close(self.stream)
        await asyncio.wait({self._task}, timeout=1)
        self._task.cancel()


def test_a_thousand_events_reach_the_app_in_order() -> None:
    async def scenario() -> None:
        async with Plant(streamed()) as plant:
            client = Client(plant)
            await plant.publish(*(event(n) for n in range(1000)))
            await plant.drained()

            assert client.numbers == list(range(1000))
            assert plant.reading.done == 1000
            await client.leave()

    asyncio.run(scenario())


def test_what_came_while_no_stream_was_open_waits_and_wakes_the_function() -> None:
    async def scenario() -> None:
        async with Plant(streamed()) as plant:
            await plant.publish(*(event(n) for n in range(10)))
            await until(lambda: any(isinstance(frame, Want) for frame in plant.frames))
            assert plant.reading.lag == 10

            client = Client(plant)
            await plant.drained()
            assert client.numbers == list(range(10))
            await client.leave()

    asyncio.run(scenario())


def test_streams_of_one_app_share_the_work_by_free_credit() -> None:
    async def scenario() -> None:
        async with Plant(streamed()) as plant:
            stuck: list[str] = []

            async def never(one: dict[str, Any]) -> str | None:
                stuck.append(one["id"])
                return None

            slow, quick = Client(plant, never), Client(plant)
            await plant.publish(*(event(n) for n in range(500)))
            await until(lambda: len(quick.numbers) == 500 - CREDIT)
            assert len(stuck) == CREDIT

            await slow.leave()
            await plant.drained()
            assert sorted(quick.numbers) == list(range(500))
            assert plant.reading.failed == 0
            await quick.leave()

    asyncio.run(scenario())


def test_credit_is_what_the_replicas_of_the_app_take() -> None:
    async def scenario() -> None:
        async with Plant(streamed()) as plant:
            endpoint = Endpoint(replica="r", address="unix:/nowhere", credit=2, protocol="grpc")
            plant.table.update(Endpoints(epoch=1, revision=REVISION, generation=1, endpoints=(endpoint,)))
            waiting: list[str] = []

            async def hold(one: dict[str, Any]) -> str | None:
                waiting.append(one["id"])
                return None

            client = Client(plant, hold)
            await plant.publish(*(event(n) for n in range(10)))
            await until(lambda: len(waiting) == 2)
            for n in range(8):
                assert len(waiting) == n + 2
                client.stream.answered(waiting[n], "SUCCESS")
                await until(lambda n=n: len(waiting) == n + 3)
            for left in waiting[8:]:
                client.stream.answered(left, "")
            await plant.drained()
            await client.leave()

    asyncio.run(scenario())


def test_credit_follows_the_replicas_of_an_open_stream() -> None:
    async def scenario() -> None:
        async with Plant(streamed()) as plant:
            waiting: list[str] = []

            async def hold(one: dict[str, Any]) -> str | None:
                waiting.append(one["id"])
                return None

            client = Client(plant, hold)
            endpoint = Endpoint(replica="r", address="unix:/nowhere", credit=3, protocol="grpc")
            plant.table.update(Endpoints(epoch=1, revision=REVISION, generation=1, endpoints=(endpoint,)))
            await plant.publish(*(event(n) for n in range(10)))
            await until(lambda: plant.reading.in_flight == 3)
            assert plant.owner._wiring.table.free(REVISION) == 0
            silent = msgspec.structs.replace(endpoint, address="", credit=0)
            plant.table.update(Endpoints(epoch=1, revision=REVISION, generation=2, endpoints=(silent,)))
            await until(lambda: plant.reading.in_flight == 10)
            await client.leave()

    asyncio.run(scenario())


def test_statuses_go_by_the_policy() -> None:
    async def scenario() -> None:
        async with Plant(streamed()) as plant:
            seen: dict[int, int] = {}
            said = {0: ["SUCCESS"], 1: ["RETRY", "SUCCESS"], 2: ["DROP"], 3: ["MAYBE"] * 3, 4: ["RETRY"] * 3, 5: [""]}

            async def answer(one: dict[str, Any]) -> str | None:
                number = one["data"]["n"]
                seen[number] = seen.get(number, 0) + 1
                return said[number][seen[number] - 1]

            client = Client(plant, answer)
            await plant.publish(*(event(n) for n in said))
            await plant.drained()

            assert seen == {number: len(statuses) for number, statuses in said.items()}
            reasons = {json.loads(letter.payload)["data"]["n"]: letter.reason for letter in await plant.letters()}
            assert reasons == {2: "rejected", 3: "max-attempts", 4: "max-attempts"}
            await client.leave()

    asyncio.run(scenario())


def test_keys_stay_in_order_over_retries() -> None:
    async def scenario() -> None:
        async with Plant(streamed()) as plant:
            done: dict[str, list[int]] = {}
            failed: set[int] = set()

            async def answer(one: dict[str, Any]) -> str | None:
                number = one["data"]["n"]
                if number % 7 == 0 and number not in failed:
                    failed.add(number)
                    return "RETRY"
                done.setdefault(one["partitionkey"], []).append(number)
                return "SUCCESS"

            client, other = Client(plant, answer), Client(plant, answer)
            for n in range(200):
                await plant.publish(event(n, key=f"k{n % 10}"), key=f"k{n % 10}")
            await plant.drained()
            assert all(numbers == sorted(numbers) for numbers in done.values())
            assert sum(map(len, done.values())) == 200
            await client.leave()
            await other.leave()

    asyncio.run(scenario())


def test_a_missing_answer_ends_with_the_timeout_of_the_policy() -> None:
    async def scenario() -> None:
        policy = msgspec.structs.replace(FAST, timeout=timedelta(milliseconds=30))
        async with Plant(streamed(delivery=policy)) as plant:
            seen: list[int] = []

            async def once(one: dict[str, Any]) -> str | None:
                seen.append(one["data"]["n"])
                return None if len(seen) == 1 else "SUCCESS"

            client = Client(plant, once)
            await plant.publish(event(1))
            await plant.drained()
            assert seen == [1, 1]
            assert plant.reading.failed == 1
            assert "no answer on the stream within 0.03 s" in plant.reading.last_error
            assert not client.stream.answered("1", "SUCCESS")  # the late answer belongs to nothing
            await client.leave()

    asyncio.run(scenario())


def test_a_stream_that_breaks_gives_its_events_back_uncharged() -> None:
    async def scenario() -> None:
        async with Plant(streamed()) as plant:

            async def never(_one: dict[str, Any]) -> str | None:
                return None

            broken = Client(plant, never)
            await plant.publish(*(event(n) for n in range(20)))
            await until(lambda: len(broken.numbers) == 20)
            await broken.leave()
            await until(lambda: plant.reading.in_flight == 0)

            client = Client(plant)
            await plant.drained()
            assert client.numbers == list(range(20))
            assert (plant.reading.failed, plant.reading.done) == (0, 20)
            await client.leave()

    asyncio.run(scenario())


def test_an_event_that_ends_every_stream_is_found_and_the_others_are_done() -> None:
    async def scenario() -> None:
        async with Plant(streamed()) as plant:
            clients: list[Client] = []
            streams = 0

            async def crash(one: dict[str, Any]) -> str | None:
                if one["data"]["n"] == 3:
                    plant.wiring.streams.close(clients[-1].stream)
                    return None
                return "SUCCESS"

            await plant.publish(*(event(n) for n in range(10)))
            while not plant.reading.dead:
                clients.append(Client(plant, crash))
                streams += 1
                await until(lambda: clients[-1].stream.over or plant.reading.dead)
                await clients[-1].leave()
            clients.append(Client(plant, crash))
            await plant.drained()
            await clients[-1].leave()

            (letter,) = await plant.letters()
            assert (json.loads(letter.payload)["data"]["n"], letter.attempts) == (3, FAST.max_attempts)
            assert PATIENCE <= streams <= PATIENCE + FAST.max_attempts + 2
            assert plant.reading.done == 9

    asyncio.run(scenario())


def test_the_last_replica_that_goes_takes_its_streams_out() -> None:
    async def scenario() -> None:
        async with Plant(streamed()) as plant:
            endpoint = Endpoint(replica="r", address="unix:/nowhere", credit=4, protocol="grpc")
            plant.table.update(Endpoints(epoch=1, revision=REVISION, generation=7, endpoints=(endpoint,)))
            client = Client(plant)
            await plant.publish(event(1))
            await plant.drained()

            plant.table.remove(["r"])
            assert await plant.owner.sleep(REVISION)
            await plant.publish(event(2))
            await until(lambda: any(isinstance(frame, Want) for frame in plant.frames))
            assert client.numbers == [1]
            want = next(frame for frame in plant.frames if isinstance(frame, Want))
            assert (want.revision, want.generation) == (REVISION, 7)

            plant.table.update(Endpoints(epoch=1, revision=REVISION, generation=8, endpoints=(endpoint,)))
            await plant.drained()
            assert client.numbers == [1, 2]
            await client.leave()

    asyncio.run(scenario())


def test_what_cannot_be_told_on_a_stream_is_rejected() -> None:
    async def scenario() -> None:
        async with Plant(streamed()) as plant:

            def encode(_payload: bytes) -> bytes:
                raise EvokeError("an attribute is too deep")

            plant.wiring.streams.open(place_of(plant.subscription), WANTED, encode)
            await plant.publish(event(1))
            await plant.drained()
            (letter,) = await plant.letters()
            assert letter.reason == "malformed"
            assert "an attribute is too deep" in letter.error

    asyncio.run(scenario())


def test_a_raw_subscription_gets_bytes_in_an_envelope_of_their_own() -> None:
    async def scenario() -> None:
        async with Plant(streamed(metadata={"rawPayload": "True"})) as plant:
            got: list[dict[str, Any]] = []
            stream = plant.wiring.streams.open(
                place_of(plant.subscription), WANTED, lambda payload: got.append(json.loads(payload)) or payload
            )
            taking = asyncio.ensure_future(anext(aiter(stream.outgoing())))
            now = datetime(2026, 11, 21, tzinfo=UTC)
            await plant.publish(raw.wrap(b"\x00\x01", id="r1", source="/s", type="t", time=now))
            await taking
            assert (got[0]["id"], got[0]["data_base64"]) == ("r1", "AAE=")
            assert (got[0]["topic"], got[0]["datacontenttype"]) == (SUBJECT, "application/octet-stream")
            stream.answered("r1", "SUCCESS")
            await plant.drained()

    asyncio.run(scenario())


def test_equal_ids_are_answered_in_their_order() -> None:
    async def scenario() -> None:
        streams = Streams()
        place = Place(Key("default", "f"), Key("default", "b"), "t")
        stream = streams.open(place, WANTED, bytes)
        first, second = stream.hand("same", b"1"), stream.hand("same", b"2")
        assert stream.answered("same", "RETRY")
        assert stream.answered("same", "SUCCESS")
        assert not stream.answered("same", "SUCCESS")
        assert (await first.answer, await second.answer) == ("RETRY", "SUCCESS")

    asyncio.run(scenario())


def test_a_wish_is_told_until_it_is_declared() -> None:
    async def scenario() -> None:
        told: list[int] = []
        streams = Streams(lambda: told.append(1))
        declared = streamed()
        stream = streams.open(place_of(declared), WANTED, bytes)
        streams.open(place_of(declared), WANTED, bytes)
        (reading,) = streams.readings(())
        assert (reading.function, reading.subscription) == (Key("default", "on-reading"), WANTED)
        assert streams.readings((declared,)) == ()
        assert streams.readings((subscription(),)) != ()
        assert len(told) == 2
        otherwise = msgspec.structs.replace(WANTED, metadata={"rawPayload": "true"}, dead_letter="dead")
        streams.open(place_of(declared), otherwise, bytes)
        (changed,) = streams.readings((declared,))
        assert changed.subscription == otherwise
        dead = msgspec.structs.replace(FAST, dead_letter="prefix.dead")
        assert streams.readings((streamed(metadata={"rawPayload": "true"}, delivery=dead),)) == ()
        streams.close(stream)
        streams.end("over")
        assert streams.readings(()) == ()

    asyncio.run(scenario())


def test_an_app_waits_until_its_subscription_is_open() -> None:
    async def scenario() -> None:
        async with Plant(streamed()) as plant:
            place = place_of(plant.subscription)
            async with asyncio.timeout(5):
                await plant.wiring.streams.served(place)
            await plant.owner.stop()
            waiting = asyncio.ensure_future(plant.wiring.streams.served(place))
            await asyncio.sleep(0)
            assert not waiting.done()
            plant.wiring.streams.serve(place)
            await waiting

    asyncio.run(scenario())
