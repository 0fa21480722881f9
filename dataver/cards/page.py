"""A card as Markdown. What comes from a repository is text to it: no markup, no control characters.

Only what people wrote below the fields is their own Markdown; it stands last, so that nothing in it can
swallow or feign what is known.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from dataver.cards.card import Card, CardTable
from dataver.cards.fields import FIELDS, value_text
from dataver.format.provenance import Source
from dataver.paths import safe_spelling
from dataver.results import VersionInfo

if TYPE_CHECKING:
    from dataver.tables.footer import TableFooter
    from dataver.tables.view import TableStatistics

COLUMNS_MAX = 200
CELL_CHARACTERS_MAX = 2000

# What does not print, or turns the writing direction: but for the tab and the end of a line.
_CONTROLS = (
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff"
    "\U000e0000-\U000e007f]"
)
_MARKUP = r"([\\`*_{}\[\]#|~!$^])"
_LINK = r"https?://[A-Za-z0-9./:?=%&+,;@~_-]+"


def page(card: Card) -> str:
    """The whole page."""
    parts = [_head(card), _fields(card), _sources(card), _tables(card), _splits(card), _before(card)]
    lines = [f"# {cell(card.name)}", ""]
    for part in parts:
        lines += part
    if card.written.text.strip():
        lines += [f"## From {cell(card.written.file or '')}", "", printable(card.written.text.strip("\n"))]
    return "\n".join(lines).rstrip("\n") + "\n"


def printable(text: str) -> str:
    """Text with its lines; what does not print is spelled out."""
    return re.sub(_CONTROLS, lambda match: safe_spelling(match[0]), text)


def cell(value: Any) -> str:
    """A value as text in a cell or a line: nothing in it is markup."""
    text = value if isinstance(value, str) else value_text(value)
    if len(text) > CELL_CHARACTERS_MAX:
        text = text[:CELL_CHARACTERS_MAX] + " …"
    if re.fullmatch(_LINK, text):
        return f"<{text}>"
    text = re.sub(_MARKUP, r"\\\1", printable(text.strip()))
    for mark, name in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;")):
        text = text.replace(mark, name)
    return text.replace("\t", " ").replace("\n", "<br>")


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """A table of cells, and a line without anything."""
    yield f"| {' | '.join(head)} |"
    yield f"|{' --- |' * len(head)}"
    for row in rows:
        yield f"| {' | '.join(row)} |"
    yield ""


def _head(card: Card) -> list[str]:
    info = card.info
    facts = [
        ("id", f"`{info.id}`"),
        ("tree", f"`{info.tree}`"),
        ("author", cell(info.author)),
        ("time", _time(info)),
        ("size", f"{_amount(info.files, 'file')}, {_amount(info.bytes, 'byte')}"),
        ("message", cell(info.message)),
        ("tags", cell(", ".join(info.tags))),
        ("aliases", cell(", ".join(info.aliases))),
        *(("run", f"`{run}`") for run in info.runs),
    ]
    return list(table(("", ""), [fact for fact in facts if fact[1]]))


def _amount(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def _time(info: VersionInfo) -> str:
    return info.time.replace(tzinfo=None).isoformat(" ", "seconds") + "Z"


def _fields(card: Card) -> list[str]:
    written = card.written
    lines = [f"## What is said of it: {card.filled} of {card.fields} fields", ""]
    if written.problem is not None:
        lines += [f"**{cell(written.problem)}**", ""]
    elif written.file is None:
        lines += ["The version has no file DATASET.md or README.md that would say more.", ""]
    rows = [
        (field.title, cell(written.fields[field.name]))
        for field in FIELDS
        if written.fields[field.name] is not None
    ]
    if rows:
        lines += table(("Field", ""), rows)
    missing = [field.title.lower() for field in FIELDS if written.fields[field.name] is None]
    if missing:
        lines += [f"Not said: {', '.join(missing)}.", ""]
    if written.other:
        lines += ["### Other", ""]
        lines += table(("Field", ""), [(cell(key), cell(value)) for key, value in written.other.items()])
    return lines


def _sources(card: Card) -> list[str]:
    origins = card.origins
    lines = ["## Where it came from", ""]
    if not origins.versions:
        lines += ["No sources were recorded.", ""]
    for source in origins.sources:
        lines += table((_title(source), ""), _source_rows(source))
    if origins.derived_from:
        lines += ["Derived from:", ""]
        lines += table(
            ("Version", "Tree", "Repository"),
            [
                (cell(f"{entry.dataset}@{entry.id}"), f"`{entry.tree}`", f"`{entry.repository}`")
                for entry in origins.derived_from
            ],
        )
    said = [id for id in origins.versions if id != card.info.id]
    if said:
        lines += ["As recorded with:", "", *(f"- `{id}`" for id in said), ""]
    if not origins.whole:
        lines += ["The history is here in part; there may be more to say.", ""]
    return lines


def _title(source: Source) -> str:
    return cell(source.url) if source.url else "Source"


def _source_rows(source: Source) -> list[tuple[str, str]]:
    names = {"collected_at": "Collected", "collected_by": "Collected by", "legal_basis": "Legal basis"}
    values = {name: value for name, value in source.to_json().items() if value and name != "url"}
    return [(names.get(name, name.capitalize()), cell(value)) for name, value in values.items()]


def _tables(card: Card) -> list[str]:
    """The tables; those of equal columns together."""
    if not card.table_count:
        return []
    lines = ["## Tables", ""]
    alike: dict[object, list[CardTable]] = {}
    for one in card.tables:
        key = one.path if one.footer is None else one.footer.columns
        alike.setdefault(key, []).append(one)
    for group in alike.values():
        lines += _alike(group)
    if card.table_count > len(card.tables):
        lines += [f"{card.table_count - len(card.tables):,} more tables are not shown.", ""]
    return lines


def _alike(group: list[CardTable]) -> list[str]:
    first = group[0]
    more = f" and {len(group) - 1:,} more of the same columns" if len(group) > 1 else ""
    lines = [f"### {cell(first.path)}{more}", ""]
    if first.footer is None:
        return [*lines, "No table that can be read.", ""]
    rows = sum(one.footer.rows for one in group if one.footer is not None)
    lines += [f"{_amount(rows, 'row')}, {_amount(len(first.footer.columns), 'column')}.", ""]
    known = [one.statistics for one in group if one.statistics is not None]
    shapes = {tuple((column.name, column.type) for column in one.columns) for one in known}
    is_known = len(known) == len(group) and len(shapes) == 1
    return [*lines, *(_statistics(_together(known)) if is_known else _columns(first.footer))]


def _together(known: list[TableStatistics]) -> TableStatistics:
    from dataver.format.table_statistics import FileStatistics
    from dataver.tables.statistics import merge
    from dataver.tables.view import view

    parts = [FileStatistics(one.rows, tuple(column.kept for column in one.columns), "") for one in known]
    return known[0] if len(known) == 1 else view(merge(parts), len(parts))


def _columns(footer: TableFooter) -> list[str]:
    shown = footer.columns[:COLUMNS_MAX]
    return [
        *table(("Column", "Type"), [(cell(name), cell(kind)) for name, kind in shown]),
        *_rest(len(footer.columns)),
    ]


def _statistics(found: TableStatistics) -> list[str]:
    rows = []
    for column in found.columns[:COLUMNS_MAX]:
        distinct = column.distinct
        about = "" if column.distinct_is_exact else "about "
        rows.append(
            (
                cell(column.name),
                cell(column.type),
                f"{column.nulls:,}",
                *("" if value is None else cell(column.spelled(value)) for value in (column.min, column.max)),
                "" if distinct is None else f"{about}{distinct:,}",
            )
        )
    return [
        *table(("Column", "Type", "Nulls", "Least", "Greatest", "Distinct"), rows),
        *_rest(len(found.columns)),
    ]


def _rest(columns: int) -> list[str]:
    return [f"{columns - COLUMNS_MAX:,} more columns are not shown.", ""] if columns > COLUMNS_MAX else []


def _splits(card: Card) -> list[str]:
    if card.splits_problem is not None:
        return ["## Splits", "", cell(card.splits_problem), ""]
    if not card.splits:
        return []
    rows = [
        (
            cell(name or "-"),
            split.kind,
            cell(", ".join(split.columns)),
            cell(", ".join(split.parts)),
            f"`{split.digest}`",
        )
        for name, split in card.splits
    ]
    return ["## Splits", "", *table(("Split", "Kind", "By", "Parts", "Digest"), rows)]


def _before(card: Card) -> list[str]:
    if not card.before:
        return []
    rows = [
        (
            version.version or "-",
            f"`{version.id}`",
            _time(version),
            cell(version.author),
            cell(version.message.strip().partition("\n")[0]),
        )
        for version in card.before
    ]
    return ["## Versions before", "", *table(("Version", "Id", "Time", "Author", "Message"), rows)]
