"""Read the inside of a tool call, one function a format.

Each takes the text between a format's opening and closing mark and the tools' JSON schemas, and
returns the calls in it, or raises Malformed with the place of the mistake.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Schemas = Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadCall:
    """A well-formed call.

    Args:
        name: the tool's.
        arguments: the text of a JSON object.
        id: where the format has one and the policy wrote it.
    """

    name: str
    arguments: str
    id: str | None = None


class MalformedError(ValueError):
    """A call that its format does not allow: what was expected, and where, in its body."""

    def __init__(self, problem: str, offset: int = 0) -> None:
        super().__init__(problem)
        self.offset = offset


def json_call(body: str, schemas: Schemas) -> list[ReadCall]:
    """Read ``{"name": NAME, "arguments": {..}}`` (Hermes, Qwen)."""
    return [_from_object(_load(body, "the call"))]


def json_call_or_script(body: str, schemas: Schemas) -> list[ReadCall]:
    """Read ``{"name": NAME, "parameters": {..}}`` or ``NAME.call(KEY="VALUE", ..)`` (Llama 3)."""
    found = re.fullmatch(r"\s*(\w+)\.call\((.*)\)\s*", body, re.DOTALL)
    if found is None:
        return json_call(body, schemas)
    arguments: dict[str, Any] = {}
    at, end = found.start(2), found.end(2)
    pair = re.compile(r'\s*(\w+)="(.*?)"(?:,\s*(?=\w+=")|\s*$)', re.DOTALL)
    while at < end:
        one = pair.match(body, at, end)
        if one is None:
            raise MalformedError('expected KEY="VALUE" pairs in .call(..)', at)
        arguments[one[1]] = one[2]
        at = one.end()
    return [ReadCall(name=found[1], arguments=_dump(arguments))]


def named_json(body: str, schemas: Schemas) -> list[ReadCall]:
    """Read ``NAME{..}`` (the built-in template). The JSON stays as it was written."""
    name, brace, rest = body.partition("{")
    if not name.strip():
        raise MalformedError("it has no tool name before its arguments")
    try:
        _object(brace + rest, len(name))
    except MalformedError as error:
        raise MalformedError(f"it is not NAME{{JSON}}: {error}", error.offset) from None
    return [ReadCall(name=name.strip(), arguments=brace + rest)]


def mistral_calls(body: str, schemas: Schemas) -> list[ReadCall]:
    """Read ``[{"name": .., "arguments": .., "id": ..}, ..]`` or ``NAME[CALL_ID]ID[ARGS]{..}``."""
    head, args, rest = body.partition("[ARGS]")
    if not args:
        listed = _load(body, "the calls")
        if not isinstance(listed, list) or not listed:
            raise MalformedError("expected NAME[ARGS]{JSON} or a JSON list of calls")
        return [_from_object(one) for one in listed]
    name, _, call_id = head.partition("[CALL_ID]")
    if not name.strip():
        raise MalformedError("it has no tool name before [ARGS]")
    arguments = _object(rest, len(head) + len(args))
    return [ReadCall(name=name.strip(), arguments=_dump(arguments), id=call_id.strip() or None)]


def deepseek_call(body: str, schemas: Schemas) -> list[ReadCall]:
    """Read ``NAME<sep>{..}`` (V3.1), or ``function<sep>NAME`` and a fenced JSON block (V3, R1)."""
    separator = "<｜tool▁sep｜>"
    head, found, rest = body.partition(separator)
    if not found:
        raise MalformedError(f"it has no {separator}", len(body))
    at = len(head) + len(separator)
    fenced = re.fullmatch(r"([^\n{]+)\n```json\n(.*?)\n?```\s*", rest, re.DOTALL)
    if fenced is not None:
        head, at, rest = fenced[1], at + fenced.start(2), fenced[2]
    if not head.strip():
        raise MalformedError(f"it has no tool name before {separator}")
    return [ReadCall(name=head.strip(), arguments=_dump(_object(rest, at)))]


_FUNCTION = re.compile(r"\s*<function=([^>\n]+)>")
_PARAMETER = re.compile(
    r"\s*<parameter=([^>\n]+)>\n?(.*?)\n?</parameter>(?=\s*(?:<parameter=|</function>))", re.DOTALL
)
_END = re.compile(r"\s*</function>\s*")


def xml_call(body: str, schemas: Schemas) -> list[ReadCall]:
    """Read ``<function=NAME><parameter=KEY>VALUE</parameter>..</function>`` (Qwen3-Coder).

    The form does not tell ``5`` from ``"5"``: the tool's schema does, and without one a value is
    text.
    """
    opened = _FUNCTION.match(body)
    if opened is None:
        raise MalformedError("expected <function=NAME>")
    types = _parameter_types(schemas, opened[1])
    arguments: dict[str, Any] = {}
    at = opened.end()
    while (pair := _PARAMETER.match(body, at)) is not None:
        arguments[pair[1]] = _typed(pair[2], types.get(pair[1], frozenset({"string"})))
        at = pair.end()
    if _END.fullmatch(body, at) is None:
        raise MalformedError("expected <parameter=KEY>VALUE</parameter> or </function>", at)
    return [ReadCall(name=opened[1], arguments=_dump(arguments))]


def gemma_call(body: str, schemas: Schemas, *, quote: str) -> list[ReadCall]:
    """Read ``call:NAME{KEY:VALUE,..}``, in which text stands between quote marks (Gemma)."""
    found = re.match(r"\s*call:\s*([^{\s]+)\s*(?={)", body)
    if found is None:
        raise MalformedError("expected call:NAME{..}")
    reader = _GemmaReader(body, found.end(), quote)
    try:
        value = reader.value()
    except RecursionError:
        raise MalformedError("it is nested too deeply", reader.at) from None
    if body[reader.at :].strip():
        raise MalformedError("expected nothing after the closing brace", reader.at)
    return [ReadCall(name=found[1], arguments=_dump(value))]


class _GemmaReader:
    """Descend into Gemma's notation, which is JSON with bare keys and other quotes."""

    def __init__(self, text: str, at: int, quote: str) -> None:
        self.text = text
        self.at = at
        self.quote = quote

    def value(self) -> Any:
        if self._skip("{"):
            return dict(self._items("}", self._pair))
        if self._skip("["):
            return list(self._items("]", self.value))
        if self.text.startswith(self.quote, self.at):
            return self._quoted()
        bare = re.compile(r"[^,{}\[\]<]*").match(self.text, self.at)
        assert bare is not None
        value = _literal(bare[0].strip())
        self.at = bare.end()
        return value

    def _items(self, end: str, item: Any) -> Iterator[Any]:
        if self._skip(end):
            return
        while True:
            yield item()
            if self._skip(end):
                return
            if not self._skip(","):
                raise MalformedError(f"expected ',' or {end!r}", self.at)

    def _pair(self) -> tuple[str, Any]:
        if self.text.startswith(self.quote, self.at):
            key = self._quoted()
        else:
            bare = re.compile(r"\s*([^:,{}\[\]]+)").match(self.text, self.at)
            if bare is None:
                raise MalformedError("expected a key", self.at)
            key, self.at = bare[1], bare.end()
        if not self._skip(":"):
            raise MalformedError("expected ':' after a key", self.at)
        return key, self.value()

    def _quoted(self) -> str:
        begin = self.at + len(self.quote)
        end = self.text.find(self.quote, begin)
        if end < 0:
            raise MalformedError(f"expected a closing {self.quote}", self.at)
        self.at = end + len(self.quote)
        return self.text[begin:end]

    def _skip(self, symbol: str) -> bool:
        found = self.text.startswith(symbol, self.at)
        self.at += len(symbol) * found
        return found


