"""`docs/http-reference.md`, from the OpenAPI document of the service: `python -m tests.web.test_openapi` writes it."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any

from cifar_tune.errors import enumerate_names
from cifar_tune.markdown import table

COMMAND = "python -m tests.web.test_openapi"

_SCHEMAS = "#/components/schemas/"
_METHODS = ("get", "post", "patch", "put", "delete")
_PREFIX = "/v1/"
_FIRST_ERROR = 400
_HUGE = 2**31 - 1
"""Bounds as large as this only keep numbers within what databases hold."""

_TAGS: Mapping[str, str] = {
    "studies": "Studies",
    "queue": "The queue",
    "events": "Events and streams",
    "administration": "People, limits and tokens",
    "health": "Health",
}
"""What the sections are called, in the order of the page."""

_CONTENTS: Mapping[str, str] = {
    "application/json": "JSON",
    "text/event-stream": "a stream of server-sent events (`text/event-stream`)",
    "text/plain": "plain text",
}


def http_reference(document: Mapping[str, Any]) -> str:
    """The whole page in Markdown, from an OpenAPI document such as `app.openapi()`."""
    operations = [
        (method, path, routes[method])
        for path, routes in document["paths"].items()
        for method in _METHODS
        if method in routes
    ]
    order = [*_TAGS, *(each[2]["tags"][0] for each in operations)]
    operations.sort(key=lambda each: order.index(each[2]["tags"][0]))
    everywhere = set.intersection(*(_errors(each) for _, path, each in operations if path.startswith(_PREFIX)))
    bodies = {str(_body(each)["$ref"]).removeprefix(_SCHEMAS) for _, _, each in operations if _body(each)}
    parts = [
        "# HTTP reference",
        f"Made from the OpenAPI document by `{COMMAND}`; a test keeps it true. A running server has the same document "
        "at `/v1/openapi.json`. [The service over HTTP](http.md) explains how to log in, what errors look like and how "
        "streams go on after a break.",
        "Every path but those under [Health](#health) needs a token (`Authorization: Bearer ct_...`) or the cookie of "
        "a browser that has logged in. Bodies and answers are JSON unless a path says otherwise. An error is a "
        f"[ProblemDetails](#problemdetails). Any path below `{_PREFIX}` can answer "
        f"{enumerate_names([f'`{status}`' for status in sorted(everywhere)])}; the others are named where they occur. "
        "[Errors](http.md#errors) says what they mean.",
    ]
    for tag, some in groupby(operations, key=lambda each: each[2]["tags"][0]):
        parts.append(f"## {_TAGS.get(tag, tag)}")
        for method, path, operation in some:
            parts += _operation(method, path, operation, everywhere)
    parts += ["## Bodies and answers", "The objects that are sent and answered, by name."]
    for name, schema in sorted(document["components"]["schemas"].items()):
        parts += _schema(name, schema, is_sent=name in bodies)
    return "\n\n".join(parts) + "\n"


def _body(operation: Mapping[str, Any]) -> Mapping[str, Any]:
    contents = operation.get("requestBody", {}).get("content", {})
    schema: Mapping[str, Any] = contents.get("application/json", {}).get("schema", {})
    return schema


def _errors(operation: Mapping[str, Any]) -> set[str]:
    return {status for status in operation["responses"] if int(status) >= _FIRST_ERROR}


def _operation(method: str, path: str, operation: Mapping[str, Any], everywhere: set[str]) -> Iterable[str]:
    yield f"### {method.upper()} {path}"
    yield from _paragraphs(operation.get("description", ""))
    parameters = operation.get("parameters", ())
    if parameters:
        yield table(("parameter", "in", "type", "default", "meaning"), map(_parameter, parameters))
    if _body(operation):
        yield f"Body: {_type(_body(operation))}."
    good = [(status, each) for status, each in operation["responses"].items() if int(status) < _FIRST_ERROR]
    words = "; ".join(f"`{status}` with {_content(each)}" for status, each in good)
    others = [f"`{status}`" for status in sorted(_errors(operation) - everywhere)]
    further = f" Further errors: {enumerate_names(others, 'and')}." if others else ""
    yield f"Answers {words}.{further}"


def _parameter(each: Mapping[str, Any]) -> Sequence[str]:
    schema = each["schema"]
    default = "required" if each.get("required") else _default(schema)
    return f"`{each['name']}`", each["in"], _type(schema), default, _one_line(each.get("description", ""))


def _content(answer: Mapping[str, Any]) -> str:
    kinds = answer.get("content", {})
    if not kinds:
        return "the file or text itself"
    kind, content = next(iter(kinds.items()))
    if kind == "application/json" and content.get("schema"):
        return _type(content["schema"])
    return _CONTENTS.get(kind, f"`{kind}`")


def _schema(name: str, schema: Mapping[str, Any], is_sent: bool) -> Iterable[str]:
    """An object; of one that is sent, also what holds for keys that are left out."""
    yield f"### {name}"
    yield from _paragraphs(schema.get("description", ""))
    fields = schema.get("properties", {}).items()
    if not is_sent:
        yield table(("key", "type", "meaning"), ((f"`{key}`", _type(each), _field(each)) for key, each in fields))
        return
    required = schema.get("required", ())
    rows = (
        (f"`{key}`", _type(each), "required" if key in required else _default(each), _field(each))
        for key, each in fields
    )
    yield table(("key", "type", "default", "meaning"), rows)


def _field(each: Mapping[str, Any]) -> str:
    words = _one_line(each.get("description", ""))
    examples = each.get("examples") or ()
    example = json.dumps(examples[0], ensure_ascii=False) if examples else ""
    shows = example not in ("", "null", "[]", "{}")
    return " ".join(filter(None, (words, f"Example: `{example}`" if shows else "")))


def _default(schema: Mapping[str, Any]) -> str:
    return f"`{json.dumps(schema['default'])}`" if "default" in schema else "may be left out"


def _type(schema: Mapping[str, Any]) -> str:
    """A schema in words, such as `list of integers >= 0, or null`."""
    if "$ref" in schema:
        name = str(schema["$ref"]).removeprefix(_SCHEMAS)
        return f"[{name}](#{name.lower()})"
    if "anyOf" in schema:
        kinds = [_type(each) for each in schema["anyOf"]]
        return ", or ".join(dict.fromkeys(sorted(kinds, key=lambda kind: kind == "null")))
    if "enum" in schema or "const" in schema:
        names = schema.get("enum") or [schema["const"]]
        return ", ".join(f"`{name}`" for name in names)
    kind = schema.get("type")
    if kind == "array":
        return f"list of {_type(schema['items'])}" if schema.get("items") else "list"
    if kind == "object":
        values = schema.get("additionalProperties")
        return f"object of {_type(values)}" if isinstance(values, dict) and values else "object"
    if kind is None:
        return "any value"
    return f"{kind}{_bounds(schema)}"


def _bounds(schema: Mapping[str, Any]) -> str:
    signs = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}
    bounds = [f"{sign} {schema[key]:g}" for key, sign in signs.items() if abs(schema.get(key, _HUGE)) < _HUGE]
    if "maxLength" in schema:
        bounds.append(f"of at most {schema['maxLength']:,} characters")
    return f" {' and '.join(bounds)}" if bounds else ""


def _paragraphs(text: str) -> Iterable[str]:
    for paragraph in re.split(r"\n\s*\n", text.strip()):
        if paragraph:
            yield _one_line(paragraph)


def _one_line(text: str) -> str:
    return " ".join(text.split())
