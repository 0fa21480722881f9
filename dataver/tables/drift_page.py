"""A drift report as one page of HTML that needs nothing else: no network, no script, plots as inline SVG.

Every name and value comes from somebody's table, so all of them are escaped, and what does not print is
spelled out. The page says so to browsers, too: its policy lets it load nothing.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from datetime import UTC
from typing import TYPE_CHECKING

from dataver.paths import safe_spelling
from dataver.tables.criteria import short_name
from dataver.tables.drift_facts import (
    by_verdict,
    cell,
    facts,
    share_text,
    shown_measures,
    source,
    summary,
    value_text,
    verdict,
)

if TYPE_CHECKING:
    from dataver.tables.drift import ColumnDrift, DriftReport, DriftSide
    from dataver.tables.outline import Outline

PLOTS_MAX = 500
_WIDTH, _HEIGHT = 400, 110

_STYLE = """
:root { color-scheme: light dark; --text: #1c2024; --dim: #60656c; --line: #d9dce1; --paper: #ffffff;
  --card: #f6f7f9; --base: #2f6fb0; --target: #c4540f; --yes: #b3261e; --no: #1a7f37; --open: #8a6100; }
@media (prefers-color-scheme: dark) { :root { --text: #e6e8eb; --dim: #9aa1a9; --line: #363b42;
  --paper: #14171a; --card: #1c2024; --base: #6cacec; --target: #f2a25c; --yes: #ff8a80; --no: #6fcf8b;
  --open: #e0b64c; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 72rem; padding: 1.5rem 1rem 3rem; background: var(--paper);
  color: var(--text); font: 16px/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0 0 .25rem; }
h2 { font-size: 1.2rem; margin: 2.2rem 0 .6rem; }
h3 { font-size: 1rem; margin: 0; }
a { color: inherit; text-decoration-color: var(--dim); text-underline-offset: .2em; }
.verdict { font-size: 1.1rem; margin: 0 0 1.2rem; }
.dim, dt, th, figcaption { color: var(--dim); font-weight: normal; }
.sides, .plots { display: grid; gap: 1rem;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, 21rem), 1fr)); }
.card { background: var(--card); border: 1px solid var(--line); border-radius: .5rem; padding: .8rem 1rem; }
.card:target { outline: 2px solid var(--base); }
.base { border-top: 3px solid var(--base); } .target { border-top: 3px solid var(--target); }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 0 .8rem; margin: .4rem 0 0;
  font-size: .9rem; }
dd { margin: 0; }
code { font: .85em ui-monospace, monospace; }
ul.facts { list-style: none; padding: 0; margin: 0; }
ul.facts li { display: grid; grid-template-columns: 9rem 1fr; gap: .8rem; padding: .25rem 0;
  border-bottom: 1px solid var(--line); }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .3rem .8rem .3rem 0; border-bottom: 1px solid var(--line);
  vertical-align: top; }
td.number, th.number { text-align: right; }
.yes { color: var(--yes); font-weight: 600; } .no { color: var(--no); } .open { color: var(--open); }
.top { display: flex; justify-content: space-between; gap: 1rem; }
figure { margin: .6rem 0 0; }
svg { display: block; width: 100%; height: auto; }
.ends { display: flex; justify-content: space-between; gap: 1rem; font-size: .8rem; color: var(--dim); }
.bars { display: grid; grid-template-columns: minmax(4rem, 35%) 1fr max-content; gap: .2rem .6rem;
  font-size: .8rem; align-items: center; }
.bars svg { height: 1.1rem; }
.card table { font-size: .8rem; margin-top: .6rem; } .card th { white-space: nowrap; }
.fill { fill: var(--base); fill-opacity: .25; stroke: var(--base); stroke-width: 1.5; }
.stroke { fill: none; stroke: var(--target); stroke-width: 2; }
.bar-base { fill: var(--base); } .bar-target { fill: var(--target); } .axis { stroke: var(--line); }
.key::before { content: ""; display: inline-block; width: .8em; height: .8em; margin-right: .35em;
  background: var(--c); border-radius: .15em; }
