"""Every command on one running platform: its output, its exit code, and that ``-o json`` is JSON."""

from __future__ import annotations

import json
import subprocess
import tarfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.project import CANARY, write
from tests.platform import EVOKE, Platform, until

pytestmark = pytest.mark.platform

Done = subprocess.CompletedProcess[str]


class Shell(Platform):
    """The second terminal."""

    def json(self, *words: str, code: int = 0) -> Any:
        done = self.ends(code, *words, "-o", "json")
        return json.loads(done.stdout)

    def ends(self, code: int, *words: str, text: str | None = None) -> Done:
        done = self.evoke(*words, text=text, check=False)
        assert done.returncode == code, f"evoke {' '.join(words)} -> {done.returncode}\n{done.stdout}{done.stderr}"
        return done

    def letters(self, count: int) -> list[dict[str, Any]]:
        """The dead letters of `alarm` once there are *count*."""

        def there() -> Any:
            found = self.json("dead-letters", "list", "alarm")["items"]
            return (True, found) if len(found) == count else None

        found: list[dict[str, Any]] = until(there, what=f"{count} dead letters")[1]
        return found

    def get_url(self, path: str = "/", data: bytes | None = None) -> tuple[int, str]:
        url = self.json("get", "function", "hello")["status"]["addresses"][0]["value"]
        try:
            with urllib.request.urlopen(url + path, data, timeout=20) as reply:
                return reply.status, reply.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    shell = Shell(tmp_path_factory.mktemp("cli") / "project")
    shell.project.mkdir()
    write(shell.project)
    shell.up()
    shell.ends(0, "secret", "set", "keys", "token", text=CANARY + "\n")
    shell.wait_ready("hello", "alarm")
    try:
        yield shell
    finally:
        shell.down()


def test_up_on_a_running_platform_says_so(platform: Shell) -> None:
    done = platform.ends(1, "up")

    assert done.stderr.startswith("error: E190 ")
    assert done.stderr.count("\n") == 1


def test_apply(platform: Shell) -> None:
    changed = platform.project / "more" / "more.yaml"
    changed.parent.mkdir(exist_ok=True)
    changed.write_text(
        "apiVersion: events.openfunction.io/v1alpha1\nkind: EventBus\nmetadata: {name: extra}\nspec: {}\n"
    )

    assert "eventbus/extra created (dry run)" in platform.ends(0, "apply", "-f", str(changed), "--dry-run").stdout
    assert platform.ends(1, "get", "eventbus", "extra").stderr.startswith("error: E194 ")
    done = platform.ends(0, "apply", "-f", str(changed.parent), "--wait", "--diff")
    assert (done.stdout, "+labels: {}" in done.stderr) == ("eventbus/extra created\n", True)
    assert platform.json("apply", "-f", str(changed.parent))["results"][0]["outcome"] == "unchanged"
    assert platform.ends(0, "apply", "-f", str(changed.parent), "--diff").stderr == ""
    assert platform.ends(2, "apply", "-f", str(changed), "--prune").stderr.startswith("error: E162 ")

    changed.write_text(changed.read_text().replace("extra", "other"))
    pruned = platform.ends(0, "apply", "-f", str(changed.parent), "--prune").stdout
    assert set(pruned.splitlines()) == {"eventbus/other created", "eventbus/extra pruned"}
    assert platform.ends(0, "apply", "-f", "-", text=changed.read_text()).returncode == 0
    assert platform.ends(0, "delete", "-f", str(changed), "--wait").stdout == "eventbus/other deleted\n"


def test_get(platform: Shell) -> None:
    table = platform.ends(0, "get").stdout

    assert {line.split()[0] for line in table.splitlines()[1:]} >= {
        "function/alarm", "function/hello", "eventbus/default", "eventsource/plant", "trigger/hot",
    }  # fmt: skip
    assert [one["metadata"]["name"] for one in platform.json("get", "functions", "-l", "team=red")["items"]] == [
        "hello"
    ]
    assert [one["metadata"]["name"] for one in platform.json("get", "fn", "-l", "team!=red")["items"]] == ["alarm"]
    assert "kind: Function" in platform.ends(0, "get", "function/hello", "-o", "yaml").stdout
    assert "team=blue" in platform.ends(0, "get", "fn", "--show-labels", "-A").stdout
    assert platform.ends(0, "get", "triggers", "-n", "other").stderr == "no triggers in namespace other\n"


