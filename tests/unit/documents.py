"""Documents of empty pages, sound and encrypted."""

import io

import pikepdf
import pypdfium2
from pikepdf import Array, Dictionary, Name
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


def form_pdf(*, appearance: bool) -> bytes:
    """Return a PDF of one page, 400 x 200 points, with a filled field in its right half and nothing else.

    Args:
        appearance: the file says what the field looks like; else the viewer makes it of its value
    """
    pdf = pikepdf.new()
    font = Dictionary(Type=Name.Font, Subtype=Name.Type1, BaseFont=Name("/Helvetica"))
    pdf.add_blank_page(page_size=(400, 200))
    field = Dictionary(
        Type=Name.Annot,
        Subtype=Name.Widget,
        FT=Name("/Tx"),
        T="name",
        V="MUSTERMANN",
        Rect=Array([210, 90, 390, 130]),
        DA="/F1 24 Tf 0 g",
        F=4,
    )
    if appearance:
        form = pdf.make_stream(b"/Tx BMC q BT /F1 24 Tf 0 g 2 10 Td (MUSTERMANN) Tj ET Q EMC")
        form.Type, form.Subtype, form.BBox = Name.XObject, Name.Form, Array([0, 0, 180, 40])
        form.Resources = Dictionary(Font=Dictionary(F1=font))
        field.AP = Dictionary(N=form)
    indirect = pdf.make_indirect(field)
    pdf.pages[0].obj.Annots = Array([indirect])
    pdf.Root.AcroForm = Dictionary(
        Fields=Array([indirect]), DA="/F1 24 Tf 0 g", DR=Dictionary(Font=Dictionary(F1=font))
    )
    buffer = io.BytesIO()
    pdf.save(buffer)
    return buffer.getvalue()


def tiff(*sizes: Size) -> bytes:
    """Return a TIFF of white pages, in pixels."""
    return tiff_of(*(Image.new("RGB", size, "white") for size in sizes))


def tiff_of(first: Image.Image, *others: Image.Image) -> bytes:
    """Return a TIFF whose pages are the images."""
    buffer = io.BytesIO()
    first.save(buffer, "TIFF", save_all=True, append_images=others)
    return buffer.getvalue()
