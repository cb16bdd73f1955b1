"""Bad input: one row per case, with the codes, paths and lines that a person sees."""

from __future__ import annotations

import io
import os
import resource
import time
from pathlib import Path
from typing import Any

import pytest

from api import documents
from api.codes import CODES
from api.consistency.loops import Member
from api.errors import InvalidInput, Problem
from tests.api.bad_input import COSTLY, FIELDS, FUNCTION, SOURCE, TRIGGER, YAML, serving


def read(text: str | bytes) -> tuple[documents.Document, ...]:
    content = text if isinstance(text, bytes) else text.encode()
    return documents.read(["-"], stdin=io.BytesIO(content))


def problems(text: str | bytes) -> tuple[Problem, ...]:
    with pytest.raises(InvalidInput) as caught:
        read(text)
    return caught.value.problems


@pytest.mark.parametrize(("text", "code", "line"), YAML.values(), ids=YAML)
def test_refuses_yaml_that_is_not_strict(text: str | bytes, code: str, line: int) -> None:
    found = problems(text)

    assert (code, line) in {(problem.code, problem.line) for problem in found}


@pytest.mark.parametrize(("text", "code", "path", "line"), FIELDS.values(), ids=FIELDS)
def test_names_the_field_and_its_line(text: str, code: str, path: str, line: int) -> None:
    found = problems(text)

    assert [(code, path, line)] == [(problem.code, problem.path, problem.line) for problem in found]


TOPICS = ["a b", "evoke.dead.a", ">", "a.>", "$SYS", "a#b", "", ".a", "a..b", "x" * 70_000, "a\x00b", "a+b"]


@pytest.mark.parametrize("topic", TOPICS, ids=lambda topic: topic[:10])
def test_refuses_topics_of_a_bus(topic: str) -> None:
    shown = topic.replace("\x00", "\\0")
    found = problems(FUNCTION.replace("http: {}", f'dapr: [{{name: default, topic: "{shown}"}}]'))

    assert [problem.code for problem in found] == ["E122"]


@pytest.mark.parametrize(
    "topic", ["$SYS/#", "a/#/b", "a#", "a+/b", "", "$share/g/t", "a b", "#/", "x" * 70_000], ids=lambda t: t[:10]
)
def test_refuses_topic_filters_of_mqtt(topic: str) -> None:
    assert [problem.code for problem in problems(SOURCE.replace("plant/#", f'"{topic}"'))] == ["E122"]


@pytest.mark.parametrize("topic", ["#", "+", "a/+/b", "a/#", "/", "fleet/+/telemetry"])
def test_takes_topic_filters_of_mqtt(topic: str) -> None:
    assert read(SOURCE.replace("plant/#", f'"{topic}"'))


POD = {
    "hostPID": "hostPID: true",
    "hostNetwork": "hostNetwork: true",
    "serviceAccountName": "serviceAccountName: admin",
    "volumes[0].hostPath": "volumes: [{name: a, hostPath: {path: /}}]",
    "containers[0].securityContext.privileged": "containers: [{name: function, securityContext: {privileged: true}}]",
    "containers[0].securityContext.capabilities.add": (
        "containers: [{name: function, securityContext: {capabilities: {add: [SYS_TIME]}}}]"
    ),
}


@pytest.mark.parametrize(("path", "text"), POD.items(), ids=POD)
def test_refuses_pod_fields_that_leave_the_container(path: str, text: str) -> None:
    found = problems(serving(f"template: {{{text}}}"))

    assert [("E121", f"spec.serving.template.{path}")] == [(problem.code, problem.path) for problem in found]