.key { margin-right: 1rem; }
@media (max-width: 40rem) {
  body { padding: 1rem .6rem 2rem; } h1 { font-size: 1.3rem; }
  ul.facts li { grid-template-columns: 1fr; gap: 0; }
  .figures thead { position: absolute; clip-path: inset(50%); }
  .figures tr { display: grid; grid-template-columns: 1fr max-content; padding: .5rem 0;
    border-bottom: 1px solid var(--line); }
  .figures td { border: 0; padding: 0 .4rem 0 0; text-align: left; }
  .figures td:first-child { font-weight: 600; }
  .figures td:nth-child(2) { grid-row: 2; } .figures td:nth-child(3) { grid-row: 3; text-align: left; }
  .figures td:nth-child(4)::before { content: "threshold "; color: var(--dim); }
  .figures td:nth-child(4) { grid-row: 3; } .figures td:nth-child(5) { grid-row: 1; grid-column: 2; }
}
@media print { body { max-width: none; } .card { break-inside: avoid; } }
"""


def page(report: DriftReport) -> str:
    """The whole page."""
    columns = by_verdict(report.columns)
    anchors = {column.column: f"column-{number}" for number, column in enumerate(columns, 1)}
    title = f"Drift from {report.baseline.name} to {report.target.name}"
    plotted = columns[:PLOTS_MAX]
    cards = "\n".join(_card(column, anchors[column.column]) for column in plotted)
    rest = len(columns) - len(plotted)
    more = f'<p class="dim">{rest:,} more columns have no plot here.</p>' if rest else ""
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="generator" content="dataver {_text(report.release)}">
<title>{_text(title)}</title>
<style>{_STYLE}</style>
</head>
<body>
<header>
<h1>Drift from {_name(report.baseline.name)} to {_name(report.target.name)}</h1>
<p class="verdict {"yes" if report else "no"}">{_text(summary(report))}</p>
</header>
<section class="sides">
{_side("Baseline", "base", report.baseline)}
{_side("Target", "target", report.target)}
{_made(report)}
</section>
<section>
<h2>What changed</h2>
{_facts(report)}
</section>
<section>
<h2>Figures</h2>
{_figures(columns, anchors)}
</section>
<section>
<h2>Columns</h2>
<p class="dim"><span class="key" style="--c: var(--base)">{_name(report.baseline.name)}</span>
<span class="key" style="--c: var(--target)">{_name(report.target.name)}</span></p>
<div class="plots">
{cards}
</div>
{more}
</section>
</body>
</html>
"""


def _text(value: object) -> str:
    """Anything as text of a page: escaped, and what does not print spelled out."""
    text = str(value)
    if not text.isprintable():
        text = "".join(sign if sign.isprintable() else safe_spelling(sign) for sign in text)
    return html.escape(text)


def _name(value: object) -> str:
    """A name, whose direction of writing is its own."""
    return f"<bdi>{_text(value)}</bdi>"


def _side(title: str, style: str, side: DriftSide) -> str:
    rows = [("version", f"<code>{_text(side.id)}</code>")]
    if side.split is not None:
        rows.append(("part", f"<code>{_text(side.split)}</code>"))
    if side.path:
        rows.append(("path", _name(side.path)))
    rows += [("files", f"{side.files:,}"), ("rows", f"{side.rows:,}")]
    return f'<div class="card {style}"><h3>{title} {_name(side.name)}</h3>{_pairs(rows)}</div>'


def _made(report: DriftReport) -> str:
    time = report.time.astimezone(UTC)
    thresholds = "<br>".join(f"{_text(name)} {value:.4g}" for name, value in report.thresholds.items())
    rows = [
        ("made", f'<time datetime="{time.isoformat()}">{time:%Y-%m-%d %H:%M:%SZ}</time>'),
        ("by", f"dataver {_text(report.release)}"),
        ("figures", _text(source(report))),
        ("thresholds", thresholds),
    ]
    return f'<div class="card"><h3>Report</h3>{_pairs(rows)}</div>'


def _pairs(rows: Iterable[tuple[str, str]]) -> str:
    return "<dl>" + "".join(f"<dt>{name}</dt><dd>{value}</dd>" for name, value in rows) + "</dl>"


def _facts(report: DriftReport) -> str:
    items = [
        f'<li><span class="dim">{_text(what)}</span><span>{_name(column) if column else ""}'
        f"{': ' if column and text else ''}{_text(text)}</span></li>"
        for what, column, text in facts(report, "→")
    ]
    if not items:
        return '<p class="dim">Columns, rows, missing values, ranges and categories are the same.</p>'
    return f'<ul class="facts">{"".join(items)}</ul>'


def _figures(columns: Sequence[ColumnDrift], anchors: dict[str, str]) -> str:
    head = "<th>column</th><th>metric</th><th>value</th><th class=number>threshold</th><th>drift</th>"
    rows = []
    for number, column in enumerate(columns):
        name = _name(column.column)
        if number < PLOTS_MAX:
            name = f'<a href="#{anchors[column.column]}">{name}</a>'
        cells = [
            (short_name(part.metric), value_text(part), f"{part.threshold:.4g}", verdict(part))
            for part in shown_measures(column)
        ] or [("", column.reason, "", "")]
        for metric, value, threshold, word in cells:
            rows.append(
                f"<tr><td>{name}</td><td>{_text(metric)}</td><td>{_text(value)}</td>"
                f'<td class="number">{_text(threshold)}</td>'
                f'<td class="{word.rstrip("?")}">{_text(word)}</td></tr>'
            )
    return f'<table class="figures"><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table>'