def _literal(text: str) -> Any:
    if text in ("None", "True", "False"):  # as Python, hence Jinja, prints them
        return {"None": None, "True": True, "False": False}[text]
    return _load(text, "a value")


def _parameter_types(schemas: Schemas, name: str) -> dict[str, frozenset[str]]:
    for schema in schemas:
        function = schema.get("function", schema)
        if function.get("name") == name:
            properties = function.get("parameters", {}).get("properties", {})
            return {key: _types(one) for key, one in properties.items()}
    return {}


def _types(schema: Any) -> frozenset[str]:
    if not isinstance(schema, Mapping):
        return frozenset()
    named = schema.get("type")
    if isinstance(named, str):
        return frozenset({named})
    if isinstance(named, list):
        return frozenset(map(str, named))
    parts = [*schema.get("anyOf", ()), *schema.get("oneOf", ())]
    return frozenset[str]().union(*map(_types, parts))


def _typed(text: str, types: frozenset[str]) -> Any:
    if "string" in types and not (types & {"null"} and text in ("null", "None")):
        return text
    try:
        return _literal(text)
    except MalformedError:
        return text  # the tool's own check of its arguments says what is wrong with it


def _from_object(value: Any) -> ReadCall:
    if not isinstance(value, dict) or not isinstance(value.get("name"), str) or not value["name"]:
        raise MalformedError('expected an object {"name": NAME, "arguments": {..}}')
    arguments = value.get("arguments", value.get("parameters", {}))
    if not isinstance(arguments, dict):
        raise MalformedError("the arguments must be a JSON object")
    call_id = value.get("id")
    return ReadCall(
        name=value["name"],
        arguments=_dump(arguments),
        id=call_id if isinstance(call_id, str) else None,
    )


def _object(text: str, offset: int) -> dict[str, Any]:
    value = _load(text, "the arguments", offset)
    if not isinstance(value, dict):
        raise MalformedError("the arguments must be a JSON object", offset)
    return value


def _load(text: str, what: str, offset: int = 0) -> Any:
    try:
        return json.loads(text, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        problem = f"{what} must be JSON: {error.msg}"
        raise MalformedError(problem, offset + error.pos) from None
    except (ValueError, RecursionError) as error:
        raise MalformedError(f"{what} must be JSON: {error}", offset) from None


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON number")


def _dump(value: Any) -> str:
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False)
    except RecursionError:
        raise MalformedError("the arguments are nested too deeply") from None
    except ValueError:  # 1e999 is JSON, and infinite as a float
        raise MalformedError("the arguments have a number that JSON cannot write") from None
