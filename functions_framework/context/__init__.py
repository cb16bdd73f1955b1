"""What a handler may ask and do beside its event.

A handler of any kind that takes a second parameter named ``context`` receives it; code further down calls
``functions_framework.context.current()``. In ``async def`` handlers it is an AsyncContext, whose ``send`` and
``publish`` are awaited; in plain ones a Context, whose ``send`` and ``publish`` return when the bus has acknowledged.
"""

from functions_framework.context.calls import AsyncContext, CallContext, Context, current

__all__ = ["AsyncContext", "CallContext", "Context", "current"]
