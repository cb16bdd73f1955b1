"""`evoke convert`: v1beta2 on stdout, what has no place on stderr."""

from __future__ import annotations

import json
from pathlib import Path

from tests.api.test_older import ASYNC, HTTP
from tests.cli import fake
from tests.cli.conftest import Evoke


def test_what_it_writes_can_be_applied(evoke: Evoke, platform: fake.Platform, project: Path) -> None:
    (project / "old.yaml").write_text(HTTP + "---\n" + ASYNC)
    said = evoke("convert", "-f", "old.yaml")
    (project / "new.yaml").write_text(said.out)
    platform.on("POST", "/v1/apply", {"results": []})

    assert said.code == 0
    assert "warning: old.yaml:24: E110 spec.port: " in said.err
    assert said.err.endswith("converted 2 functions\n")
    assert evoke("apply", "-f", "new.yaml").err == ""
    assert [
        one["metadata"]["name"] for one in json.loads(evoke("convert", "-f", "new.yaml", "-o", "json").out)["items"]
    ] == [
        "hello",
        "autoscaling",
    ]


def test_it_fails_only_where_nothing_could_be_converted(evoke: Evoke, project: Path) -> None:
    bad = HTTP.replace("knative,", "lambda,")
    (project / "bad.yaml").write_text(bad)
    (project / "both.yaml").write_text(bad + "---\n" + HTTP)

    none, some = evoke("convert", "-f", "bad.yaml"), evoke("convert", "-f", "both.yaml")
    assert (none.code, none.out) == (1, "")
    assert "error: bad.yaml:8: E111 spec.serving.runtime: " in none.err
    assert (some.code, some.out.count("kind: Function")) == (0, 1)


def test_apply_reads_it_with_a_warning(evoke: Evoke, platform: fake.Platform, project: Path) -> None:
    (project / "old.yaml").write_text(HTTP)
    platform.on("POST", "/v1/apply", {"results": []})

    said = evoke("apply", "-f", "old.yaml")
    assert (said.code, said.err) == (
        0,
        "warning: old.yaml:1: E115 apiVersion: read as core.openfunction.io/v1beta2; `evoke convert` writes it so\n",
    )
    sent = platform.bodies("POST")[0]["documents"][0]["resource"]
    assert sent["apiVersion"] == "core.openfunction.io/v1beta2"
