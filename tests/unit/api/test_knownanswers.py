"""An answer is given again only as long as it is still true."""

from __future__ import annotations

import msgspec

from tests.unit.api.kitchen import RUNNING_ID, FakeEngine, ask, exited, router_of, running
from tiffin.api.knownanswers import KnownAnswers
from tiffin.core.container import Container


def test_a_record_that_has_not_changed_is_encoded_once() -> None:
    known, made = KnownAnswers(), []
    web = running()

    for _ in range(3):
        answer = known.get(web, "1.55", lambda: made.append(1) or b"web")  # type: ignore[func-returns-value]

    assert (answer, len(made)) == (b"web", 1)


def test_another_record_or_another_question_is_answered_anew() -> None:
    known = KnownAnswers()
    web = running()
    later = msgspec.structs.replace(web, name="later")

    assert known.get(web, "1.55", lambda: b"1") == b"1"
    assert known.get(later, "1.55", lambda: b"2") == b"2"
    assert known.get(later, "1.41", lambda: b"3") == b"3"
    assert known.get(web, "1.41", lambda: b"4") == b"4"


def test_the_oldest_answers_are_forgotten() -> None:
    known = KnownAnswers(largest=1)
    web, job = running(), exited()

    def asked(record: Container, answer: bytes) -> bytes:
        return known.get(record, "1.55", lambda: answer)

    assert asked(web, b"1") == b"1"
    assert asked(job, b"2") == b"2"
    assert asked(web, b"3") == b"3"


def test_an_answer_goes_with_its_record() -> None:
    known = KnownAnswers()
    web = running()
    known.get(web, "1.55", lambda: b"1")
    later = msgspec.structs.replace(web, name="later")
    known.get(later, "1.55", lambda: b"2")

    del web
    assert len(known) == 1
    del later
    assert len(known) == 0


def test_inspect_tells_what_is_so_now() -> None:
    engine = FakeEngine()
    target = f"/containers/{RUNNING_ID}/json"
    router = router_of(engine)
    before = ask(router, "GET", target).json()

    renamed = msgspec.structs.replace(engine.containers.found[0], name="renamed")
    engine.containers.found[0] = renamed
    after = ask(router, "GET", target).json()

    assert (before["Name"], after["Name"]) == ("/web", "/renamed")
    assert ask(router, "GET", f"{target}?size=1").json()["SizeRw"] == 10
