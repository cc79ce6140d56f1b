from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest

from hfpose.checkpoints.config_evaluator import Evaluator
from hfpose.checkpoints.config_values import BaseDict, Budget, to_plain
from hfpose.errors import ConfigError

EXPRESSIONS = [
    "1 + 2 * 3 - 4 / 5 // 6 % 7",
    "-2 ** 2",
    "2 ** 0.5",
    "1 << 30",
    "5 & 6 | 1 ^ 2",
    "not True",
    "~3",
    "1 < 2 <= 2 != 3",
    "1 == 1.0",
    "2 in [1, 2] and 3 not in (1, 2)",
    "'a' in dict(a=1)",
    "None is None",
    "0 or 'x'",
    "1 and 0",
    "'yes' if 2 > 1 else 'no'",
    "[1, 2] + [3] * 2",
    "(1,) * 3 + (2,)",
    "'ab' + 'c' * 3",
    "[*range(3), *(5, 6)]",
    "(1, *[2, 3])",
    "{'a': 1, **dict(b=2), 'c': {3: None}}",
    "dict(a=1, **{'b': 2})",
    "dict({'a': 1}, a=3)",
    "dict([('a', 1), ['b', 2]])",
    "dict(zip(['a', 'b'], (1, 2)))",
    "dict(a=1) | dict(a=2)",
    "list(enumerate('ab'))",
    "[1, 2, 3, 4][1:-1]",
    "[1, 2, 3, 4][::-2]",
    "'text'[1:]",
    "range(10)[3:5][1]",
    "dict(a=[1, dict(b=2)])['a'][1]['b']",
    "[x * y for x in range(4) if x % 2 for y in (x, 10)]",
    "{k: v for k, v in dict(a=1, b=2).items()}",
    "tuple(s // 32 for s in (192, 256))",
    "sum(x for x in (1, 2.5))",
    "[[i, j] for i, j in zip([1, 2], [3, 4])]",
    "max([3, 1]) + min(4, 2) + abs(-1) + len('abc') + int('7') + int(2.9)",
    "round(2.567, 2)",
    "float('1e-3')",
    "str(1.5) + str(None) + str('a')",
    "bool([])",
    "sorted([3, 1, 2])",
    "list(reversed((1, 2)))",
    "any([0, 1]) and all([1, 1])",
    "list('abc')",
    "list(dict(a=1, b=2))",
    "f'{1 + 1}x{0.5:.2f}|{7:03d}|{\"q\"!r}|{True}'",
    "f'{\"a\":>5}'",
    "f'{{}}'",
    "'-'.join(['a', 'b'])",
    "'{}/{}'.format('a', 1)",
    "'{1}{0}{n:>4}{{}}{x!r}'.format('a', 'b', n=3, x='q')",
    "' a,b '.strip().split(',')",
    "'aXb'.lower().replace('x', '--').upper()",
    "'abc'.startswith('ab') and 'abc'.endswith(('d', 'c'))",
    "[1, 2, 1].count(1) + [1, 2].index(2)",
    "dict(a=1).get('b', 5)",
    "list(dict(a=1).keys()) + list(dict(a=1).values())",
    "dict(a=1).copy()",
    "1_000 + 0x10 + 1.0e-5",
    "'a' 'b'",
    "True + 1",
]


def evaluator(**base: Any) -> Evaluator:
    return Evaluator(Path("c.py"), BaseDict(base), {}, Budget())


def run(text: str, **base: Any) -> dict[str, Any]:
    machine = evaluator(**base)
    machine.run(ast.parse(text).body)
    return to_plain(machine.names)


@pytest.mark.parametrize("text", EXPRESSIONS)
def test_expressions_have_python_s_value(text: str) -> None:
    expected = eval(text)
    actual = run(f"x = {text}")["x"]
    assert actual == expected
    assert type(actual) is type(expected)


STATEMENTS = [
    "a = b = [1]\na += [2]\nc = b",
    "a = (1,)\nb = a\na += (2,)",
    "a = 1\na -= 3\na *= 2",
    "a = dict(x=[1])\na['x'] += [2]\na['y'] = 1",
    "a = dict(x=1)\na['x'] += 2",
    "a, (b, c) = 1, [2, 3]",
    "[a, b] = (1, 2)",
    "a = [1, 2, 3]\na[1] = 5\ndel a[0]",
    "a = dict(x=1, y=2)\ndel a['x']\nb = 1\ndel b",
    "a = []\nfor i in range(3):\n    if i == 1:\n        a.append('one')\n    elif i:\n        a.append(i)\n    "
    "else:\n        pass",
    "a = [1]\na.extend((2, 3))\na.insert(0, 0)\nb = a.pop()\na.reverse()\na.remove(1)",
    "a = dict(x=1)\na.update(y=2)\na.update({'z': 3}, x=4)\nb = a.pop('x')\na.setdefault('w', [])\nc = a.pop('no', "
    "None)",
    "a: int = 3",
    "a = [1]\nb = a.copy()\nb.append(2)",
    "'a docstring'\na = 1",
    "x = 1\ny = [x for x in range(3)]",
    "scenes = ['a', 'b']\nout = []\nfor s in scenes:\n    out.append(dict(ann=f'{s}/train.json'))\nall_of = [*out, "
    "dict()]",
]


@pytest.mark.parametrize("text", STATEMENTS)
def test_statements_do_what_python_does(text: str) -> None:
    expected: dict[str, Any] = {}
    exec(text, {}, expected)
    assert run(text) == {name: value for name, value in expected.items() if not name.startswith("__")}


def test_attributes_are_keys() -> None:
    names = run("a = dict(b=dict(items=3))\nc = a.b.items\na.b.d = 1\ndel a.b.items\na.b.d += 1")
    assert names == {"a": {"b": {"d": 2}}, "c": 3}


def test_the_base_is_shared_with_the_variables_that_refer_to_it() -> None:
    machine = evaluator(model=BaseDict(k=1))
    machine.run(ast.parse("m = _base_.model\nm.k = 2\nn = {{_base_.model}}").body)
    assert machine.base["model"] is machine.names["m"] is machine.names["n"]
    assert machine.base["model"]["k"] == 2


def test_ranges_become_lists() -> None:
    assert run("x = dict(ids=range(3))")["x"] == {"ids": [0, 1, 2]}


def test_names_of_functions_can_be_variables() -> None:
    assert run("max = 3\nx = max") == {"max": 3, "x": 3}
    with pytest.raises(ConfigError, match="call of 'max'"):
        run("max = 3\nx = max(1, 2)")


def test_errors_name_file_line_and_reason() -> None:
    with pytest.raises(
        ConfigError, match=r"^c.py:3: the name 'missing' is not defined above this line\. Configs are parsed"
    ):
        run("a = 1\nb = dict(\n    c=missing)")
    with pytest.raises(ConfigError, match=r"^c.py:1: there is no key 'b'"):
        run("a = dict(c=1).b")
    with pytest.raises(ConfigError, match=r"^c.py:1: division by zero"):
        run("a = 1 / 0")


def test_the_budget_is_shared_and_ends_work() -> None:
    machine = Evaluator(Path("c.py"), BaseDict(), {}, Budget(work=1000))
    with pytest.raises(ConfigError, match="larger than any real one"):
        machine.run(ast.parse("x = [i for i in range(900)]").body)
