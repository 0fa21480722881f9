"""Croissant 1.0: a version's files with their SHA-256, its tables as record sets, and what its card says.

Every byte is read, as Croissant knows a file by its SHA-256. Where the files are is relative to the
document, so that it belongs at the root of a checkout, or below a URL at which they are served.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from dataver.errors import BadInputError
from dataver.exports.croissant_tables import Table, record_set, tables_of
from dataver.exports.cyclonedx import spdx_id
from dataver.exports.facts import VersionFacts, facts_of, filled, iri, masked
from dataver.progress import Progress, Silent
from dataver.results import FileEntry, Json

if TYPE_CHECKING:
    from dataver.version import Version

__all__ = ["CONTEXT", "croissant"]

CONTEXT: Json = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileObject": "cr:fileObject",
    "fileProperty": "cr:fileProperty",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
RAI = {
    "collection": "rai:dataCollection",
    "preparation": "rai:dataPreprocessingProtocol",
    "known_limits": "rai:dataLimitations",
    "intended_use": "rai:dataUseCases",
    "annotators": "rai:annotatorDemographics",
    "personal_data": "rai:personalSensitiveInformation",
    "update_mechanism": "rai:dataReleaseMaintenancePlan",
}
"""What Croissant's terms for responsible AI call the fields of a card."""
MANY = (
    "rai:dataLimitations",
    "rai:dataUseCases",
    "rai:annotatorDemographics",
    "rai:personalSensitiveInformation",
)
FORMATS = {
    "arrow": "application/vnd.apache.arrow.file", "avro": "application/avro", "bz2": "application/x-bzip2",
    "csv": "text/csv", "flac": "audio/flac", "gif": "image/gif", "gz": "application/gzip",
    "htm": "text/html", "html": "text/html", "jpeg": "image/jpeg", "jpg": "image/jpeg",
    "json": "application/json", "jsonl": "application/jsonlines", "md": "text/markdown",
    "mp3": "audio/mpeg", "mp4": "video/mp4", "ndjson": "application/jsonlines",
    "orc": "application/vnd.apache.orc", "parq": "application/x-parquet", "parquet": "application/x-parquet",
    "pdf": "application/pdf", "png": "image/png", "pq": "application/x-parquet", "svg": "image/svg+xml",
    "tar": "application/x-tar", "tif": "image/tiff", "tiff": "image/tiff", "toml": "application/toml",
    "tsv": "text/tab-separated-values", "txt": "text/plain", "wav": "audio/wav", "webp": "image/webp",
    "xml": "application/xml", "yaml": "application/yaml", "yml": "application/yaml", "zip": "application/zip",
    "zst": "application/zstd",
}  # fmt: skip
_AUTHOR = re.compile(r"(?P<name>[^<>]*\S)\s*<(?P<email>[^<>\s]+@[^<>\s]+)>")


def croissant(version: Version, base_url: str = "", progress: Progress | None = None) -> Json:
    """The document. `base_url` is where the files are served, each by its path; empty: beside the document.

    Tables of one kind in one folder are one record set; with `base_url` each is one of its own, as readers
    find the files of a set on disk alone. `BadInputError` for a `base_url` that is no URL.
    """
    if base_url and not (iri(base_url) == base_url and base_url.startswith(("http://", "https://"))):
        raise BadInputError(f"{base_url[:200]!a} is no URL that starts with http:// or https://")
    facts = facts_of(version)
    files = [entry for entry in version.files() if entry.kind in ("file", "reference")]
    tables = list(tables_of(version, {entry.path for entry in files}, each=bool(base_url)))
    objects = list(_file_objects(version, files, base_url, progress or Silent()))
    sets = [table.file_set() for table in tables if len(table.paths) > 1]
    return filled(
        {
            "@context": CONTEXT,
            "@type": "sc:Dataset",
            "conformsTo": ["http://mlcommons.org/croissant/1.0", *_rai_conformance(facts)],
            **_about(facts),
            "distribution": [*objects, *sets],
            "recordSet": _record_sets(tables),
        }
    )


def _record_sets(tables: Iterable[Table]) -> list[Json]:
    return [found for table in tables if (found := record_set(table)) is not None]


def _rai_conformance(facts: VersionFacts) -> list[str]:
    return ["http://mlcommons.org/croissant/RAI/1.0"] if any(map(facts.field, RAI)) else []


def _about(facts: VersionFacts) -> Json:
    """What the dataset is: from its card, its record and its sources."""
    known = spdx_id(facts.licence)
    rai = {term: facts.field(name) for name, term in RAI.items()}
    return {
        "name": facts.dataset,
        "description": facts.description,
        "url": iri(facts.other("url", "homepage", "website")) or facts.url,
        "identifier": facts.id,
        # A version may change anything, so that its number is that of a major release.
        "version": f"{facts.label[1:]}.0.0" if facts.label else f"0.0.0+{facts.id}",
        "datePublished": facts.time,
        "license": f"https://spdx.org/licenses/{known}.html" if known else facts.licence,
        "creator": _creator(facts),
        "citeAs": facts.other("citeAs", "cite_as", "citation", "sc:citation") or _citation(facts),
        "keywords": _keywords(facts),
        "isBasedOn": _origins(facts),
        **{term: [text] if text and term in MANY else text for term, text in rai.items()},
    }


def _origins(facts: VersionFacts) -> list[str]:
    """The URLs of sources, and of the versions that it was made from."""
    urls = [source.url for source in facts.sources]
    urls += [f"dataver://{each.dataset}@{each.id}" for each in facts.derived_from]
    return list(dict.fromkeys(filter(None, map(iri, urls))))


def _keywords(facts: VersionFacts) -> list[str]:
    found: Any = facts.written.other.get("keywords") or facts.written.other.get("tags")
    texts = found if isinstance(found, list) else [found]
    return [masked(text) for text in texts if isinstance(text, str) and text]


def _creator(facts: VersionFacts) -> Json:
    owner = facts.field("owner")
    if owner:
        return {"@type": "sc:Organization", "name": owner}
    parts = _AUTHOR.fullmatch(facts.author)
    if parts is None:
        return {"@type": "sc:Person", "name": facts.author}
    return {"@type": "sc:Person", "name": parts["name"].strip(), "email": parts["email"]}


def _citation(facts: VersionFacts) -> str:
    return f"{_creator(facts)['name']} ({facts.time[:4]}). {facts.name}. {facts.id}"


def _file_objects(
    version: Version, files: list[FileEntry], base_url: str, progress: Progress
) -> Iterator[Json]:
    progress.begin("hashing", len(files), sum(entry.size for entry in files))
    try:
        for entry in files:
            digest = _Hasher()
            version.copy(entry.path, digest, lambda size: progress.advance(size_bytes=size))
            progress.advance(1)
            yield {
                "@type": "cr:FileObject",
                "@id": f"file/{quote(entry.path)}",
                "name": entry.path,
                "contentUrl": f"{base_url.rstrip('/')}/{quote(entry.path)}" if base_url else entry.path,
                "contentSize": f"{entry.size} B",
                "encodingFormat": FORMATS.get(_suffix(entry.path), "application/octet-stream"),
                "sha256": digest.sha256.hexdigest(),
            }
    finally:
        progress.end()


class _Hasher:
    """Takes bytes as a file does."""

    def __init__(self) -> None:
        self.sha256 = hashlib.sha256()

    def write(self, data: Any, /) -> None:
        """Hash all of it."""
        self.sha256.update(data)


def _suffix(path: str) -> str:
    name, dot, suffix = path.rpartition("/")[2].rpartition(".")
    return suffix.lower() if name and dot else ""
