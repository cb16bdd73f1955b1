"""The options that every command has, and the session that a command body receives in their place."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, Concatenate, ParamSpec

import typer

from cli import target
from cli.output import Format, Output

if TYPE_CHECKING:
    from cli.client import Client

P = ParamSpec("P")

Namespace = Annotated[str, typer.Option("-n", "--namespace", metavar="NAME", help="Namespace to act in.")]
On = Annotated[str | None, typer.Option("--on", metavar="TARGET", help="Where to act: local or kube:CONTEXT.")]
Form = Annotated[Format, typer.Option("-o", "--output", metavar="table|json|yaml", help="Form of the output.")]
Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="Print the data only.")]
NoColor = Annotated[bool, typer.Option("--no-color", help="No colours, as with NO_COLOR=1.")]

COMMON = (
    inspect.Parameter("namespace", inspect.Parameter.KEYWORD_ONLY, default="default", annotation=Namespace),
    inspect.Parameter("on", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=On),
    inspect.Parameter("output", inspect.Parameter.KEYWORD_ONLY, default=Format.table, annotation=Form),
    inspect.Parameter("quiet", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=Quiet),
    inspect.Parameter("no_color", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=NoColor),
)


class Session:
    """What a command body works with: its namespace, its output, and the platform it acts on."""

    def __init__(self, *, namespace: str, on: str | None, output: Output) -> None:
        self.namespace, self.on, self.out = namespace, on, output

    @functools.cached_property
    def target(self) -> target.Target:
        return target.resolve(self.on)

    @functools.cached_property
    def client(self) -> Client:
        from cli.client import connect

        return connect(self.target, self.namespace)


def command_line(
    app: typer.Typer, name: str | None = None, *, example: str
) -> Callable[[Callable[Concatenate[Session, P], None]], Callable[Concatenate[Session, P], None]]:
    """Register a command body with *app*: its own options, the common ones behind them, its docstring as help."""

    def register(body: Callable[Concatenate[Session, P], None]) -> Callable[Concatenate[Session, P], None]:
        signature = inspect.signature(body, eval_str=True)
        own = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in signature.parameters.values()][
            1:
        ]

        def run(**values: Any) -> None:
            common = {parameter.name: values.pop(parameter.name) for parameter in COMMON}
            output = Output(form=common["output"], quiet=common["quiet"], color=not common["no_color"])
            call: Callable[..., None] = body
            call(Session(namespace=common["namespace"], on=common["on"], output=output), **values)

        parameters = [*own, *COMMON]
        run.__signature__ = signature.replace(parameters=parameters, return_annotation=None)  # type: ignore[attr-defined]  # typer reads it
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        run.__doc__, run.__name__ = body.__doc__, body.__name__
        examples = example.strip().splitlines()
        epilog = "\n\n".join(f"example: {line.strip()}" for line in examples)
        app.command(name, epilog=epilog, options_metavar="[OPTIONS]")(run)
        return body

    return register


def new_app(*, group: str = "") -> typer.Typer:
    """A typer app as all our commands use it; *group* is its help when it has subcommands."""
    app = typer.Typer(
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
        help=group or None,
        subcommand_metavar="COMMAND" if group else None,
    )
    if group:
        app.callback()(_group)
    return app


def _group() -> None:
    """Only there to make a typer app with one command a group."""
