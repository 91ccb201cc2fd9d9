"""The documents of a scope: each version stays as it was saved; a newer one, or an older one saved anew, follows."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, LiteralString

from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from contracts.configuration import Change, Diff, DocumentAsked, DocumentVersion, DocumentVersions, Group, RollbackAsked
from contracts.overlay import GROUP, Fault, Overlay, OverlayError, canonical, check, leaves
from functions.config.effective import lock, of_scope
from functions.config.preconditions import Precondition, RefusedError
from functions.pages import Bigint, Text, decode, encode
from functions.store import Connection

#: Every agent gets it, and keeps it: no document of a scope has more bytes in canonical form.
MAX_BYTES = 65_536


class NoVersionError(RefusedError):
    """There is no such scope, or no such version in it."""

    status = HTTPStatus.NOT_FOUND


class UnderwayError(RefusedError):
    """A release is on its way in the scope: what is live there changes by it alone."""

    status = HTTPStatus.CONFLICT


_VERSIONS: LiteralString = """
    select d.scope, d.version, d.revision, encode(d.sha256, 'hex') as sha256, d.author, d.comment,
        d.created_at, d.activated_at, d.version is not distinct from l.version as live,
        d.selector, d.priority, d.body as document
    from store.document d
    left join lateral (
        select max(a.version) as version from store.document a where a.scope = d.scope and a.activated_at is not null
    ) as l on true
"""

_NEWEST: LiteralString = "where d.scope = %s order by d.version desc limit 1"

_ONE: LiteralString = "where d.scope = %s and d.version = %s"

_PAGE: LiteralString = "where d.scope = %s and d.version < %s order by d.version desc limit %s"

_NEWEST_AND_LIVE: LiteralString = """
    where (d.scope collate "C", -d.version) > (%s, -%s)
        and (
            d.version = l.version
            or d.version = (select max(n.version) from store.document n where n.scope = d.scope)
        )
    order by d.scope collate "C", d.version desc
    limit %s
"""

_SAVE: LiteralString = """
    insert into store.document (scope, version, body, sha256, author, comment, selector, priority, activated_at)
    values (%(scope)s, %(version)s, %(body)s, %(sha256)s, %(author)s, %(comment)s, %(selector)s, %(priority)s,
        case when %(activate)s then now() end)
