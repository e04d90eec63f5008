"""What is struck out of texts: credentials, and nothing else."""

import pytest

from contract.redaction import redacted


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("redis://user:hunter2@broker:6379/0", "redis://***@broker:6379/0"),
        ("redis://:hunter2@broker", "redis://***@broker"),
        ("redis://user:p@hunter2@broker/0", "redis://***@broker/0"),
        ("no redis://u:hunter2@a:1, no rediss://u:hunter2@b:2", "no redis://***@a:1, no rediss://***@b:2"),
        ("redis://broker/0 and ada@example.org", "redis://broker/0 and ada@example.org"),
        ("s3://bucket/a@b.png", "s3://bucket/a@b.png"),
        ("https://host/path", "https://host/path"),
    ],
)
def test_the_user_and_password_of_a_url_are_struck_out(text: str, expected: str) -> None:
    assert redacted(text) == expected
