"""A scalingModifiers formula: numbers and booleans over the triggers' values, as KEDA evaluates them.

The language is expr-lang's, as far as it speaks of numbers: its operators with its precedence, the conditional, ``??``,
arrays, and functions over arrays with a closure (``count([a, b], {# > 1})``). Texts, maps, dates and variables of one's
own are refused. A formula is compiled once, into closures.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Collection, Mapping, Sequence
from statistics import fmean, median
from typing import Any, Final, TypeAlias

from triggers.keda.formula_tokens import BadFormula, Token, tokens

DEEPEST = 40
Values: TypeAlias = Mapping[str, float | None]
Scope: TypeAlias = tuple[Values, Any]
"""Values by trigger name, and what ``#`` is."""
Node: TypeAlias = Callable[[Scope], Any]
Formula: TypeAlias = Callable[[Values], float | None]
"""Value of the formula; None where it comes to nil. Raises BadFormula where it comes to no number."""


def _divided(dividend: float, divisor: float) -> float:
    """As floating point does it: the value is made harmless where it is used."""
    if divisor:
        return dividend / divisor
    return math.nan if not dividend else math.copysign(math.inf, dividend)


def _range(first: float, last: float) -> list[float]:
    if last - first > 1000:
        raise ValueError("a range has at most 1000 items")
    return [float(one) for one in range(int(first), int(last) + 1)]


_UNARY: Final = {"-": 90, "+": 90, "!": 50, "not": 50}
_BINARY: Final = {
    "or": 10, "||": 10, "and": 15, "&&": 15, "==": 20, "!=": 20, "<": 20, ">": 20, "<=": 20, ">=": 20, "in": 20,
    "..": 25, "+": 30, "-": 30, "*": 60, "/": 60, "%": 60, "**": 100, "^": 100, "??": 500,
}  # fmt: skip
_ARITHMETIC: Final[Mapping[str, Callable[[Any, Any], Any]]] = {
    "+": operator.add, "-": operator.sub, "*": operator.mul, "/": _divided, "%": math.fmod, "**": operator.pow,
    "^": operator.pow, "<": operator.lt, ">": operator.gt, "<=": operator.le, ">=": operator.ge, "==": operator.eq,
    "!=": operator.ne, "in": lambda item, items: item in items, "..": _range,
}  # fmt: skip
_PLAIN: Final[Mapping[str, Callable[[Sequence[Any]], Any]]] = {
    "max": max, "min": min, "sum": sum, "mean": fmean, "avg": fmean, "median": median,
}  # fmt: skip
_SINGLE: Final[Mapping[str, Callable[[Any], Any]]] = {
    "abs": abs, "ceil": math.ceil, "floor": math.floor, "round": lambda x: math.floor(x + 0.5) if x >= 0
    else math.ceil(x - 0.5), "int": int, "float": float, "len": len,
}  # fmt: skip
_CLOSURES: Final[Mapping[str, Callable[[Sequence[Any], Callable[[Any], Any]], Any]]] = {
    "all": lambda items, test: all(map(test, items)),
    "any": lambda items, test: any(map(test, items)),
    "none": lambda items, test: not any(map(test, items)),
    "one": lambda items, test: sum(map(bool, map(test, items))) == 1,
    "count": lambda items, test: sum(map(bool, map(test, items))),
    "filter": lambda items, test: [item for item in items if test(item)],
    "map": lambda items, test: [test(item) for item in items],
    "sum": lambda items, test: sum(map(test, items)),
}


def compile_formula(text: str, names: Collection[str]) -> Formula:
    """The formula over triggers of these *names*; raises BadFormula."""
    node = _Parser(tokens(text), names).whole()

    def formula(values: Values) -> float | None:
        try:
            found = node((values, None))
            if isinstance(found, bool):
                return float(found)
            return None if found is None else float(found)
        except (TypeError, ValueError, ZeroDivisionError, OverflowError) as error:
            raise BadFormula(f"the formula comes to no number: {error}") from error

    return formula


