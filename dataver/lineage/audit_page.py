"""An audit as one page of HTML that needs nothing else: no network, no script, the lineage as inline SVG."""

from __future__ import annotations

from dataver.lineage.audit import AuditReport
from dataver.lineage.audit_sections import Section, sections, verdict
from dataver.lineage.drawing import escaped
from dataver.lineage.graph_page import HEAD, PICTURE_STYLE, STYLE, picture

__all__ = ["page"]

_STYLE = """
.verdict { font-size: 1.1rem; margin: 0 0 1.2rem; font-weight: 600; }
.good { color: var(--no); } .bad { color: var(--yes); font-weight: 600; }
.pre { white-space: pre-wrap; }
.tablehead td { color: var(--dim); }
@media print { body { max-width: none; } .picture { max-height: none; } }
"""


def page(report: AuditReport) -> str:
    """The whole page."""
    title = escaped(f"Audit of {report.name}")
    parts = "\n".join(_section(section) for section in sections(report) if section.title != "VERDICT")
    place = report.place.repository
    drawn = "" if report.lineage is None else f"<h2>Picture of the lineage</h2>\n{picture(report.lineage)}"
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
{HEAD}
<title>{title}</title>
<style>{STYLE}{PICTURE_STYLE}{_STYLE}</style>
</head>
<body>
<h1>Audit of <bdi>{escaped(report.name)}</bdi></h1>
<p class="verdict {"good" if report else "bad"}">{escaped(verdict(report))}</p>
<p class="dim">Repository {escaped(place.id)} at <bdi>{escaped(place.url)}</bdi></p>
{parts}
{drawn}
</body>
</html>
"""


def _section(section: Section) -> str:
    wide = max(len(row) for row in section.rows)
    rows = []
    for cells, state in zip(section.rows, section.states, strict=True):
        style = {"head": "tablehead"}.get(state, state)
        last = wide - len(cells)
        span = f' colspan="{last + 1}"' if last else ""
        *before, end = [f"<bdi>{escaped(cell)}</bdi>" for cell in cells]
        inner = "".join(f"<td>{cell}</td>" for cell in before) + f'<td class="pre"{span}>{end}</td>'
        rows.append(f'<tr class="{style}">{inner}</tr>')
    heading = escaped(section.title.capitalize())
    return f'<h2>{heading}</h2><div class="wide"><table><tbody>{"".join(rows)}</tbody></table></div>'