def test_get_watches(platform: Shell) -> None:
    with subprocess.Popen(
        [*EVOKE, "get", "fn", "hello", "-w", "-o", "json"], cwd=platform.project, stdout=subprocess.PIPE, text=True
    ) as watch:
        assert watch.stdout is not None
        assert json.loads(watch.stdout.readline())["metadata"]["name"] == "hello"
        platform.ends(0, "scale", "hello", "--max", "7")
        assert json.loads(watch.stdout.readline())["metadata"]["name"] == "hello"
        watch.kill()


def test_describe_every_kind(platform: Shell) -> None:
    for name in ("function/hello", "function/alarm", "eventbus/default", "eventsource/plant", "trigger/hot"):
        text = platform.ends(0, "describe", name, "--events", "3").stdout
        assert text.startswith("Ready True"), text
        assert "CONDITION" in text
        assert platform.json("describe", name)["status"]["conditions"]


def test_a_function_answers_at_its_url(platform: Shell) -> None:
    assert platform.get_url("/x", b"Ada") == (200, f"hello Ada at /x, token {CANARY}")
    assert platform.get_url("/boom")[0] == 500


def test_invoke(platform: Shell) -> None:
    (platform.project / "name.txt").write_text("Ada")

    assert platform.ends(0, "invoke", "hello").stdout == f"hello nobody at /, token {CANARY}\n"
    raw = platform.ends(0, "invoke", "hello", "-d", "@name.txt", "--raw", "-q", "--path", "/p")
    assert (raw.stdout, raw.stderr) == (f"hello Ada at /p, token {CANARY}", "")
    logged = platform.ends(0, "invoke", "hello", "-d", "-", "--logs", text="Grace")
    assert logged.stdout.startswith("hello Grace ")
    assert "hello Grace" in logged.stderr
    reply = platform.json("invoke", "hello", "-d", "Ada")
    assert (reply["status"], reply["data"]) == (200, f"hello Ada at /, token {CANARY}")
    assert reply["headers"]["content-type"].startswith("text/")


def test_invoke_fails(platform: Shell) -> None:
    failed = platform.ends(1, "invoke", "hello", "--path", "/boom", "--logs")

    assert "RuntimeError: boom" in failed.stderr
    assert failed.stderr.splitlines()[-1] == "error: E195 function/hello answered 500; see `evoke logs hello`"
    assert platform.ends(0, "invoke", "hello", "--path", "/boom", "--raw").stderr.startswith("500 ")
    assert "did you mean 'hello'?" in platform.ends(1, "invoke", "helo").stderr
    assert platform.ends(1, "invoke", "hello", "-d", "@none").stderr.startswith("error: E160 none:")
    assert platform.ends(1, "invoke", "hello", "--revision", "00099").stderr.startswith("error: E194 ")
    assert platform.json("invoke", "nope", code=1)["status"] == 404


def test_invoke_later(platform: Shell) -> None:
    answer = platform.ends(0, "invoke", "hello", "-d", "later", "--async")
    assert answer.stderr.startswith("202 Accepted ")

    until(lambda: "hello later" in platform.ends(0, "logs", "hello").stdout, what="the queued call")


def test_publish_and_tail(platform: Shell) -> None:
    done = platform.ends(0, "publish", "alarms", "-d", '{"n": 1}', "--count", "3", "--rate", "50", "--key", "k")
    assert done.stdout == "published 3 (acknowledged)\n"
    assert platform.json("publish", "alarms", "-d", '{"n": 2}') == {"published": 1}
    through = platform.ends(0, "publish", "plant/x", "--source", "plant", "-d", '{"n": 9}')
    assert through.stdout == "published 1 (acknowledged)\n"

    seen = [
        json.loads(line) for line in platform.ends(0, "tail", "alarms", "--since", "5m", "-c", "4").stdout.splitlines()
    ]
    assert [(event["data"]["n"], event.get("partitionkey")) for event in seen] == [(1, "k")] * 3 + [(2, None)]
    two = platform.ends(0, "tail", "alarms", "--since", "5m", "-c", "1", "--filter", "event.data.n == 2", "-o", "json")
    assert json.loads(two.stdout)["data"] == {"n": 2}
    assert json.loads(platform.ends(0, "tail", "heard", "--since", "5m", "-c", "1").stdout)["data"] == {"heard": 1}
    assert platform.ends(1, "publish", "x", "--source", "plnt").stderr.endswith("did you mean 'plant'?\n")


