"""The smallest HTTP function."""

from datetime import UTC, datetime

import functions_framework as ff


@ff.http
def hello(request):
    if request.path == "/time":
        return f"{datetime.now(UTC):%H} o'clock\n"
    return f"hello, {request.args.get('name', 'world')}\n"