def test_tells_every_problem_of_every_document_at_once(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(
        serving('concurrency: "3"\ntimeout: 5') + "---\n" + SOURCE.replace("plant/#", "a/#/b")
    )
    (tmp_path / "b.yml").write_text("a: [")

    with pytest.raises(InvalidInput) as caught:
        documents.read([tmp_path, tmp_path / "missing.yaml"])

    assert [problem.code for problem in caught.value.problems] == ["E111", "E114", "E122", "E100", "E108"]


def test_suggests_what_was_meant() -> None:
    (found,) = problems(serving("trigers: {}"))

    assert str(found) == "stdin:9: E110 spec.serving.trigers: unknown field `trigers`, did you mean `triggers`?"


def test_suggests_the_place_where_a_field_belongs() -> None:
    (found,) = problems(FUNCTION.replace("spec:", "spec:\n  handler: main"))

    assert "did you mean `serving.handler`?" in found.message


def test_suggests_the_kind() -> None:
    (found,) = problems(FUNCTION.replace("kind: Function", "kind: Functoin"))

    assert "did you mean `Function`?" in found.message


@pytest.mark.parametrize("loop", ["direct", "two", "trigger"])
def test_refuses_events_that_go_round(loop: str) -> None:
    def function(name: str, topic: str, output: str) -> str:
        return FUNCTION.replace("hello", name).replace(
            "http: {}",
            f"dapr: [{{name: default, topic: {topic}}}]\n    outputs: [{{dapr: {{name: default, topic: {output}}}}}]",
        )

    texts = {
        "direct": function("a", "t", "t"),
        "two": function("a", "t", "u") + "---\n" + function("b", "u", "t"),
        "trigger": TRIGGER + "---\n" + function("hello", "z", "default.plant.readings"),
    }

    assert [problem.code for problem in problems(texts[loop])] == ["E124"]


def test_a_loop_that_is_meant_is_taken() -> None:
    triggers = "dapr: [{name: default, topic: t}]\n    outputs: [{dapr: {name: default, topic: t}}]"
    circle = FUNCTION.replace("http: {}", triggers)
    meant = circle.replace("name: hello", 'name: hello\n  annotations: {evoke.dev/allow-loop: "true"}')

    assert [document.key.name for document in read(meant)] == ["hello"]
    (found,) = problems(meant.replace('"true"', '"no"'))
    assert (found.code, "evoke.dev/allow-loop" in found.message) == ("E124", True)


def test_a_chain_is_no_loop() -> None:
    chain = [
        FUNCTION.replace("hello", f"f{n}").replace(
            "http: {}",
            f"dapr: [{{name: default, topic: t{n}}}]\n    outputs: [{{dapr: {{name: default, topic: t{n + 1}}}}}]",
        )
        for n in range(200)
    ]

    assert len(read("---\n".join(chain))) == 200


def test_fills_the_namespace_and_drops_what_servers_write() -> None:
    text = FUNCTION.replace("  name", "  creationTimestamp: null\n  uid: x\n  name") + "status: {state: Running}\n"
    (document,) = documents.read(["-"], stdin=io.BytesIO(text.encode()), namespace="team")

    assert document.resource["metadata"] == {
        "name": "hello", "namespace": "team", "annotations": {documents.FOLDER: os.getcwd()},  # noqa: PTH109
    }  # fmt: skip
    assert "status" not in document.resource


def test_reads_merge_keys_and_anchors() -> None:
    text = serving("params: &p {A: a, B: b}\nlabels: {<<: *p, B: c}")

    assert read(text)[0].spec.serving.labels == {"A": "a", "B": "c"}


def test_reads_a_byte_order_mark_of_utf_8_and_json() -> None:
    assert read(b"\xef\xbb\xbf" + FUNCTION.encode())
    assert read('{"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "stringData": {"k": "v"}}')


def test_a_folder_gives_its_own_files_only(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "x.yaml").write_text("a: [")
    (tmp_path / ".hidden.yaml").write_text("a: [")
    (tmp_path / "f.yaml").write_text(FUNCTION)
    (tmp_path / "notes.txt").write_text("a: [")

    (document,) = documents.read([tmp_path])

    assert document.resource["metadata"]["annotations"] == {documents.FOLDER: str(tmp_path)}


def test_what_read_answers_is_read_back_from_the_api() -> None:
    (document,) = read(serving("params: {A: b}"))
    sent: dict[str, Any] = {"resource": document.resource, "file": "/p/f.yaml", "line": 1}

    (again,) = documents.decode_all([sent])

    assert again.spec == document.spec
    assert again.resource == document.resource
    assert documents.decode_spec(document.info.api_version, document.info.kind, document.body) == document.spec


def test_depth_over_the_api_is_bounded() -> None:
    deep: Any = {}
    for _ in range(100_000):
        deep = {"a": deep}

    with pytest.raises(InvalidInput, match="E107"):
        documents.decode({"apiVersion": "core.openfunction.io/v1beta2", "kind": "Function", "spec": deep})


@pytest.mark.parametrize("text", COSTLY.values(), ids=COSTLY)
def test_time_and_memory_are_bounded(text: str) -> None:
    before, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    try:
        found: tuple[Problem, ...] = ()
        read(text)
    except InvalidInput as error:
        found = error.problems

    assert time.process_time() - started < 2
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50 << 10
    assert len(found) <= 101


def test_every_code_is_registered() -> None:
    rows = {code for _, code, _ in YAML.values()} | {code for _, code, _, _ in FIELDS.values()}

    assert rows <= CODES.keys()


def test_a_loop_with_what_is_there_already_is_found() -> None:
    def function(name: str, topic: str, output: str) -> documents.Document:
        triggers = f"dapr: [{{name: default, topic: {topic}}}]"
        outputs = f"\n    outputs: [{{dapr: {{name: default, topic: {output}}}}}]"
        return read(FUNCTION.replace("hello", name).replace("http: {}", triggers + outputs))[0]

    there = function("a", "t", "u")
    member = Member(there.key.namespace, there.key.name, there.spec)
    (found,) = documents.loops_with([function("b", "u", "t")], [member])

    assert (found.code, found.path) == ("E124", "spec.serving.outputs[0].dapr.topic")
    assert documents.loops_with([function("b", "u", "v")], [member]) == ()


@pytest.mark.parametrize("words", ["command: [node, app.js]", "args: [serve]"])
def test_a_program_says_itself_what_it_subscribes_to(words: str) -> None:
    head = "\n".join(FUNCTION.splitlines()[:5]) + "\n  serving: {template: {containers: [{name: %s, %s}]}}\n"

    assert read(head % ("function", words))
    assert [problem.code for problem in problems(head % ("helper", words))][:1] == ["E116"]
