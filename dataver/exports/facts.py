"""What the exports say of a version: only what never changes, so that a version always gives the same bytes.

Tags, uses, drift and where the repository is are left out: they are others tomorrow.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from dataver.cards.card import written_of
from dataver.cards.fields import NOTHING, Written, value_text
from dataver.errors import BadInputError, DamagedError, DataverError, RefNotFoundError
from dataver.format.provenance import Source
from dataver.history import to_time
from dataver.lineage.audit_data import Input
from dataver.lineage.masking import mask_text
from dataver.origins import origins, quick_origins
from dataver.results import Json, rfc3339
from dataver.values import dataclass

if TYPE_CHECKING:
    from dataver.lineage.audit import AuditReport
    from dataver.repository import Repository
    from dataver.version import Version

__all__ = [
    "URN",
    "VersionFacts",
    "document_bytes",
    "facts_of",
    "facts_of_input",
    "filled",
    "git_url",
    "iri",
    "masked",
    "named_uuid",
    "plain_text",
    "subject_of",
    "traced",
]

URN = "urn:dataver:"
"""What the names of dataver's own terms begin with."""
_CHARACTERS = r"[A-Za-z0-9%!$&'()*+,;=~._@:/-]"
_URI = re.compile(
    rf"[A-Za-z][A-Za-z0-9+.-]*:(?://(?:[A-Za-z0-9%!$&'()*+,;=~._:-]*@)?[A-Za-z0-9%!$&'()*+,;=~._-]*(?::[0-9]*)?"
    rf"(?=[/?#]|$))?(?!//){_CHARACTERS}*(?:\?(?:{_CHARACTERS}|\?)*)?(?:#(?:{_CHARACTERS}|\?)*)?"
)
UNWRITTEN = Written(None, NOTHING, {}, "")


@dataclass(frozen=True, slots=True)
class VersionFacts:
    """A version, as its record and its files say. `label` is `vN`, or empty off `main`."""

    repository: str
    dataset: str
    id: str
    tree: str = ""
    label: str = ""
    time: str = ""
    author: str = ""
    message: str = ""
    files: int = 0
    bytes: int = 0
    parents: tuple[str, ...] = ()
    sources: tuple[Source, ...] = ()
    written: Written = UNWRITTEN

    @property
    def name(self) -> str:
        """`DATASET@vN`, or `DATASET@<64 hex digits>`."""
        return f"{self.dataset}@{self.label or self.id}"

    @property
    def url(self) -> str:
        """Where fsspec finds the files, given the repository."""
        return iri(f"dataver://{self.dataset}@{self.id}")

    def field(self, name: str) -> str:
        """A field of the card as text; empty where nobody filled it in."""
        value = self.written.fields.get(name)
        return "" if value is None else masked(value_text(value))

    def other(self, *names: str) -> str:
        """The first of these fields that the card has beside those that every card should have, as text."""
        folded = {key.strip().lower().replace("-", "_"): value for key, value in self.written.other.items()}
        found = [folded[name.lower()] for name in names if name.lower() in folded]
        return masked(value_text(found[0])) if found else ""

    @property
    def licence(self) -> str:
        """That of the card, else what all sources say, if they say the same."""
        said = {source.licence for source in self.sources}
        return self.field("licence") or (said.pop() if len(said) == 1 else "")

    @property
    def description(self) -> str:
        """What the card says first of the data, else the message of the version, else its name."""
        paragraphs = (part.strip() for part in self.written.text.split("\n\n"))
        texts = [part for part in paragraphs if part and not part.startswith(("#", "```", "<!--", "|"))]
        return self.other("description") or masked(texts[0] if texts else "") or self.message or self.name


def facts_of(version: Version, *, quick: bool = False) -> VersionFacts:
    """The facts of a version that is here. `quick`: of a long history the oldest versions are not asked for
    sources."""
    session = version.repository.session
    found = session.resolve(f"{version.dataset_name}@{version.id}")
    state, record = found.version, session.record(found.version.id)
    said = quick_origins(session, found) if quick else origins(session, found)
    return VersionFacts(
        repository=version.repository.id,
        dataset=found.name,
        id=str(state.id),
        tree=str(record.tree),
        label=f"v{state.number}" if state.number else "",
        time=rfc3339(to_time(record.time_us)),
        author=record.author,
        message=masked(record.message),
        files=state.files,
        bytes=state.size_bytes,
        parents=tuple(map(str, record.parents)),
        sources=said.sources,
        written=written_of(version),
    )


def facts_of_input(found: Input) -> VersionFacts:
    """The facts of what a run read: what was recorded of it, where the version is not at hand."""
    if found.place is not None and found.node.state == "here":
        try:
            return facts_of(found.place.repository.version(found.ref))
        except DataverError:
            pass  # The audit says what is wrong with it.
    claim, node = found.claim, found.node
    label = f"v{node.number}" if node.number else ""
    return VersionFacts(claim.repository, node.name, claim.version, claim.tree, label)


def subject_of(repository: Repository, text: str) -> Version | AuditReport:
    """The version that a text names, else the audit of the model or run that it does.

    A name of a dataset means that; `model:NAME` and `run:ID` mean a model and a run.
    """
    if not text.startswith(("model:", "run:")):
        try:
            return repository.version(text)
        except (RefNotFoundError, BadInputError) as error:
            report = repository.audit(text)
            if report.record is None and not report.inputs:
                raise error from None
            return traced(report)
    return traced(repository.audit(text))


def traced(report: AuditReport) -> AuditReport:
    """The audit, if nothing of it is missing or changed: of anything else no document is made."""
    if report.broken:
        path, reason = report.broken[0]
        raise DamagedError(
            f"{report.name} is not what was recorded: {path}: {reason}; `dataver audit` says all"
        )
    if report.record is None:
        tried = "; ".join(report.subject.tried)
        raise RefNotFoundError(f"no run of {report.asked} is recorded here: {tried}")
    return report


def masked(text: str) -> str:
    """A text without what looks like a secret; the same in every environment."""
    return mask_text(text, ())


def plain_text(value: Any) -> str:
    """A value as text: a text as it is, anything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def iri(text: str) -> str:
    """A text as an absolute URI, with what none may hold escaped; empty where it is none."""
    escaped = re.sub("%(?![0-9A-Fa-f]{2})", "%25", quote(text, safe="%/:?#@!$&'()*+,;=~-._"))
    return escaped if _URI.fullmatch(escaped) else ""


def git_url(url: str) -> str:
    """A remote of git as a URI, empty where it is none: `git@host:path` is short for `ssh://git@host/path`."""
    place, colon, path = url.partition(":")
    short = colon and "/" not in place and not path.startswith("/")
    return iri(f"ssh://{place}/{path}" if short else url)


def filled(document: Mapping[str, Any]) -> Json:
    """The document without what is empty: None, empty texts, lists and objects; 0 and False stay."""
    return {
        key: value
        for key, value in document.items()
        if value is not None and not (isinstance(value, str | list | dict | tuple) and not value)
    }


def named_uuid(*names: str) -> str:
    """A UUID that these names always have."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, URN + "\n".join(names)))


def document_bytes(document: Any) -> bytes:
    """JSON in one spelling, ASCII, with lines for people."""
    return json.dumps(document, indent=2, ensure_ascii=True).encode() + b"\n"
