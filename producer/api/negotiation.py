"""Which media type an answer has: the one that the request's `Accept` prefers."""

from collections.abc import Iterable, Iterator, Sequence

from python_multipart.multipart import parse_options_header


def preferred(accept: Iterable[str], offered: Sequence[str]) -> str | None:
    """Return the offered media type that a request prefers, the first of equals; None if it accepts none.

    A request that names none accepts all. RFC 9110, section 12.5.1.

    Args:
        accept: the values of the request's `Accept` headers
    """
    qualities = dict(_ranges(",".join(accept)))
    if not qualities:
        return offered[0]
    best = max(offered, key=lambda media_type: _quality(media_type, qualities))
    return best if _quality(best, qualities) > 0 else None


def _ranges(accept: str) -> Iterator[tuple[str, float]]:
    """Yield each media range with its weight; one whose weight is no number counts in full."""
    for part in accept.split(","):
        name, options = parse_options_header(part.strip())
        if not name:
            continue
        try:
            yield name.decode("latin-1").lower(), float(options.get(b"q", b"1"))
        except ValueError:
            yield name.decode("latin-1").lower(), 1.0


def _quality(media_type: str, qualities: dict[str, float]) -> float:
    """Return the weight of the most specific range that a media type is in; 0 if it is in none."""
    group = media_type.partition("/")[0]
    found = (qualities[name] for name in (media_type, f"{group}/*", "*/*") if name in qualities)
    return next(found, 0.0)