def test_logs(platform: Shell) -> None:
    platform.ends(0, "publish", "alarms", "-d", '{"n": 41}')
    until(lambda: "alarm 41" in platform.ends(0, "logs", "alarm", "--tail", "5").stdout, what="the log line")
    last = json.loads(platform.ends(0, "logs", "alarm", "--tail", "1", "-o", "json").stdout)

    assert last["message"] == "alarm 41"
    assert platform.ends(0, "logs", "alarm", "--call", last["call"]).stdout.count("\n") == 1
    assert "alarm 41" in platform.ends(0, "logs", "alarm", "--since", "5m", "--revision", "00001").stdout
    assert platform.ends(0, "logs", "alarm", "--revision", "00099").stderr == "no such log lines of function/alarm\n"
    with subprocess.Popen(
        [*EVOKE, "logs", "alarm", "-f", "--tail", "1"], cwd=platform.project, stdout=subprocess.PIPE, text=True
    ) as follow:
        assert follow.stdout is not None
        assert follow.stdout.readline().endswith("alarm 41\n")
        platform.ends(0, "publish", "alarms", "-d", '{"n": 42}')
        assert follow.stdout.readline().endswith("alarm 42\n")
        follow.kill()


def test_scale(platform: Shell) -> None:
    assert platform.ends(0, "scale", "hello", "--min", "0", "--max", "4").stdout == "function/hello scales 0..4\n"
    assert platform.ends(0, "scale", "hello", "--pause", "2").stdout == "function/hello paused at 2\n"
    until(lambda: len(platform.replicas("hello")) == 2, what="two replicas")
    assert "paused" in platform.ends(0, "describe", "fn", "hello").stdout.splitlines()[0]
    platform.ends(0, "scale", "hello", "--pause", "0")
    until(lambda: not platform.replicas("hello"), what="no replica")
    assert "hello nobody" in platform.ends(0, "logs", "hello", "--previous").stdout
    assert platform.ends(0, "scale", "hello", "--resume", "--wake").stdout == "function/hello resumed, woken\n"
    until(lambda: platform.replicas("hello"), what="a woken replica")
    assert platform.json("scale", "hello", "--max", "10")["max"] == 10
    assert platform.ends(2, "scale", "hello", "--min", "5", "--max", "2").stderr.startswith("error: E113 ")


def test_dead_letters(platform: Shell) -> None:
    platform.ends(0, "publish", "alarms", "-d", '{"n": 0, "bad": true}', "-c", "3")
    first, *_ = platform.letters(3)

    assert (first["reason"], first["error"], first["event"]["data"]["bad"]) == ("rejected", "a bad alarm", True)
    shown = ("dead-letters", "show", "alarm", "--id", first["id"])
    assert json.loads(platform.ends(0, *shown, "-o", "json").stdout) == first
    assert "reason    rejected\nerror     a bad alarm\nattempts  1\n" in platform.ends(0, *shown).stdout
    assert platform.ends(0, *shown, "--bytes", "hex").stdout.splitlines()[-2].count(" ") > 16
    assert platform.ends(2, "dead-letters", "replay", "alarm", "--all").stderr.startswith("error: E165 ")
    assert platform.ends(0, "dead-letters", "replay", "alarm", "--id", first["id"]).stdout == "replayed 1\n"
    again = until(
        lambda: (found := platform.letters(3)) and first["id"] not in {one["id"] for one in found} and found,
        what="the replayed event back among the dead",
    )
    purged = platform.ends(0, "dead-letters", "purge", "alarm", "--id", again[0]["id"], "--yes")
    assert purged.stdout == "purged 1\n"
    assert platform.json("dead-letters", "purge", "alarm", "--all", "--yes") == {"purged": 2}
    assert platform.ends(0, "dead-letters", "list", "alarm").stderr == "no dead letters of alarm\n"
    assert platform.ends(1, "dead-letters", "list", "alrm").stderr.startswith("error: E194 ")


def test_rollback(platform: Shell) -> None:
    manifest = platform.project / "function.yaml"
    manifest.write_text(manifest.read_text().replace("GREETING: hello", "GREETING: moin"))
    platform.ends(0, "apply", "-f", ".", "--wait")
    until(lambda: platform.get_url()[1].startswith("moin"), what="the second revision")

    dry = platform.ends(0, "rollback", "hello", "--dry-run").stdout
    assert dry == "function/hello would go back from revision 00002 to the content of 00001\n"
    platform.ends(0, "rollback", "hello", "--wait")
    until(lambda: platform.get_url()[1].startswith("hello"), what="the first content")
    assert [one["name"] for one in platform.json("rollback", "hello", "--list")["revisions"]] == [
        "00001",
        "00002",
        "00003",
    ]
    assert platform.ends(1, "invoke", "hello", "--revision", "00002").stderr.startswith("error: E199 ")
    assert platform.ends(0, "invoke", "hello", "--revision", "00003").stdout.startswith("hello")
    assert platform.ends(1, "rollback", "hello", "00077").stderr.startswith("error: E194 ")


