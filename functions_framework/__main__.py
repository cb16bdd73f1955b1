"""``python -m functions_framework``: the functions-framework command."""

from functions_framework.command import main

main(prog_name="functions-framework")
