"""Nobody undoes what they have not seen: not another operator's version, and not a release on its way."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from contracts.configuration import DocumentAsked
from functions.config import documents
from functions.config.documents import UnderwayError
from functions.config.effective import lock
from functions.config.preconditions import NotSeenError, Precondition
from functions.store import Connection, Store
from tests.functions.config.api import PRODUCTION, ask, begin_release, save, somebody_waits, told
from tests.functions.events import problem

pytestmark = pytest.mark.usefixtures("deployed")

FLEET = "/v1/documents/fleet"


def test_who_has_not_seen_the_newest_version_does_not_save() -> None:
    saved = save("fleet", {})
    for headers in ({"if-match": '"7"'}, {"if-match": 'W/"1"'}, {"if-match": "1"}, {"if-none-match": "*"}):
        status, detail = problem(ask("PUT", FLEET, {"document": {}}, headers))
        assert status == 412
        assert detail.startswith(f"fleet has version 1, by ann at {saved['created_at'][:19]}Z; ")
    status, detail = problem(ask("PUT", FLEET, {"document": {}}))
    assert (status, 'send If-Match: "1"' in detail) == (428, True)
    status, detail = problem(ask("PUT", FLEET, {"document": {}}, {"if-none-match": '"1"'}))
    assert status == 428
    for headers in ({"if-match": '"1"'}, {"if-match": '"9", "2"'}, {"if-match": "*"}):
        assert ask("PUT", FLEET, {"document": {}}, headers)["statusCode"] == 200


def test_a_scope_without_a_version_is_begun_by_who_does_not_say_that_there_is_one() -> None:
    for headers in ({"if-match": '"1"'}, {"if-match": "*"}):
        status, detail = problem(ask("PUT", FLEET, {"document": {}}, headers))
        assert (status, "fleet has no version yet" in detail) == (412, True)
    assert ask("PUT", FLEET, {"document": {}}, {"if-none-match": "*"})["statusCode"] == 200
    assert ask("PUT", "/v1/documents/agent:db-1", {"document": {}})["statusCode"] == 200


def test_of_two_who_save_over_the_same_version_one_wins(store: Store) -> None:
    save("fleet", {})
    asked = DocumentAsked(document={"preset": "minimal"})

    def one(number: int) -> str:
        try:
            with store.transaction() as connection:
                return documents.save(connection, "fleet", asked, Precondition('"1"'), f"author-{number}").author
        except NotSeenError as error:
            return str(error)
        finally:
            store.close()

    with ThreadPoolExecutor(8) as threads:
        outcomes = list(threads.map(one, range(8)))
    (winner,) = (each for each in outcomes if each.startswith("author-"))
    assert sum(f"fleet has version 2, by {winner} at " in each for each in outcomes) == 7
    assert len(told("GET", f"{FLEET}/versions")["items"]) == 2


def test_of_two_who_begin_a_scope_one_wins(store: Store) -> None:
    def one(_: int) -> bool:
        try:
            with store.transaction() as connection:
                documents.save(connection, "fleet", DocumentAsked(document={}), Precondition(None, "*"), "ann")
        except NotSeenError:
            return False
        finally:
            store.close()
        return True

    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(one, range(8))) == 1


def test_an_earlier_version_can_be_had_again_with_its_selector() -> None:
    first = save("group:web", {"preset": "minimal"}, group=PRODUCTION)
    save("group:web", {"preset": "rds"}, group={"selector": {"tier": "gold"}})
    again = told("POST", "/v1/documents/group:web/rollback", {"version": 1}, {"if-match": '"2"'})
    assert again["version"] == 3
    assert again["live"]
    assert again["comment"] == "version 1 again"
    assert [again[name] for name in ("document", "group", "sha256")] == [
        first[name] for name in ("document", "group", "sha256")
    ]
    said = {"version": 2, "comment": "no: rds it is"}
    assert told("POST", "/v1/documents/group:web/rollback", said, {"if-match": '"3"'})["comment"] == "no: rds it is"


def test_a_rollback_needs_a_version_and_to_have_seen_the_newest() -> None:
    rollback = f"{FLEET}/rollback"
    assert problem(ask("POST", rollback, {"version": 1}, {"if-match": "*"}))[0] == 404
    save("fleet", {})
    save("fleet", {})
    assert problem(ask("POST", rollback, {"version": 1}))[0] == 428
    assert problem(ask("POST", rollback, {"version": 1}, {"if-match": '"1"'}))[0] == 412
    status, detail = problem(ask("POST", rollback, {"version": 9}, {"if-match": '"2"'}))
    assert (status, detail) == (404, "fleet has no version 9; its newest is 2")


def test_what_agents_of_today_would_not_take_is_not_had_again(connection: Connection) -> None:
    connection.execute("""insert into store.document values ('fleet', 1, '{"metrics": {"gone": {}}}', 'x', 'a', '')""")
    save("fleet", {})
    status, detail = problem(ask("POST", f"{FLEET}/rollback", {"version": 1}, {"if-match": '"2"'}))
    assert (status, "metrics.gone: there is no such metric" in detail) == (422, True)


@pytest.mark.parametrize("state", ["running", "paused"])
def test_while_a_release_is_on_its_way_it_alone_changes_what_is_live(connection: Connection, state: str) -> None:
    save("fleet", {})
    save("fleet", {"preset": "minimal"}, activate=False)
    number = begin_release(connection, "fleet", 2, state)
    saved = ask("PUT", FLEET, {"document": {}}, {"if-match": '"2"'})
    taken_back = ask("POST", f"{FLEET}/rollback", {"version": 1}, {"if-match": '"2"'})
    for answer in (saved, taken_back):
        status, detail = problem(answer)
        assert status == 409
        assert detail.startswith(f"release {number} is on its way in fleet, in stage 1 of 2; abort it")
    assert save("fleet", {}, activate=False)["version"] == 3
    assert save("group:web", {}, group=PRODUCTION)["live"]
    connection.execute("update store.release set state = 'aborted'")
    assert save("fleet", {})["live"]


def test_a_release_and_a_save_at_once_take_turns(store: Store, connection: Connection) -> None:
    save("fleet", {})
    save("fleet", {}, activate=False)

    def save_meanwhile() -> None:
        try:
            with store.transaction() as saving:
                documents.save(saving, "fleet", DocumentAsked(document={}), Precondition("*"), "ann")
        finally:
            store.close()

    with ThreadPoolExecutor(1) as thread:
        with store.transaction() as beginning:
            lock(beginning, "fleet")
            waiting = thread.submit(save_meanwhile)
            somebody_waits(connection)
            begin_release(beginning, "fleet", 2)
        with pytest.raises(UnderwayError):
            waiting.result(30)