def _card(column: ColumnDrift, anchor: str) -> str:
    word = {True: "drifted", False: "no drift", None: "open"}[column.drifted]
    style = {True: "yes", False: "no", None: "open"}[column.drifted]
    types = dict.fromkeys((column.baseline.type, column.target.type))
    measures = "<br>".join(
        f"{_text(short_name(part.metric))} {_text(value_text(part))}" for part in shown_measures(column)
    ) or _text(column.reason)
    return f"""<article class="card" id="{anchor}">
<div class="top"><h3>{_name(column.column)}</h3><span class="{style}">{word}</span></div>
<div class="dim">{_text(" → ".join(types))}</div>
<div>{measures}</div>
{_plot(column)}
{_both(column)}
</article>"""


def _plot(column: ColumnDrift) -> str:
    shape = column.outline
    if shape is None:
        return ""
    if shape.ends is None:
        return _bars(shape)
    highest = max(*shape.baseline, *shape.target, 1e-12)
    lines = [_steps([share / highest for share in side]) for side in (shape.baseline, shape.target)]
    label = _text(f"Distribution of {column.column} on both sides")
    note = ""
    if max(shape.outside) > 0:
        outside = " and ".join(map(share_text, shape.outside))
        note = f"<figcaption class=ends>beyond the plot: {outside}</figcaption>"
    return f"""<figure>
<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{label}">
<path class="fill" d="M0 {_HEIGHT - 1}{lines[0]}V{_HEIGHT - 1}Z"/>
<path class="stroke" d="M0 {_HEIGHT - 1}{lines[1]}V{_HEIGHT - 1}"/>
<line class="axis" x1="0" y1="{_HEIGHT - 0.5}" x2="{_WIDTH}" y2="{_HEIGHT - 0.5}"/>
</svg>
<div class="ends"><span>{_text(cell(shape.ends[0]))}</span><span>{_text(cell(shape.ends[1]))}</span></div>
{note}</figure>"""


def _steps(heights: Sequence[float]) -> str:
    """An outline of bars, from the left end of the axis to its right end."""
    step = _WIDTH / len(heights)
    return "".join(
        f"V{(_HEIGHT - 1) - (_HEIGHT - 4) * height:.1f}H{step * number:.1f}"
        for number, height in enumerate(heights, 1)
    )


def _bars(shape: Outline) -> str:
    rows = list(zip(shape.labels, shape.baseline, shape.target, strict=True))
    highest = max(*shape.baseline, *shape.target, *shape.outside, 1e-12)
    if max(shape.outside) > 0:
        rows.append(("all others", *shape.outside))
    parts = []
    for number, (label, a, b) in enumerate(rows):
        name = f"<em>{label}</em>" if number == len(shape.labels) else _name(cell(label))
        shares = f"{share_text(a)} → {share_text(b)}"
        parts.append(
            f'<span>{name}</span><svg viewBox="0 0 100 10" preserveAspectRatio="none" role="img" '
            f'aria-label="{_text(shares)}">'
            f'<rect class="bar-base" y=".5" height="4" width="{100 * a / highest:.2f}"/>'
            f'<rect class="bar-target" y="5.5" height="4" width="{100 * b / highest:.2f}"/></svg>'
            f"<span class=dim>{_text(shares)}</span>"
        )
    return f'<figure class="bars">{"".join(parts)}</figure>'


def _both(column: ColumnDrift) -> str:
    a, b = column.baseline, column.target
    rows = [
        ("values", f"{a.rows - a.nulls:,}", f"{b.rows - b.nulls:,}"),
        ("nulls", share_text(a.share(a.nulls)), share_text(b.share(b.nulls))),
    ]
    for what, count in (("NaN", "nan"), ("infinite", "infinities")):
        if getattr(a, count) or getattr(b, count):
            shares = [share_text(side.share(getattr(side, count))) for side in (a, b)]
            rows.append((what, shares[0], shares[1]))
    if column.kind == "numbers":
        rows += [("least", cell(a.min), cell(b.min)), ("greatest", cell(a.max), cell(b.max))]
    body = "".join(
        f"<tr><th>{name}</th><td>{_text(left)}</td><td>{_text(right)}</td></tr>" for name, left, right in rows
    )
    head = "<tr><th></th><th>baseline</th><th>target</th></tr>"
    return f"<table><thead>{head}</thead><tbody>{body}</tbody></table>"