def test_secrets(platform: Shell) -> None:
    (platform.project / "ca.crt").write_text("certificate\n")

    assert (
        platform.ends(0, "secret", "set", "keys", "ca.crt", "--from-file", "ca.crt").stdout
        == "secret/keys ca.crt set\n"
    )
    assert platform.json("secret", "list")["items"] == [
        {"namespace": "default", "name": "keys", "keys": ["ca.crt", "token"]}
    ]
    assert platform.ends(0, "secret", "delete", "keys", "ca.crt").stdout == "secret/keys ca.crt deleted\n"
    assert platform.ends(1, "secret", "delete", "none").stderr.startswith("error: E194 ")
    assert platform.ends(2, "secret", "set", "keys", "empty", text="").stderr.startswith("error: E164 ")


def test_top(platform: Shell) -> None:
    assert [row["function"] for row in platform.json("top")["items"]] == ["alarm", "hello"]
    assert platform.ends(0, "top", "-A").stdout.startswith("NAMESPACE  FUNCTION  REPLICAS")


def test_doctor_bundles_no_secret(platform: Shell, tmp_path: Path) -> None:
    platform.ends(0, "invoke", "hello", "-d", f"told by {CANARY}")  # a function that logs its own secret
    with (platform.state / "logs" / "controller.log").open("a") as log:
        log.write(f"a line with {CANARY}\n")
    bundle = tmp_path / "bundle.tar.gz"

    assert all(check["ok"] for check in platform.json("doctor")["checks"])
    platform.ends(0, "doctor", "--bundle", str(bundle))
    known = json.loads((platform.state / "platform.json").read_text())
    with tarfile.open(bundle) as tar:
        tar.extractall(tmp_path, filter="data")
    contents = {
        f"{path.relative_to(tmp_path)}": path.read_text()
        for path in tmp_path.rglob("*")
        if path.suffix in {".json", ".log"}
    }
    assert {"evoke/doctor.json", "evoke/platform.json", "evoke/logs/controller.log"} <= contents.keys()
    for hidden in (CANARY, known["key"], known["nats_password"]):
        assert [name for name, text in contents.items() if hidden in text] == []


def test_use_version_completion(platform: Shell) -> None:
    assert platform.json("use")["target"] == "local"
    assert platform.ends(0, "use", "local").stdout == "commands here act on local\n"
    assert platform.ends(0, "version").stdout.startswith("evoke ")
    for shell in ("bash", "zsh", "fish"):
        assert "evoke __complete" in platform.ends(0, "completion", shell).stdout
    assert platform.ends(0, "__complete", "describe", "function", "").stdout.split() == ["alarm", "hello"]


def test_run_one_event(platform: Shell) -> None:
    (platform.project / "event.json").write_text('{"n": 5}')

    done = platform.ends(0, "run", "main.py:alarm", "--event", "event.json")
    assert "200 OK" in done.stderr
    assert (
        platform.ends(1, "run", "main.py:nobody", "--event", "event.json")
        .stderr.rstrip()
        .splitlines()[-1]
        .startswith("error: E180 ")
    )


def test_delete(platform: Shell) -> None:
    assert platform.ends(0, "delete", "trigger", "hot", "--wait").stdout == "trigger/hot deleted\n"
    assert platform.ends(1, "delete", "trigger", "hot").stderr.startswith("error: E194 ")
    assert platform.ends(0, "delete", "trigger", "hot", "--ignore-not-found").stdout == ""
    assert platform.ends(2, "delete", "fn", "-l", "team=blue").stderr.startswith("error: E165 ")
    assert platform.json("delete", "fn", "-l", "team=blue", "--yes") == {"deleted": ["function/alarm"]}
    platform.ends(0, "delete", "-f", ".", "--ignore-not-found")
    left = {line.split()[0] for line in platform.ends(0, "get").stdout.splitlines()[1:]}
    assert left == {"eventbus/default"}


def test_down_is_last(platform: Shell) -> None:
    assert platform.ends(0, "down").stdout == "stopped; data stays\n"
    assert platform.ends(1, "get").stderr.startswith("error: E191 ")
    assert platform.ends(1, "down").stderr.startswith("error: E191 ")
    assert platform.json("get", code=1)["error"]["code"] == "E191"
