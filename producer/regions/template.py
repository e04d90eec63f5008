"""Templates: named regions that lie on every page of a source, as those of a form do.

`[{"name": "total", "region": [0.6, 0.8, 0.9, 0.85], "unit": "rel"}]`; a region is a box or a polygon.
"""

from collections import Counter
from collections.abc import Iterator
from typing import Annotated, Any

import msgspec

from contract.errors import SourceError
from contract.region import MAX_NAME, Level, Region, Unit, region_of
from producer.regions.base import PageRegions, Readable, RegionOptions, WithoutText
from producer.regions.json_text import parsed, read_whole

MAX_BYTES = 1 << 24
"""Maximum bytes of a file: some hundred bytes for each of MAX_FIELDS regions, and polygons have more."""

MAX_FIELDS = 1_000
"""Maximum regions of a template: each is read on every page, and is a column of the table."""

RESERVED = frozenset({"id", "confidence", "errors"})
"""Names of the table's own columns."""

WHAT = 'a template, [{"name": "total", "region": [x_min, y_min, x_max, y_max], "unit": "px" or "rel"}, ...]'


class Field(msgspec.Struct, forbid_unknown_fields=True):
    """One named region."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_NAME)]
    region: Any
    unit: Unit = "px"


class Template(WithoutText):
    """Named regions that lie on every page."""

    extensions = frozenset({".json"})
    has_categories = False
    levels: tuple[Level, ...] = ()

    def pages(self, file: Readable, options: RegionOptions) -> Iterator[PageRegions]:  # noqa: ARG002 - of the interface
        """Yield the one set of regions.

        Raises:
            SourceError: also for a region that is malformed: it would be an error on every page
        """
        fields = parsed(read_whole(file, MAX_BYTES), list[Field], WHAT)
        if not 1 <= len(fields) <= MAX_FIELDS:
            raise SourceError(f"a template has 1 to {MAX_FIELDS:,} regions, not {len(fields):,}")
        regions = [_region(field) for field in fields]
        names = Counter(field.name for field in fields)
        repeated = next((name for name, count in names.items() if count > 1), None)
        if repeated:
            raise SourceError(f"two regions have the name {repeated!r}: give each its own")
        yield PageRegions(None, iter(regions))


FORMAT = Template()


def _region(field: Field) -> Region:
    if field.name in RESERVED:
        raise SourceError(f"{field.name!r} is a column of the results' table: give the region another name")
    region = region_of(field.region, field.unit, field.name)
    if region.fault:
        raise SourceError(f"the region {field.name!r}: {region.fault}")
    return region
