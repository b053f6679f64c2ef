"""What errors say in one line."""

import pytest

from komt.errors import one_line


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("first\nsecond"), "first"),
        (
            RuntimeError("Error(s) in loading:\n\tsize mismatch for a\n\tfor b"),
            "Error(s) in loading: size mismatch for a",
        ),
        (KeyError("NOPE"), "KeyError: 'NOPE'"),
        (MemoryError(), "MemoryError"),
        (OSError("\n\n"), "OSError"),
    ],
)
def test_an_error_of_a_library_in_one_line(error, line):
    assert one_line(error) == line
