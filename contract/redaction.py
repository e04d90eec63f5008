"""What is struck out of every text that people or logs get: the credentials of URLs."""

import re

# In a Redis URL a password may hold an unescaped slash: there everything up to the last @ goes.
_CREDENTIALS = re.compile(r"(?<=redis://)\S*@|(?<=rediss://)\S*@|(?<=://)[^/\s]*@|(?<=[?&]password=)[^&\s]*")


def redacted(text: str) -> str:
    """Return the text with the user and password of each URL struck out."""
    return _CREDENTIALS.sub(lambda match: "***@" if match[0].endswith("@") else "***", text)
