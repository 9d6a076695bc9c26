"""What a plugin's code means: the same after a change of comments, formatting or docstrings."""

import ast
import hashlib


def meaning_of(source: str) -> str:
    """A digest of the parsed code, in hex; empty where it is not valid Python, or reads its own text or lines.

    Comments, formatting, docstrings and annotations of what kind a string was written in do not count. Docstrings do
    where the code reads `__doc__`. The digest does not depend on the version of Python, as long as that parses the
    code into the same tree.
    """
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return ""
    if any(_reads_text(node) for node in ast.walk(tree)):
        return ""
    if not any(_reads_docstrings(node) for node in ast.walk(tree)):
        for node in ast.walk(tree):
            _without_docstring(node)
    try:
        return hashlib.sha256(repr(_plain(tree)).encode("utf-8", "surrogatepass")).hexdigest()
    except RecursionError:
        return ""


_OF_TEXT = {"getsource", "getsourcelines", "getcomments", "findsource", "co_firstlineno", "co_lines", "linecache"}


def _reads_text(node: ast.AST) -> bool:
    """Whether comments or line numbers can change what the code does."""
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name) | ast.alias(name=name) | ast.Constant(value=str(name)):
            return name in _OF_TEXT
    return False


def _reads_docstrings(node: ast.AST) -> bool:
    match node:
        case ast.Name(id="__doc__") | ast.Attribute(attr="__doc__") | ast.Constant(value="__doc__"):
            return True
        case ast.Attribute(attr="getdoc") | ast.Name(id="getdoc"):
            return True
    return False


def _without_docstring(node: ast.AST) -> None:
    if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        match node.body:
            case [ast.Expr(value=ast.Constant(value=str())), *rest]:
                node.body = rest


def _plain(node: object) -> object:
    """The tree as tuples and constants. Empty fields are left out: newer versions of Python have more of them."""
    if isinstance(node, ast.AST):
        fields = (
            (name, _plain(value))
            for name, value in ast.iter_fields(node)
            if value not in (None, []) and name not in ("kind", "type_comment")
        )
        if isinstance(node, ast.Constant):
            return "Constant", type(node.value).__name__, node.value
        return type(node).__name__, *fields
    if isinstance(node, list):
        return tuple(map(_plain, node))
    return node
