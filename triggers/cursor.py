"""The place in the tokens of a condition, and how far a condition may go."""

from __future__ import annotations

from collections.abc import Sequence

from triggers.tokens import Token, refuse

MAX_DEPTH = 64
MAX_OPERATORS = 400
"""Each may be one call deeper when an event is tested."""


class Cursor:
    """Tokens, one after the other."""

    def __init__(self, tokens: Sequence[Token]) -> None:
        self.tokens = tokens
        self.at = 0
        self.depth = 0
        self.operators = 0

    def peek(self, ahead: int = 0) -> Token:
        return self.tokens[min(self.at + ahead, len(self.tokens) - 1)]

    def sees(self, *signs: str) -> str:
        """The next of *signs*, which may be a word; empty: something else comes."""
        token = self.peek()
        return token.text if token.kind in {"sign", "name"} and token.text in signs else ""

    def next(self) -> Token:
        token = self.peek()
        self.at += 1
        return token

    def accept(self, sign: str) -> bool:
        if not self.sees(sign):
            return False
        self.at += 1
        return True

    def operator(self, *signs: str) -> str:
        """The next of *signs*, taken."""
        found = self.sees(*signs)
        if found:
            self.at += 1
            self.operators += 1
            if self.operators > MAX_OPERATORS:
                raise refuse(f"the condition has more than {MAX_OPERATORS} operators", "E126")
        return found

    def expect(self, sign: str) -> None:
        if not self.accept(sign):
            raise refuse(f"expected `{sign}` {self.place()}")

    def place(self) -> str:
        token = self.peek()
        return "at the end of the condition" if token.kind == "end" else f"before `{token.text[:40]}`"

    def end(self) -> None:
        if self.peek().kind != "end":
            raise refuse(f"expected an operator or the end {self.place()}")

    def deeper(self) -> None:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise refuse(f"the condition is nested deeper than {MAX_DEPTH}", "E126")
