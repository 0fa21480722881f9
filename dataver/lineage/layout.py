"""Where the nodes of a graph stand in a picture: in layers from what was there first to what came of it.

A node is one layer right of the last of those it came from. Edges over several layers get a place in
each between, so that they go past nodes and not behind them. In a layer, the order is that of the
middle of the neighbours, taken from both sides in turn.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable, Sequence

from dataver.values import dataclass

__all__ = ["Layout", "lay_out"]

SWEEPS = 6
_BEND_ROWS = 0.45
"""So much of a row an edge takes in a layer that it crosses."""


@dataclass(frozen=True, slots=True)
class Layout:
    """`places` are layer and row of each node; `routes` those of the bends of each edge, ends included."""

    places: dict[str, tuple[int, float]]
    routes: dict[tuple[str, str], list[tuple[int, float]]]
    layers: int
    rows: float


def lay_out(nodes: Sequence[str], edges: Iterable[tuple[str, str]]) -> Layout:
    """Places for all nodes. Edges between others, and of a node to itself, are left out; circles are cut."""
    present = set(nodes)
    kept = [edge for edge in dict.fromkeys(edges) if edge[0] != edge[1] and set(edge) <= present]
    layer = _layers(nodes, kept)
    order: list[list[object]] = [[] for _ in range(max(layer.values(), default=-1) + 1)]
    for node in nodes:
        order[layer[node]].append(node)
    before: dict[object, list[object]] = defaultdict(list)
    after: dict[object, list[object]] = defaultdict(list)
    chains: dict[tuple[str, str], list[object]] = {}
    for source, target in kept:
        left, right = (source, target) if layer[source] <= layer[target] else (target, source)
        chain: list[object] = [left]
        for number in range(layer[left] + 1, layer[right]):
            bend = (source, target, number)
            order[number].append(bend)
            chain.append(bend)
        chain.append(right)
        for one, two in itertools.pairwise(chain):
            after[one].append(two)
            before[two].append(one)
        chains[source, target] = chain if left == source else chain[::-1]
    _sort(order, before, after)
    return _placed(order, chains)


def _layers(nodes: Sequence[str], edges: Sequence[tuple[str, str]]) -> dict[str, int]:
    """The longest way to each node; where only circles are left, the first of their nodes goes on alone."""
    after: dict[str, list[str]] = defaultdict(list)
    waits = dict.fromkeys(nodes, 0)
    for source, target in edges:
        after[source].append(target)
        waits[target] += 1
    layer = dict.fromkeys(nodes, 0)
    ready = [node for node in nodes if not waits[node]]
    left = dict.fromkeys(nodes)
    while left:
        if not ready:
            ready = [next(iter(left))]
        node = ready.pop()
        if node not in left:
            continue
        del left[node]
        for target in after[node]:
            if target in left:
                layer[target] = max(layer[target], layer[node] + 1)
                waits[target] -= 1
                if not waits[target]:
                    ready.append(target)
    return layer


def _sort(
    order: list[list[object]], before: dict[object, list[object]], after: dict[object, list[object]]
) -> None:
    for sweep in range(SWEEPS):
        down = sweep % 2 == 0
        for number in range(len(order)) if down else reversed(range(len(order))):
            neighbours = before if down else after
            beside = number - 1 if down else number + 1
            if not 0 <= beside < len(order):
                continue
            at = {node: place for place, node in enumerate(order[beside])}
            own = {node: place for place, node in enumerate(order[number])}
            middle = {
                node: _middle([at[other] for other in neighbours[node] if other in at], own[node])
                for node in order[number]
            }
            order[number].sort(key=lambda node, middle=middle, own=own: (middle[node], own[node]))  # type: ignore[misc]


def _middle(places: list[int], own: int) -> float:
    return sum(places) / len(places) if places else float(own)


def _placed(order: list[list[object]], chains: dict[tuple[str, str], list[object]]) -> Layout:
    heights = [sum(_height(node) for node in layer) for layer in order]
    tallest = max(heights, default=0.0)
    at: dict[object, tuple[int, float]] = {}
    for number, layer in enumerate(order):
        row = (tallest - heights[number]) / 2
        for node in layer:
            at[node] = number, row + _height(node) / 2
            row += _height(node)
    places = {node: place for node, place in at.items() if isinstance(node, str)}
    routes = {edge: [at[node] for node in chain] for edge, chain in chains.items()}
    return Layout(places, routes, len(order), tallest)


def _height(node: object) -> float:
    return 1.0 if isinstance(node, str) else _BEND_ROWS
