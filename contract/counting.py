"""Numbers of things in words. Standard library only, since the public client imports it."""


def counted(number: int, thing: str, things: str = "") -> str:
    """Return a number with what it counts: `1 chunk`, `1,204 chunks`.

    Args:
        things: the plural, if it is not `thing` with an s
    """
    return f"{number:,} {thing if number == 1 else things or thing + 's'}"
