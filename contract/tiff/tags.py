"""The tags of a TIFF's directories, and values of theirs, as the TIFF 6.0 specification numbers them."""

NEW_SUBFILE_TYPE, SUBFILE_TYPE, WIDTH, HEIGHT, BITS, COMPRESSION = range(254, 260)
PHOTOMETRIC, STRIP_OFFSETS, ORIENTATION, SAMPLES, ROWS_PER_STRIP, STRIP_BYTES = 262, 273, 274, 277, 278, 279
X_RESOLUTION, Y_RESOLUTION, PLANAR, RESOLUTION_UNIT, PREDICTOR, COLOUR_MAP = 282, 283, 284, 296, 317, 320
TILE_WIDTH, TILE_HEIGHT, TILE_OFFSETS, TILE_BYTES, EXTRA_SAMPLES, SAMPLE_FORMAT = 322, 323, 324, 325, 338, 339
SUBSAMPLING = 530

REDUCED, MASK = 1, 4
"""Bits of NewSubfileType: a smaller copy of another image, and a transparency mask."""

OLD_REDUCED = 2
"""SubfileType's value for a smaller copy."""

KEPT = frozenset(
    {WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, 266, STRIP_OFFSETS, ORIENTATION, SAMPLES, ROWS_PER_STRIP}
    | {STRIP_BYTES, X_RESOLUTION, Y_RESOLUTION, PLANAR, 292, 293, RESOLUTION_UNIT, PREDICTOR, COLOUR_MAP}
    | {TILE_WIDTH, TILE_HEIGHT, TILE_OFFSETS, TILE_BYTES, 332, EXTRA_SAMPLES, SAMPLE_FORMAT, 340, 341, 347}
    | {*range(512, 522), 529, SUBSAMPLING, 531, 532, 700, 48129, 50674}
)
"""Tags that a decoder needs for the pixels and their orientation; profiles and private tags are left out."""

OFFSETS = frozenset({STRIP_OFFSETS, TILE_OFFSETS, 513, 519, 520, 521})
"""Tags whose values are offsets; from 513 on those of JPEG data and tables of compression 6."""

RAW, OLD_JPEG = 1, 6
"""Values of Compression: none, and the JPEG of TIFF 6.0, whose parts may be anywhere in the file."""

SEPARATE = 2
"""Value of PlanarConfiguration: each sample has its own plane."""

WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, CMYK, YCBCR, LAB = 0, 1, 2, 3, 5, 6, 8
"""Values of PhotometricInterpretation: what the samples of a pixel mean."""

COLOURS = {WHITE_IS_ZERO: 1, BLACK_IS_ZERO: 1, RGB: 3, PALETTE: 1, CMYK: 4, YCBCR: 3, LAB: 3}
"""Samples of a pixel for each of them; more are extra samples."""

ASSOCIATED, UNASSOCIATED = 1, 2
"""Values of ExtraSamples: alpha that the colours are multiplied by, and alpha that they are not."""

NO_PREDICTOR, DIFFERENCES = 1, 2
"""Values of Predictor; the second one stores differences between neighbours in a row."""

UNSIGNED, SIGNED, FLOAT = 1, 2, 3
"""Values of SampleFormat."""

INCH, CENTIMETRE = 2, 3
"""Values of ResolutionUnit; 1 says that there is none."""
