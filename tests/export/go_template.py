"""As much of Go's text/template as Ollama's templates need, read from the language's documentation.

https://pkg.go.dev/text/template: actions in {{ }}, `-` trims white space, range with index and element, if,
else if, else, end, variables, fields, and the functions eq, and, or, not, len, slice, le, gt.
"""

import re
from dataclasses import dataclass, field


@dataclass
class Block:
    """One action with what stands inside it: (condition, nodes) for each branch."""

    word: str
    branches: list = field(default_factory=list)


def parse(text):
    text = re.sub(r"\s*\{\{- ", "{{ ", text)
    text = re.sub(r" -\}\}\s*", " }}", text)
    parts = re.split(r"\{\{(.*?)\}\}", text, flags=re.DOTALL)
    nodes, stack = [], []
    current = nodes
    for place, part in enumerate(parts):
        if place % 2 == 0:
            if part:
                current.append(part)
            continue
        word, _, rest = part.strip().partition(" ")
        if word in {"if", "range"}:
            block = Block(word, [(rest, [])])
            current.append(block)
            stack.append((block, current))
            current = block.branches[-1][1]
        elif word == "else":
            block = stack[-1][0]
            block.branches.append((rest.removeprefix("if "), []))
            current = block.branches[-1][1]
        elif word == "end":
            current = stack.pop()[1]
        else:
            current.append(Block("print", [(part.strip(), [])]))
    assert not stack, "an action is not ended"
    return nodes


def execute(text, data):
    return _run(parse(text), {"$": data}, data)


def _run(nodes, names, dot):
    out = []
    for node in nodes:
        if isinstance(node, str):
            out.append(node)
        elif node.word == "print":
            out.append(str(value(node.branches[0][0], names, dot)))
        elif node.word == "if":
            for condition, inside in node.branches:
                if not condition or value(condition, names, dot):
                    out.append(_run(inside, names, dot))
                    break
        else:
            head, inside = node.branches[0]
            variables, _, source = head.rpartition(":=")
            listed = [name.strip() for name in variables.split(",")] if variables else []
            for i, element in enumerate(value(source, names, dot)):
                known = dict(zip(listed, (i, element), strict=False))
                out.append(_run(inside, {**names, **known}, element))
    return "".join(out)


_TOKEN = re.compile(r'\(|\)|"(?:[^"\\]|\\.)*"|[^\s()]+')


def value(expression, names, dot):
    tokens = _TOKEN.findall(expression)
    result, rest = _call(tokens, names, dot)
    assert not rest, expression
    return result


def _call(tokens, names, dot):
    arguments = []
    while tokens and tokens[0] != ")":
        token, *tokens = tokens
        if token == "(":
            inner, tokens = _call(tokens, names, dot)
            assert tokens[0] == ")"
            arguments.append(inner)
            tokens = tokens[1:]
        else:
            arguments.append(_operand(token, names, dot))
    first, *others = arguments
    return (first(*others) if callable(first) else first), tokens


_FUNCTIONS = {
    "eq": lambda one, *others: any(one == other for other in others),
    "and": lambda *values: next((v for v in values if not v), values[-1]),
    "or": lambda *values: next((v for v in values if v), values[-1]),
    "not": lambda one: not one,
    "len": len,
    "slice": lambda one, start, *end: one[start : end[0] if end else None],
    "le": lambda one, other: one <= other,
    "gt": lambda one, other: one > other,
}


def _operand(token, names, dot):
    if token.startswith('"'):
        return token[1:-1].encode().decode("unicode_escape")
    if token.isdigit():
        return int(token)
    if token in _FUNCTIONS:
        return _FUNCTIONS[token]
    base, *fields = token.split(".")
    found = names[base] if base else dot
    for name in fields:
        if name:
            found = found[name]
    return found
