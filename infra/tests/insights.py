"""CloudWatch Logs Insights, as far as our saved queries go: runs a query over log lines.

Source: CloudWatch Logs user guide, "CloudWatch Logs Insights query syntax". A field that a line lacks is empty; JSON's
`true` and `false` are 1 and 0; a comparison with an empty field does not hold, but for `!=`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable

Row = dict[str, object]

TOKENS = re.compile(
    r"""\s*(?:(?P<text>"[^"]*"|'[^']*')|(?P<pattern>(?<=like)\s*/(?:[^/\\]|\\.)*/)"""
    r"""|(?P<number>\d+[smhd]?\b|\d+\.\d+)|(?P<name>[@A-Za-z_][\w.@]*)|(?P<sign>!=|>=|<=|[=<>(),|*]))"""
)
COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    ">": lambda left, right: left > right,
    "<": lambda left, right: left < right,
    ">=": lambda left, right: left >= right,
    "<=": lambda left, right: left <= right,
}


def flat(line: dict, prefix: str = "") -> Row:
    """A line's fields by the names that queries have for them."""
    found: Row = {}
    for key, value in line.items():
        name = f"{prefix}.{key}" if prefix else key
        if isinstance(value, dict):
            found |= flat(value, name)
        elif value is not None:
            found[name] = int(value) if isinstance(value, bool) else value
    return found


class Query:
    """A query; `SOURCE`s, which the dashboard's begin with, are left aside."""

    def __init__(self, text: str):
        self.tokens, at = [], 0
        text = text.rstrip()
        while at < len(text):
            match = TOKENS.match(text, at)
            assert match, f"not known here: {text[at : at + 40]}"
            self.tokens.append((match.lastgroup, match[match.lastgroup].strip()))
            at = match.end()
        self.at = 0

    def run(self, lines: list[dict]) -> list[Row]:
        """The rows of the result; a field that a row lacks is not in it."""
        self.at = 0
        rows = [flat(line) for line in lines]
        while self.at < len(self.tokens):
            kind, command = self._next()
            assert kind == "name", command
            rows = getattr(self, f"_{command.lower()}")(rows)
            assert self.at == len(self.tokens) or self._next()[1] == "|"
        return rows

    # --- commands ------------------------------------------------------------------------------------------------------

    def _source(self, rows: list[Row]) -> list[Row]:
        self._next()
        return rows

    def _filter(self, rows: list[Row]) -> list[Row]:
        holds = self._any()
        return [row for row in rows if holds(row)]

    def _fields(self, rows: list[Row]) -> list[Row]:
        names = self._names()
        return [{name: row[name] for name in names if name in row} for row in rows]

    def _sort(self, rows: list[Row]) -> list[Row]:
        name = self._next()[1]
        down = self._word() == "desc"
        # What lacks it comes last.
        there = [row for row in rows if name in row]
        return sorted(there, key=lambda row: row[name], reverse=down) + [row for row in rows if name not in row]

    def _limit(self, rows: list[Row]) -> list[Row]:
        return rows[: int(self._next()[1])]

    def _stats(self, rows: list[Row]) -> list[Row]:
        columns, by = [], []
        while True:
            function = self._call()
            assert self._word() == "as", "each column has a name"
            columns.append((self._next()[1], function))
            if not self._sign(","):
                break
        if self._peek() == ("name", "by"):
            self._next()
            by = self._groups()
        groups: dict[tuple, list[Row]] = {}
        for row in rows:
            groups.setdefault(tuple(key(row) for _, key in by), []).append(row)
        made = []
        for keys, members in groups.items():
            row = {name: key for (name, _), key in zip(by, keys, strict=True) if key is not None}
            row |= {name: value for name, function in columns if (value := function(members)) is not None}
            made.append(row)
        return made

    # --- parts of them -------------------------------------------------------------------------------------------------

    def _groups(self) -> list[tuple[str, Callable[[Row], object]]]:
        found = []
        while True:
            name = self._next()[1]
            if name == "bin":
                self._expect("(")
                name = f"bin({self._next()[1]})"
                self._expect(")")
                found.append((name, lambda _row: 0))
            else:
                found.append((name, lambda row, name=name: row.get(name)))
            if not self._sign(","):
                return found

    def _call(self) -> Callable[[list[Row]], object]:
        name = self._next()[1]
        self._expect("(")
        argument = self._next()[1]
        rank = float(self._next()[1]) if self._sign(",") else 0.0
        self._expect(")")

        def values(rows: list[Row]) -> list:
            return [row[argument] for row in rows if argument in row]

        def reduced(reduce: Callable[[list], object]) -> Callable[[list[Row]], object]:
            return lambda rows: reduce(found) if (found := values(rows)) else None

        match name:
            case "count":
                return len if argument == "*" else lambda rows: len(values(rows))
            case "sum":
                return reduced(sum)
            case "max":
                return reduced(max)
            case "latest":
                return reduced(lambda found: found[-1])
            case "pct":
                return reduced(lambda found: sorted(found)[max(0, math.ceil(rank / 100 * len(found)) - 1)])
        raise AssertionError(f"the function {name} is not known here")

    def _any(self) -> Callable[[Row], bool]:
        parts = [self._all()]
        while self._peek() == ("name", "or"):
            self._next()
            parts.append(self._all())
        return lambda row: any(part(row) for part in parts)

    def _all(self) -> Callable[[Row], bool]:
        parts = [self._one()]
        while self._peek() == ("name", "and"):
            self._next()
            parts.append(self._one())
        return lambda row: all(part(row) for part in parts)

    def _one(self) -> Callable[[Row], bool]:
        if self._sign("("):
            inner = self._any()
            self._expect(")")
            return inner
        name = self._next()[1]
        if name == "ispresent":
            self._expect("(")
            field = self._next()[1]
            self._expect(")")
            return lambda row: field in row
        operator = self._next()[1]
        kind, value = self._next()
        if operator == "like":
            pattern = re.compile(value[1:-1])
            return lambda row: pattern.search(str(row.get(name, ""))) is not None
        wanted: object = value[1:-1] if kind == "text" else float(value)
        if operator == "=":
            return lambda row: row.get(name) == wanted
        if operator == "!=":
            return lambda row: row.get(name) != wanted
        return lambda row: name in row and COMPARISONS[operator](float(row[name]), float(value))

    def _names(self) -> list[str]:
        names = [self._next()[1]]
        while self._sign(","):
            names.append(self._next()[1])
        return names

    def _peek(self) -> tuple[str, str] | None:
        return self.tokens[self.at] if self.at < len(self.tokens) else None

    def _next(self) -> tuple[str, str]:
        self.at += 1
        return self.tokens[self.at - 1]

    def _word(self) -> str | None:
        return self._next()[1] if (token := self._peek()) and token[0] == "name" else None

    def _sign(self, sign: str) -> bool:
        there = self._peek() == ("sign", sign)
        self.at += there
        return there

    def _expect(self, sign: str) -> None:
        assert self._sign(sign), f"{sign} is missing before {self._peek()}"
