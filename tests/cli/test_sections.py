"""What `evoke describe` says of an app in any language."""

from datetime import UTC, datetime

from cli import sections

NOW = datetime(2026, 1, 1, tzinfo=UTC)
RESOURCE = {"metadata": {"name": "orders", "generation": 1, "creationTimestamp": NOW.isoformat()}}


def test_an_app_is_told_with_the_addresses_of_its_api():
    app = {"id": "orders", "protocol": "grpc", "http": "127.0.0.1:11000", "grpc": "127.0.0.1:11001"}

    assert sections.about(RESOURCE, {"app": app}, NOW)[0] == (
        "app        orders over grpc; its Dapr API: http 127.0.0.1:11000, gRPC 127.0.0.1:11001"
    )
    assert not [line for line in sections.about(RESOURCE, {"app": None}, NOW) if line.startswith("app")]


def test_an_app_whose_words_make_no_sense_leads_to_its_log():
    facts = {"conditions": [{"type": "Ready", "status": "False", "reason": "DeclarationInvalid"}]}

    assert sections.next_step(RESOURCE, facts) == ["next       evoke logs orders --previous"]
