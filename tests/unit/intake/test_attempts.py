"""How many wrong tokens a source may bring."""

from __future__ import annotations

from shadowdiff.intake.attempts import LATELY_S, Attempts


def tried(attempts: Attempts, source: str, times: int, at_s: float) -> list[bool]:
    """Bring so many wrong tokens; return which of them were looked at."""
    told: list[bool] = []
    for _ in range(times):
        told.append(attempts.may_try(source, at_s))
        if told[-1]:
            attempts.was_wrong(source, at_s)
    return told


def test_a_source_has_so_many_wrong_tokens_and_then_waits() -> None:
    """For a share of a minute for each; another source does not wait."""
    attempts = Attempts(6)
    assert [True] * 6 + [False] * 4 == tried(attempts, "10.0.0.1", 10, 0.0)
    assert [True, False] == tried(attempts, "10.0.0.1", 2, 10.0)
    assert [True] * 6 + [False] == tried(attempts, "10.0.0.2", 7, 10.0)
    assert [True] * 6 + [False] == tried(attempts, "10.0.0.1", 7, 1000.0)


def test_who_brought_a_right_one_lately_does_not_wait() -> None:
    """Though wrong ones come from the same address: many share one. After a while it is as any other."""
    attempts = Attempts(2)
    attempts.was_right("2001:db8::1", 0.0)
    assert [True] * 9 == tried(attempts, "2001:db8::2", 9, LATELY_S - 1)
    attempts.was_right("2001:db8::1", LATELY_S - 1)
    assert attempts.may_try("2001:db8::1", 2 * LATELY_S - 2)
    assert [True, True, False] == tried(attempts, "2001:db8::1", 3, 3 * LATELY_S)


def test_a_right_one_ends_the_waiting_only_where_it_could_be_brought() -> None:
    """Who waits brings nothing, and so cannot learn that a token was right."""
    attempts = Attempts(1)
    assert [True, False] == tried(attempts, "a", 2, 0.0)
    assert not attempts.may_try("a", 1.0)
    assert attempts.may_try("a", 61.0)


def test_the_tables_are_bounded() -> None:
    """However many addresses there are."""
    attempts = Attempts(1, most=10)
    for number in range(1000):
        attempts.was_right(f"10.0.{number // 256}.{number % 256}", 0.0)
        attempts.was_wrong(f"10.1.{number // 256}.{number % 256}", 0.0)
    assert (10, 10) == (len(attempts._known), len(attempts._wrong))  # pyright: ignore[reportPrivateUsage]
