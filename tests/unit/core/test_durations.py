import pytest

from tiffin.core.durations import format_duration, parse_duration


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [("1m30s", 90_000_000_000), ("1.5h", 5_400_000_000_000), ("0", 0), ("-5ms", -5_000_000)],
)
def test_a_duration_is_read(text: str, nanoseconds: int) -> None:
    assert parse_duration(text) == nanoseconds


@pytest.mark.parametrize("text", ["", "5", "s", "1x", "1 s", "9999999999h"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="invalid duration"):
        parse_duration(text)


@pytest.mark.parametrize("text", ["0s", "1m30s", "1h0m0s", "1.5s", "500ms", "2µs", "7ns", "-3s"])
def test_a_duration_is_written_as_go_writes_it(text: str) -> None:
    assert format_duration(parse_duration(text)) == text
