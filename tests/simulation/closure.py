"""All that a version is made of, walked without the collector's own trace."""

from __future__ import annotations

from dataver.format import chunk_list
from dataver.hashing import Kind
from dataver.log.state import State, VersionState
from dataver.session import Session
from dataver.tree.manifest import manifest_link, to_entry
from dataver.tree.schema import MANIFEST


def closure_of(session: Session, state: State, version: VersionState) -> tuple[dict[str, bytes], set[bytes]]:
    """The digest of each file by its path, and every digest that is needed to read them all."""
    objects = session.objects(state)
    nodes = session.nodes(state)
    files: dict[str, bytes] = {}
    needs: set[bytes] = {version.id}
    links = [manifest_link(version.manifest)]
    lists: list[bytes] = []
    while links:
        link = links.pop()
        needs.add(link.digest)
        node = nodes.load(link)
        if node.level:
            links += [MANIFEST.link(row) for row in node.rows]
            continue
        for entry in map(to_entry, node.rows):
            files[entry.path.decode()] = entry.digest
            if entry.chunks is not None:
                lists.append(entry.chunks)
            elif entry.size:
                needs.add(entry.digest)
    while lists:
        root = lists.pop()
        needs.add(root)
        level, rows = chunk_list.decode(objects.record(Kind.CHUNK_LIST, root), "a list of chunks")
        found = [row.digest for row in rows]
        if level:
            lists += found
        else:
            needs.update(found)
    return files, needs
