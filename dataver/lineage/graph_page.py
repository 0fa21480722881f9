"""A lineage as one page of HTML that needs nothing else: no network, no script, the picture as inline SVG."""

from __future__ import annotations

from dataver.lineage.drawing import DRAWN_MAX, escaped, svg
from dataver.lineage.graph import Lineage
from dataver.lineage.labels import edge_words, subtitle

__all__ = ["HEAD", "PICTURE_STYLE", "STYLE", "page", "picture"]

STYLE = """
:root { color-scheme: light dark; --text: #1c2024; --dim: #60656c; --line: #d9dce1; --paper: #ffffff;
  --card: #f6f7f9; --version: #2f6fb0; --run: #b07a00; --model: #1a7f37; --file: #6e56cf; --source: #60656c;
  --yes: #b3261e; --no: #1a7f37; --open: #8a6100; }
@media (prefers-color-scheme: dark) { :root { --text: #e6e8eb; --dim: #9aa1a9; --line: #363b42;
  --paper: #14171a; --card: #1c2024; --version: #6cacec; --run: #e0b64c; --model: #6fcf8b; --file: #b1a9ff;
  --source: #9aa1a9; --yes: #ff8a80; --no: #6fcf8b; --open: #e0b64c; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 84rem; padding: 1.5rem 1rem 3rem; background: var(--paper);
  color: var(--text); font: 16px/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0 0 .25rem; }
h2 { font-size: 1.2rem; margin: 2rem 0 .6rem; }
a { color: inherit; text-decoration-color: var(--dim); text-underline-offset: .2em; }
.dim, th { color: var(--dim); font-weight: normal; }
code { font: .85em ui-monospace, monospace; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .3rem .8rem .3rem 0; border-bottom: 1px solid var(--line);
  vertical-align: top; }
tr:target { background: var(--card); }
.wide { overflow-x: auto; }
"""
PICTURE_STYLE = """
.picture { overflow: auto; border: 1px solid var(--line); border-radius: .5rem; max-height: 85vh; }
.picture svg { display: block; }
svg text { font-family: system-ui, sans-serif; fill: var(--text); }
.title { font-size: 13px; font-weight: 600; } .sub { font-size: 11px; fill: var(--dim); }
svg .sub { fill: var(--dim); }
.box { fill: var(--card); stroke: var(--line); } .start .box { stroke: var(--text); stroke-width: 2; }
.lost .box { stroke-dasharray: 5 4; stroke: var(--yes); }
.bar { fill: var(--source); } .version .bar, .part .bar { fill: var(--version); }
.run .bar { fill: var(--run); } .model .bar { fill: var(--model); } .file .bar { fill: var(--file); }
.edge { fill: none; stroke: var(--dim); stroke-width: 1.3; } .head { fill: var(--dim); }
svg .word { font-size: 10px; fill: var(--dim); text-anchor: middle; paint-order: stroke; stroke: var(--paper);
  stroke-width: 4px; }
.key::before { content: ""; display: inline-block; width: .8em; height: .8em; margin-right: .35em;
  background: var(--c); border-radius: .15em; } .key { margin-right: 1rem; }
svg a { text-decoration: none; }
"""
HEAD = """<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">"""
_KINDS = ("source", "version", "run", "model", "file")


def page(found: Lineage) -> str:
    """The whole page: the picture, then a table of all nodes."""
    title = escaped(f"Lineage of {found.start}")
    rest = "" if found.complete else '<p class="dim">There is more than what was walked to.</p>'
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
{HEAD}
<title>{title}</title>
<style>{STYLE}{PICTURE_STYLE}</style>
</head>
<body>
<h1>Lineage of <bdi>{escaped(found.start)}</bdi></h1>
{rest}
{picture(found)}
<h2>Nodes</h2>
{_table(found)}
</body>
</html>
"""


def picture(found: Lineage) -> str:
    """The picture with its legend, as part of a page."""
    present = {facts["kind"] for facts in found.nodes.values()}
    keys = "".join(
        f'<span class="key" style="--c: var(--{kind})">{kind}</span>' for kind in _KINDS if kind in present
    )
    more = len(found.nodes) - DRAWN_MAX
    rest = f'<p class="dim">{more:,} nodes farther away are not drawn.</p>' if more > 0 else ""
    return (
        f'<p class="dim">{keys}What was there first stands left of what came of it.</p>{rest}\n'
        f'<div class="picture">{svg(found)}</div>'
    )


def _table(found: Lineage) -> str:
    into: dict[str, list[str]] = {}
    for edge in found.edges:
        line = f"{escaped(edge_words(edge, up=True))} <bdi>{escaped(edge.source)}</bdi>"
        into.setdefault(edge.target, []).append(line)
    rows = "".join(
        f'<tr id="node-{number}"><td><code><bdi>{escaped(id)}</bdi></code></td>'
        f"<td>{escaped(facts['kind'])}</td>"
        f"<td><bdi>{escaped(subtitle(facts))}</bdi></td><td>{'<br>'.join(into.get(id, []))}</td></tr>"
        for number, (id, facts) in enumerate(found.nodes.items(), 1)
    )
    head = "<tr><th>node</th><th>kind</th><th></th><th>came from</th></tr>"
    return f'<div class="wide"><table><thead>{head}</thead><tbody>{rows}</tbody></table></div>'