class _Parser:
    def __init__(self, read: Sequence[Token], names: Collection[str]) -> None:
        self._tokens, self._names = read, names
        self._at = 0
        self._depth = 0
        self._inside = 0
        """Closures around this place."""

    def whole(self) -> Node:
        node = self._expression()
        if self._now.kind != "end":
            raise _unexpected(self._now)
        return node

    @property
    def _now(self) -> Token:
        return self._tokens[self._at]

    def _next(self) -> Token:
        token = self._now
        self._at += token.kind != "end"
        return token

    def _accept(self, text: str) -> bool:
        if self._now.kind != "end" and self._now.text == text:
            self._at += 1
            return True
        return False

    def _expect(self, text: str) -> None:
        if not self._accept(text):
            raise BadFormula(f"expected `{text}` at character {self._now.at + 1}")

    def _expression(self) -> Node:
        """With the conditional, which binds least."""
        self._depth += 1
        if self._depth > DEEPEST:
            raise BadFormula(f"a formula is at most {DEEPEST} levels deep")
        test = self._operators(0)
        if self._accept("?"):
            if self._accept(":"):
                raise _unexpected(self._now)
            yes = self._expression()
            self._expect(":")
            no, condition = self._expression(), test
            test = lambda scope: yes(scope) if condition(scope) else no(scope)  # noqa: E731 - one node
        self._depth -= 1
        return test

    def _operators(self, least: int) -> Node:
        left = self._operand()
        while (strength := _BINARY.get(self._now.text, -1)) >= least and self._now.kind != "end":
            sign = self._next().text
            tighter = strength if sign in {"**", "^"} else strength + 1
            left = _joined(sign, left, self._operators(tighter))
        return left

    def _operand(self) -> Node:
        token = self._now
        if token.text in _UNARY:
            self._next()
            return _signed(token.text, self._operators(_UNARY[token.text]))
        if self._accept("("):
            node = self._expression()
            self._expect(")")
            return node
        if self._accept("["):
            return self._array()
        return self._atom(self._next())

    def _atom(self, token: Token) -> Node:
        if token.kind == "number":
            value = float(token.text.replace("_", ""))
            return lambda _scope: value
        if token.text == "#" and self._inside:
            return lambda scope: scope[1]
        if token.kind == "name":
            return self._name(token.text, token)
        raise _unexpected(token)

    def _array(self) -> Node:
        items = []
        while not self._accept("]"):
            items.append(self._expression())
            if not self._accept(","):
                self._expect("]")
                break
        return lambda scope: [item(scope) for item in items]

    def _name(self, name: str, token: Token) -> Node:
        if name in {"true", "false", "nil"}:
            constant = {"true": True, "false": False, "nil": None}[name]
            return lambda _scope: constant
        if self._accept("("):
            return self._call(name, token)
        if name not in self._names:
            known = ", ".join(sorted(self._names)) or "none"
            raise BadFormula(f"`{name}` at character {token.at + 1} is no trigger; there are {known}")
        return lambda scope: scope[0][name]

    def _call(self, name: str, token: Token) -> Node:
        arguments: list[Node] = []
        closure: Node | None = None
        while not self._accept(")"):
            if self._accept("{"):
                self._inside += 1
                closure = self._expression()
                self._inside -= 1
                self._expect("}")
            else:
                arguments.append(self._expression())
            if not self._accept(","):
                self._expect(")")
                break
        made = _called(name, arguments, closure)
        if made is None:
            raise BadFormula(f"`{name}` at character {token.at + 1} is no function of numbers, or not called so")
        return made


def _unexpected(token: Token) -> BadFormula:
    if token.kind == "end":
        return BadFormula("the formula ends too early")
    return BadFormula(f"`{token.text}` at character {token.at + 1} is not expected there")


def _signed(sign: str, node: Node) -> Node:
    if sign in {"!", "not"}:
        return lambda scope: not node(scope)
    return (lambda scope: -node(scope)) if sign == "-" else node


def _joined(sign: str, left: Node, right: Node) -> Node:
    match sign:
        case "or" | "||":
            return lambda scope: bool(left(scope)) or bool(right(scope))
        case "and" | "&&":
            return lambda scope: bool(left(scope)) and bool(right(scope))
        case "??":
            return lambda scope: right(scope) if (found := left(scope)) is None else found
    work = _ARITHMETIC[sign]
    return lambda scope: work(left(scope), right(scope))


def _called(name: str, arguments: Sequence[Node], closure: Node | None) -> Node | None:
    if closure is not None:
        work = _CLOSURES.get(name)
        if work is None or len(arguments) != 1:
            return None
        test, items = closure, arguments[0]
        return lambda scope: work(items(scope), lambda item: test((scope[0], item)))
    if name in _PLAIN and arguments:
        plain = _PLAIN[name]
        return lambda scope: plain(_flat([argument(scope) for argument in arguments]))
    if name in _SINGLE and len(arguments) == 1:
        single, argument = _SINGLE[name], arguments[0]
        return lambda scope: single(argument(scope))
    return None


def _flat(items: Sequence[Any]) -> list[Any]:
    """Numbers, and those in arrays."""
    return [one for item in items for one in (item if isinstance(item, list) else [item])]