"""

#: Before the first version of a scope there is nothing.
_NOTHING, _NEWER_THAN_ALL = 0, 2**63 - 1


def scopes(connection: Connection, limit: int, cursor: str | None) -> DocumentVersions:
    """One page of what there is: of every scope the newest version, and the live one where that is another.

    Raises:
        CursorError: the cursor is not of this route.
    """
    after = decode(cursor, Text, Bigint) if cursor else ("", _NEWER_THAN_ALL)
    found = _read(connection, _NEWEST_AND_LIVE, *after, limit + 1)
    following = encode((found[limit - 1].scope, found[limit - 1].version)) if len(found) > limit else None
    return DocumentVersions(items=found[:limit], next=following)


def versions(connection: Connection, scope: str, limit: int, cursor: str | None) -> DocumentVersions:
    """One page of a scope's versions, the newest first.

    Raises:
        CursorError: the cursor is not of this route.
        NoVersionError: the scope has none.
    """
    (before,) = decode(cursor, Bigint) if cursor else (_NEWER_THAN_ALL,)
    found = _read(connection, _PAGE, scope, before, limit + 1)
    if not found and cursor is None:
        raise _no_scope(scope)
    following = encode((found[limit - 1].version,)) if len(found) > limit else None
    return DocumentVersions(items=found[:limit], next=following)


def newest(connection: Connection, scope: str) -> DocumentVersion:
    """The newest version of a scope, live or not.

    Raises:
        NoVersionError: the scope has none.
    """
    found = _newest(connection, scope)
    if found is None:
        raise _no_scope(scope)
    return found


def version(connection: Connection, scope: str, number: int) -> DocumentVersion:
    """One version of a scope.

    Raises:
        NoVersionError: there is no such version.
    """
    found = _read(connection, _ONE, scope, number)
    if not found:
        last = newest(connection, scope).version
        raise NoVersionError(f"{scope} has no version {number}; its newest is {last}")
    return found[0]


def diff(connection: Connection, scope: str, from_version: int | None, to_version: int | None) -> Diff:
    """What differs between two versions, a group's selector and priority included; version 0 says nothing.

    Unless told otherwise it is from the live version, or from the one before that where it is the other side, to the
    newest.

    Raises:
        NoVersionError: there is no such version.
    """
    to = newest(connection, scope) if to_version is None else version(connection, scope, to_version)
    if from_version is None:
        live = of_scope(connection, scope).live
        from_version = live.version if live else _NOTHING
        if from_version == to.version:
            from_version = to.version - 1
    before = _said(version(connection, scope, from_version)) if from_version else {}
    after = _said(to)
    return Diff(
        scope=scope,
        from_version=from_version,
        to_version=to.version,
        changes=[
            Change(key=key, before=before.get(key), after=after.get(key))
            for key in sorted(before.keys() | after.keys())
            if key not in before or key not in after or before[key] != after[key]
        ],
    )


def save(
    connection: Connection, scope: str, asked: DocumentAsked, precondition: Precondition, author: str
) -> DocumentVersion:
    """Save a new version, live at once unless it is to wait for a release. A group keeps its selector if none is said.

    Raises:
        OverlayError: naming everything that is wrong with the document.
        NotSeenError, UnconditionalError: the precondition does not hold.
        UnderwayError: it is to be live, and a release is on its way.
    """
    faults = list(look(asked.document))
    lock(connection, scope)
    before = _newest(connection, scope)
    group = asked.group or (before.group if before else None)
    faults += _faults_of_group(scope, asked.group, group)
    if faults:
        raise OverlayError(faults)
    precondition.check(scope, before)
    if asked.activate:
        _refuse_underway(connection, scope)
    number = before.version + 1 if before else 1
    return _save(connection, scope, number, asked.document, group, author, asked.comment, activate=asked.activate)


def roll_back(
    connection: Connection, scope: str, asked: RollbackAsked, precondition: Precondition, author: str
) -> DocumentVersion:
    """Save an earlier version anew, with its selector and priority, live at once.

    Raises:
        NoVersionError: there is no such version.
        OverlayError: it is not what agents of today would take.
        NotSeenError, UnconditionalError: the precondition does not hold.
        UnderwayError: a release is on its way.
    """
    lock(connection, scope)
    before = newest(connection, scope)
    precondition.check(scope, before)
    earlier = version(connection, scope, asked.version)
    check(earlier.document)
    _refuse_underway(connection, scope)
    comment = asked.comment or f"version {earlier.version} again"
    return _save(connection, scope, before.version + 1, earlier.document, earlier.group, author, comment, activate=True)


def look(document: Overlay) -> Sequence[Fault]:
    """Everything that is wrong with a document, whatever its scope; nothing: it could be saved."""
    try:
        check(document)
        text = canonical(document).encode()
    except OverlayError as error:
        return error.faults
    except UnicodeEncodeError:
        return [Fault("", "half of a surrogate pair stands in it, which is no text")]
    if len(text) > MAX_BYTES:
        return [Fault("", f"the document has {len(text):,} bytes; {MAX_BYTES:,} are allowed")]
    return [Fault(key, "the character NUL stands in it") for key, said in leaves(document).items() if _has_nul(said)]


def _has_nul(said: object) -> bool:
    return any("\0" in text for text in (said if isinstance(said, list) else [said]) if isinstance(text, str))


def _faults_of_group(scope: str, asked: Group | None, group: Group | None) -> list[Fault]:
    if scope.startswith(GROUP):
        mend = 'a group needs its selector, such as {"selector": {"environment": "production"}}'
        return [] if group else [Fault("group", mend)]
    return [Fault("group", f"only a scope {GROUP}NAME selects agents by their labels, not {scope}")] if asked else []


def _refuse_underway(connection: Connection, scope: str) -> None:
    release = of_scope(connection, scope).release
    if release:
        raise UnderwayError(
            f"release {release.id} is on its way in {scope}, in stage {release.stage + 1} of {len(release.stages)}; "
            "abort it, wait for its end, or save a draft (activate: false)"
        )


def _save(
    connection: Connection,
    scope: str,
    number: int,
    document: Overlay,
    group: Group | None,
    author: str,
    comment: str,
    *,
    activate: bool,
) -> DocumentVersion:
    text = canonical(document)
    connection.execute(
        _SAVE,
        {
            "scope": scope,
            "version": number,
            "body": text,
            "sha256": hashlib.sha256(text.encode()).digest(),
            "author": author,
            "comment": comment,
            "selector": Jsonb(group.selector) if group else None,
            "priority": group.priority if group else None,
            "activate": activate,
        },
    )
    return version(connection, scope, number)


def _newest(connection: Connection, scope: str) -> DocumentVersion | None:
    return next(iter(_read(connection, _NEWEST, scope)), None)


def _read(connection: Connection, which: LiteralString, *parameters: object) -> list[DocumentVersion]:
    with connection.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(_VERSIONS + which, parameters).fetchall()
    return [DocumentVersion(**row, group=_group(row["selector"], row["priority"])) for row in rows]


def _group(selector: dict[str, str] | None, priority: int | None) -> Group | None:
    if selector is None:
        return None
    return Group(selector=selector) if priority is None else Group(selector=selector, priority=priority)


def _said(saved: DocumentVersion) -> dict[str, Any]:
    group = {"group": saved.group.model_dump()} if saved.group else {}
    return leaves(group) | leaves(saved.document)


def _no_scope(scope: str) -> NoVersionError:
    return NoVersionError(f"{scope} has no version yet")
