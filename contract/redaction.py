"""Removal of credentials in URLs, for all text that users or logs get."""

import re

# A password in a Redis URL may contain an unescaped slash, so everything up to the last @ is removed.
_CREDENTIALS = re.compile(
    r"(?<=redis://)\S*@|(?<=rediss://)\S*@|(?<=://)[^/\s]*@|(?<=[?&]password=)[^&\s]*|(?<=[?&]sentinel_password=)[^&\s]*"
)


def redacted(text: str) -> str:
    """Return the text with the user and password of each URL replaced by `***`."""
    return _CREDENTIALS.sub(lambda match: "***@" if match[0].endswith("@") else "***", text)
