"""`$filter`: a parser for the OData that mail speaks, with what Exchange refuses (contract section 4).

`compile_filter` gives a predicate on items plus what the order rule needs to know: the properties in order
and the window of receivedDateTime that lets a listing skip most of a folder.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any, Final

from gateway.emulator import props, times
from gateway.emulator.errors import bad_request, too_complex, unsupported_filter
from gateway.emulator.filter_terms import Column, Date, Filter, Table, Test, syntax, tokens

_COMPARE: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "eq": operator.eq,
    "ne": operator.ne,
    "gt": operator.gt,
    "ge": operator.ge,
    "lt": operator.lt,
    "le": operator.le,
}
_FUNCTIONS: Final[dict[str, Callable[[str, str], bool]]] = {
    "contains": lambda a, b: b in a,
    "startswith": lambda a, b: a.startswith(b),
    "endswith": lambda a, b: a.endswith(b),
}


class _Parser:
    def __init__(self, text: str, table: Table, max_nodes: int, absent_is_null: bool) -> None:
        self.tokens = tokens(text)
        self.at = 0
        self.table = table
        self.max_nodes = max_nodes
        self.absent_is_null = absent_is_null
        self.out = Filter(lambda _: True, [])
        self.depth = 0

    # -- tokens ------------------------------------------------------------------------------

    def peek(self) -> tuple[str, str]:
        return self.tokens[self.at] if self.at < len(self.tokens) else ("end", "")

    def take(self) -> tuple[str, str]:
        token = self.peek()
        self.at += 1
        return token

    def word(self, *names: str) -> bool:
        kind, text = self.peek()
        if kind in ("name", "mark") and text.lower() in names:
            self.at += 1
            return True
        return False

    def need(self, mark: str) -> None:
        if not self.word(mark):
            raise syntax()

    # -- grammar -----------------------------------------------------------------------------

    def parse(self) -> Filter:
        self.out.test = self.either(top=True)
        if self.peek()[0] != "end":
            raise syntax()
        return self.out

    def either(self, *, top: bool) -> Test:
        start = self.bounds()
        tests = [self.both(top=top)]
        while self.word("or"):
            self.bounds(start)
            tests.append(self.both(top=False))
        if len(tests) == 1:
            return tests[0]
        self.bounds((None, None, None))
        return lambda item: any(test(item) for test in tests)

    def both(self, *, top: bool) -> Test:
        tests = [self.unary(top=top)]
        while self.word("and"):
            tests.append(self.unary(top=top))
        if len(tests) == 1:
            return tests[0]
        return lambda item: all(test(item) for test in tests)

    def bounds(self, reset: tuple[float | None, float | None, str | None] | None = None) -> Any:
        """The narrowing found so far; with `reset`, an OR makes it void."""
        if reset is not None:
            self.out.low, self.out.high, self.out.message_id = reset
        return self.out.low, self.out.high, self.out.message_id

    def unary(self, *, top: bool) -> Test:
        self.depth += 1
        if self.depth > 200:
            raise too_complex()
        try:
            if self.word("not"):
                test = self.unary(top=False)
                return lambda item: not test(item)
            if self.word("("):
                inner = self.either(top=top)
                self.need(")")
                return inner
            return self.comparison(top=top)
        finally:
            self.depth -= 1

    def comparison(self, *, top: bool) -> Test:
        self.out.nodes += 1
        if self.out.nodes > self.max_nodes:
            raise too_complex()
        kind, text = self.take()
        if kind != "name":
            raise syntax()
        name = text.lower()
        if name in _FUNCTIONS:
            return self.function(name)
        if name.endswith(("/any", "/all")):
            return self.collection(name)
        column = self.column(name)
        op, value = self.operator(), self.literal()
        if column.kind == "time":
            return self.time_test(name, column, op, value, top=top)
        if name == "internetmessageid" and op == "eq" and top and isinstance(value, str):
            self.out.message_id = value
        return _test(column, op, value)

    def operator(self) -> str:
        kind, text = self.take()
        if kind != "name" or text.lower() not in _COMPARE:
            raise syntax()
        return text.lower()

    def literal(self) -> Any:
        kind, text = self.take()
        if kind == "string":
            return text[1:-1].replace("''", "'")
        if kind == "date":
            return Date(times.parse(text), text)
        if kind == "number":
            return float(text) if "." in text else int(text)
        if kind == "name" and text.lower() in ("true", "false", "null"):
            return {"true": True, "false": False, "null": None}[text.lower()]
        raise syntax()

    def column(self, name: str) -> Column:
        column = self.table.columns.get(name)
        if column is None:
            root = name.split("/")[0]
            if root in self.table.lambdas or name in _REFUSED:
                raise unsupported_filter("The query filter contains a property that is not supported.")
            raise bad_request(f"Could not find a property named '{name}'.")
        self.out.paths.append(name)
        return column

    def function(self, name: str) -> Test:
        self.need("(")
        kind, text = self.take()
        if kind != "name":
            raise syntax()
        column = self.column(text.lower())
        self.need(",")
        value = self.literal()
        self.need(")")
        if self.word("eq"):
            wanted = self.literal()
        else:
            wanted = True
        if name == "endswith" and not self.table.endswith:
            raise unsupported_filter("The function 'endswith' is not supported.")
        if not isinstance(value, str) or column.kind not in ("str", "enum", "id"):
            raise unsupported_filter(f"The function '{name}' takes strings.")
        call, small = _FUNCTIONS[name], value.lower()
        return lambda item: call((column.get(item) or "").lower(), small) is wanted

    def time_test(self, name: str, column: Column, op: str, value: Any, *, top: bool) -> Test:
        if not isinstance(value, Date) or value.at is None:
            raise bad_request("A time literal without quotes is expected.", "ErrorInvalidUrlQueryFilter")
        if top and name == "receiveddatetime":
            if op in ("ge", "gt", "eq"):
                self.out.low = max(value.at, self.out.low) if self.out.low is not None else value.at
            if op in ("le", "lt", "eq"):
                self.out.high = min(value.at, self.out.high) if self.out.high is not None else value.at
        compare, at = _COMPARE[op], value.at
        return lambda item: (found := column.get(item)) is not None and compare(found, at)

    # -- lambdas -----------------------------------------------------------------------------

    def collection(self, name: str) -> Test:
        root, _, quantifier = name.rpartition("/")
        if root not in self.table.lambdas and root != "singlevalueextendedproperties":
            raise bad_request(f"Could not find a property named '{root}'.")
        self.need("(")
        kind, variable = self.take()
        if kind != "name":
            raise syntax()
        self.need(":")
        self.out.paths.append(root)
        if root == "singlevalueextendedproperties" and self.table.extended is not None:
            test = self.extended(variable.lower())
        else:
            test = self.strings(root, variable.lower())
        self.need(")")
        if quantifier == "all":
            raise unsupported_filter("The 'all' operator is not supported.")
        return test

    def strings(self, root: str, variable: str) -> Test:
        get = self.table.lambdas.get(root)
        if get is None:
            raise unsupported_filter("The query filter contains a collection that is not supported.")
        kind, text = self.take()
        if kind == "name" and text.lower() in _FUNCTIONS:
            self.need("(")
            self.take()
            self.need(",")
            value, call = str(self.literal()).lower(), _FUNCTIONS[text.lower()]
            self.need(")")
            return lambda item: any(call(str(each).lower(), value) for each in get(item))
        if kind != "name" or text.lower().split("/")[0] != variable:
            raise syntax()
        op, value = self.operator(), self.literal()
        compare, small = _COMPARE[op], str(value).lower()
        return lambda item: any(compare(str(each).lower(), small) for each in get(item))

    def extended(self, variable: str) -> Test:
        """`ep: ep/id eq '…' and cast(ep/value, Edm.Int32) eq 2`, also contains/startswith and null."""
        wrapped = self.word("(")
        kind, text = self.take()
        if kind != "name" or text.lower() != f"{variable}/id" or self.operator() != "eq":
            raise syntax()
        name = self.literal()
        prop = props.parse(name) if isinstance(name, str) else None
        if prop is None:
            raise bad_request("The extended property id is invalid.", "ErrorInvalidProperty")
        if prop.key[0] == props.INTERNET_HEADERS:
            raise unsupported_filter("The property is not filterable.")
        if not self.word("and"):
            raise syntax()
        test = self.value_test(variable, prop)
        if wrapped:
            self.need(")")
        return test

    def value_test(self, variable: str, prop: props.Prop) -> Test:
        read = self.table.extended
        if read is None:
            raise syntax()
        negate = self.word("not")
        kind, text = self.take()
        name = text.lower()
        if kind == "name" and name in _FUNCTIONS:
            test = self.value_function(name, prop, read)
        else:
            if name == "cast":
                self.need("(")
                self.take()
                self.need(",")
                self.take()
                self.need(")")
            elif name != f"{variable}/value":
                raise syntax()
            op, value = self.operator(), self.literal()
            test = self.value_compare(prop, op, value, read)
        return (lambda item: not test(item)) if negate else test

    def value_function(
        self, name: str, prop: props.Prop, read: Callable[[Any, props.Prop], str | None]
    ) -> Test:
        self.need("(")
        self.take()
        self.need(",")
        value = str(self.literal()).lower()
        self.need(")")
        call = _FUNCTIONS[name]
        return lambda item: (found := read(item, prop)) is not None and call(found.lower(), value)

    def value_compare(
        self, prop: props.Prop, op: str, value: Any, read: Callable[[Any, props.Prop], str | None]
    ) -> Test:
        compare = _COMPARE[op]
        if value is None:
            return lambda item: (read(item, prop) is None) is (op == "eq")
        default = None if self.absent_is_null or prop.type not in ("Integer", "Long", "Short") else "0"
        wanted = _typed(prop.type, value.text if isinstance(value, Date) else str(value))
        if wanted is None:
            raise bad_request("The value does not fit the property's type.", "ErrorInvalidUrlQueryFilter")

        def test(item: Any) -> bool:
            found = read(item, prop)
            found = default if found is None else found
            typed = _typed(prop.type, found) if found is not None else None
            return typed is not None and compare(typed, wanted)

        return test


_REFUSED: Final = frozenset(
    {"internetmessageheaders", "bodypreview", "changekey", "weblink", "uniquebody/content"}
)


def _typed(kind: str, text: str) -> Any:
    try:
        if kind in ("Integer", "Long", "Short"):
            return int(text)
        if kind in ("Double", "Float", "Currency"):
            return float(text)
    except ValueError:
        return None
    if kind == "SystemTime":
        return times.parse(text)
    return text.lower()


def _test(column: Column, op: str, value: Any) -> Test:
    compare, get = _COMPARE[op], column.get
    if column.kind == "bool":
        if not isinstance(value, bool) or op not in ("eq", "ne"):
            raise bad_request("A boolean is expected.", "ErrorInvalidUrlQueryFilter")
        return lambda item: compare(bool(get(item)), value)
    if value is None and op in ("eq", "ne"):
        return lambda item: (get(item) is None) is (op == "eq")
    if column.kind in ("number",):
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise bad_request("A number is expected.", "ErrorInvalidUrlQueryFilter")
        return lambda item: compare(get(item), value)
    if not isinstance(value, str):
        raise bad_request("A string literal is expected.", "ErrorInvalidUrlQueryFilter")
    if column.kind == "id":
        return lambda item: compare(get(item) or "", value)
    small = value.lower()
    return lambda item: (found := get(item)) is not None and compare(found.lower(), small)


def compile_filter(text: str, table: Table, *, max_nodes: int, absent_is_null: bool) -> Filter:
    """Compile; GraphError 400 with the code that Exchange gives for what it does not do."""
    return _Parser(text, table, max_nodes, absent_is_null).parse()
