"""PROV documents as text: PROV-JSON, PROV-N and PROV-XML, each the same records in the same order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import field
from xml.sax.saxutils import escape, quoteattr

from dataver.results import Json
from dataver.values import dataclass

__all__ = ["FORMATS", "Name", "ProvDocument", "ProvRecord"]

FORMATS = ("json", "provn", "xml")
PROV = "http://www.w3.org/ns/prov#"
XSI = "http://www.w3.org/2001/XMLSchema-instance"
_LINES = {"\n": "&#10;", "\t": "&#9;"}
_FIRST = ("label", "role", "type")
"""The order that PROV-XML gives to attributes of PROV's own."""


class Name(str):
    """A qualified name, `prefix:local`, where a text could stand too."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class ProvRecord:
    """One statement. An element has an `id`; `formal` are its arguments by PROV's names, in PROV's order.

    A formal argument is a `Name` or a time, empty for one that is not known.
    """

    kind: str
    formal: tuple[tuple[str, str], ...] = ()
    id: Name = Name("")
    attributes: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class ProvDocument:
    """Records, and the namespaces of their names by prefix."""

    namespaces: dict[str, str] = field(default_factory=dict)
    records: list[ProvRecord] = field(default_factory=list)

    def to_json(self) -> Json:
        """PROV-JSON."""
        document: Json = {"prefix": dict(self.namespaces)}
        for number, record in enumerate(self.records):
            facts: Json = {f"prov:{name}": value for name, value in record.formal if value}
            for name, value in record.attributes:
                written = (
                    {"$": value, "type": "prov:QUALIFIED_NAME"} if isinstance(value, Name) else str(value)
                )
                facts.setdefault(name, []).append(written)
            plain = {
                name: value[0] if isinstance(value, list) and len(value) == 1 else value
                for name, value in facts.items()
            }
            document.setdefault(record.kind, {})[record.id or f"_:r{number}"] = plain
        return document

    def to_provn(self) -> str:
        """PROV-N."""
        return "\n".join(["document", *(f"  {line}" for line in self._provn_lines()), "endDocument", ""])

    def _provn_lines(self) -> Iterator[str]:
        for prefix, uri in self.namespaces.items():
            yield f"prefix {prefix} <{uri}>"
        yield ""
        for record in self.records:
            arguments = [value or "-" for _, value in record.formal]
            if record.id:
                arguments.insert(0, record.id)
            if record.attributes:
                pairs = [f"{name}={_provn_value(value)}" for name, value in record.attributes]
                arguments.append(f"[{', '.join(pairs)}]")
            yield f"{record.kind}({', '.join(arguments)})"

    def to_xml(self) -> str:
        """PROV-XML."""
        spaces = {"prov": PROV, "xsi": XSI, "xsd": "http://www.w3.org/2001/XMLSchema", **self.namespaces}
        named = "".join(f" xmlns:{prefix}={quoteattr(uri)}" for prefix, uri in spaces.items())
        lines = ['<?xml version="1.0" encoding="UTF-8"?>', f"<prov:document{named}>"]
        for record in self.records:
            own = f" prov:id={quoteattr(record.id)}" if record.id else ""
            lines.append(f"  <prov:{record.kind}{own}>")
            lines += [f"    {line}" for line in _xml_parts(record)]
            lines.append(f"  </prov:{record.kind}>")
        return "\n".join([*lines, "</prov:document>", ""])


def _provn_value(value: str) -> str:
    if isinstance(value, Name):
        return f"'{value}'"
    for plain, escaped in (("\\", "\\\\"), ('"', '\\"'), ("\n", "\\n"), ("\t", "\\t")):
        value = value.replace(plain, escaped)
    return f'"{value}"'


def _xml_parts(record: ProvRecord) -> Iterator[str]:
    for name, value in record.formal:
        if isinstance(value, Name) and value:
            yield f"<prov:{name} prov:ref={quoteattr(value)}/>"
        elif value:
            yield f"<prov:{name}>{escape(value)}</prov:{name}>"
    own = [f"prov:{name}" for name in _FIRST]
    for name, value in sorted(
        record.attributes, key=lambda pair: own.index(pair[0]) if pair[0] in own else len(own)
    ):
        kind = ' xsi:type="xsd:QName"' if isinstance(value, Name) else ""
        yield f"<{name}{kind}>{escape(value, _LINES)}</{name}>"
