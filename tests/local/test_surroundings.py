"""What replicas are told by their environment, and where their listeners are."""

from pathlib import Path

from api import platform
from api.frames import AppListener
from api.meta import Key, RevisionKey
from api.model import App, Unbuilt, Workload
from controller.local.app_listeners import Listeners, socket_of
from controller.local.app_ports import AppPorts
from controller.local.environments import Environment
from controller.local.sqlite import connect
from controller.local.surroundings import Place, of_handler, of_program

F, G, H = Key("default", "f"), Key("default", "g"), Key("default", "h")
HERE = platform.Platform(
    http="127.0.0.1:8080",
    mqtt="127.0.0.1:1883",
    nats="127.0.0.1:4222",
    dapr="127.0.0.1:3500",
    dapr_grpc="127.0.0.1:50001",
    nats_user="evoke",
    nats_password="x",
    key="00" * 32,
)
LISTENER = AppListener(function=F, http="127.0.0.1:11000", grpc="127.0.0.1:11001")
PLACE = Place(platform=HERE, socket=Path("/run/dapr-1.sock"), app=App(key=F, id="orders"), listener=LISTENER)
ENVIRONMENT = Environment("sha256:e", Path("/env"))


def workload(**fields):
    return Workload(key=RevisionKey("default", "f", "00003"), artifact=Unbuilt(build="b"), context=b"{}", **fields)


def test_a_handler_is_told_the_shared_api_and_the_socket_of_its_home():
    found = of_handler(workload(target="main:go"), {"PORT": "1", "MINE": "yes"}, PLACE)

    assert found["MINE"] == "yes"
    assert (found["PORT"], found["FUNCTION_TARGET"]) == ("8080", "main:go")
    assert found["EVOKE_DAPR_SOCKET"] == "/run/dapr-1.sock"
    assert found["DAPR_HTTP_ENDPOINT"] == "http://127.0.0.1:3500"
    assert found["DAPR_GRPC_ENDPOINT"] == "127.0.0.1:50001"
    assert HERE.caller(found["DAPR_API_TOKEN"]) == F


def test_a_program_finds_what_a_sidecar_would_have_told_it():
    own = {"APP_API_TOKEN": "theirs", "DAPR_HTTP_PORT": "1", "MINE": "yes"}
    found = of_program(workload(host="command", protocol="grpc"), own, PLACE, ENVIRONMENT, "/usr/bin")

    told = {name: value for name, value in found.items() if name.startswith(("APP_", "DAPR_")) and "TOKEN" not in name}
    assert told == {
        "APP_ID": "orders",
        "APP_PROTOCOL": "grpc",
        "APP_CHANNEL_ADDRESS": "127.0.0.1",
        "DAPR_RUNTIME_HOST": "127.0.0.1",
        "DAPR_HTTP_PORT": "11000",
        "DAPR_GRPC_PORT": "11001",
        "DAPR_HTTP_ENDPOINT": "http://127.0.0.1:11000",
        "DAPR_GRPC_ENDPOINT": "127.0.0.1:11001",
    }
    assert found["APP_API_TOKEN"] == "theirs"
    assert (found["PATH"], found["VIRTUAL_ENV"]) == ("/env/bin:/usr/bin", "/env")
    assert (found["K_REVISION"], found["FUNC_CONTEXT"], found["MINE"]) == ("f-00003", "{}", "yes")
    assert not [name for name in found if name.startswith("EVOKE_")]


def test_a_program_may_set_a_path_and_buffering_of_its_own():
    own = {"PATH": "/opt/bin", "PYTHONUNBUFFERED": ""}
    found = of_program(workload(host="command"), own, PLACE, ENVIRONMENT, "/usr/bin")

    assert (found["PATH"], found["PYTHONUNBUFFERED"]) == ("/env/bin:/opt/bin", "")


class Told:
    """What proxies were told last."""

    def __init__(self):
        self.listening = {}

    def listen(self, agent, apps):
        self.listening[agent] = [one.function for one in apps]


def test_each_app_is_served_at_its_home_and_nowhere_else(tmp_path):
    told = Told()
    listeners = Listeners(AppPorts(connect(tmp_path / "db")), told)

    listeners.settle({F: "proxy-0", G: "proxy-1", H: "proxy-1"}, {F, G})
    before, where = dict(told.listening), listeners.of(G)
    listeners.settle({F: "proxy-0", G: "proxy-0", H: "proxy-1"}, {F, G})
    after = dict(told.listening)
    listeners.settle({}, set())

    assert before == {"proxy-0": [F], "proxy-1": [G]}
    assert after == {"proxy-0": [F, G], "proxy-1": []}
    assert told.listening == after
    assert listeners.of(G) == where
    assert (listeners.socket(G), listeners.socket(H), listeners.socket(Key("default", "new"))) == (
        "dapr",
        "dapr-1",
        "dapr",
    )


def test_the_first_proxy_keeps_the_name_of_the_socket():
    assert (socket_of("proxy-0"), socket_of("proxy-12")) == ("dapr", "dapr-12")
