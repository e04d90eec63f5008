"""Documents of empty pages, sound and encrypted."""

import io

import pypdfium2
from PIL import Image

Size = tuple[int, int]


def pdf(*sizes: Size) -> bytes:
    """Return a PDF of empty pages, in points."""
    document = pypdfium2.PdfDocument.new()
    for size in sizes:
        document.new_page(*size)
    buffer = io.BytesIO()
    document.save(buffer)
    return buffer.getvalue()


def encrypted_pdf() -> bytes:
    """Return a PDF that asks for a password: a handler of the standard kind whose keys fit none."""
    head, _, trailer = pdf((100, 100)).rpartition(b"trailer")
    keys = b"/O <" + b"41" * 32 + b"> /U <" + b"42" * 32 + b">"
    handler = b"/Encrypt << /Filter /Standard /V 1 /R 2 " + keys + b" /P -4 >> /ID [<30> <30>] "
    return head + b"trailer" + trailer.replace(b"<<", b"<<" + handler, 1)


def tiff(*sizes: Size) -> bytes:
    """Return a TIFF of white pages, in pixels."""
    return tiff_of(*(Image.new("RGB", size, "white") for size in sizes))


def tiff_of(first: Image.Image, *others: Image.Image) -> bytes:
    """Return a TIFF whose pages are the images."""
    buffer = io.BytesIO()
    first.save(buffer, "TIFF", save_all=True, append_images=others)
    return buffer.getvalue()
