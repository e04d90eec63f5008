"""`trace-ocr view`: an item's page as HTML."""

import re
from pathlib import Path

import click
from PIL import Image

from contract.errors import ExitCode, UsageError
from contract.kinds.documents import PDF_RESOLUTION
from contract.redaction import redacted
from contract.settings import Settings
from producer.cli import options
from producer.cli.terminal import echo
from producer.results.drawing import document_html
from producer.results.finding import Found, find
from producer.results.status import find_workspace
from producer.results.view import Pictures
from producer.session import Session


@options.command()
@options.job_or_workspace
@click.argument("item", metavar="ID")
@click.option("-o", "--output", help="HTML file to write; default: named after the item, in this directory")
@options.with_settings(*options.LIMITS, *options.WATCHING)
def view(settings: Settings, job: str, item: str, output: str | None) -> ExitCode:
    """Draw an item's page with its boxes and words, as HTML; for a document, draw all its pages."""
    session = Session(settings)
    workspace = find_workspace(job, session.ledger_if_set, session.storage, session.index)
    known = workspace.require_job()
    # Recognition jobs read no documents, so they have neither.
    resolution = getattr(known.parameters, "pdf_resolution", PDF_RESOLUTION)
    forms = getattr(known.parameters, "pdf_forms", True)
    roots = session.roots_of(known)
    with Pictures(session.storage, settings, resolution, roots, forms=forms) as pictures:
        pages = find(workspace, known, item)
        html = document_html(known, item, ((found, _picture(found, pictures)) for found in pages))
    target = Path(output or _file_name(item))
    try:
        target.write_text(html, encoding="utf-8")
    except OSError as error:
        reason = f"{target} cannot be written ({error.strerror}): name another file with -o"
        raise UsageError(reason) from error
    echo(f"{target}: {len(pages)} page{'s' if len(pages) > 1 else ''}; open it in a browser")
    return ExitCode.OK


def _picture(found: Found, pictures: Pictures) -> Image.Image | str:
    """Return an item's picture, or the reason why there is none: its line is shown either way."""
    try:
        return pictures.of(found)
    # Any exception: Pillow and pdfium raise exceptions of any type for a damaged file.
    except Exception as error:
        return redacted(f"{type(error).__name__}: {error}")


def _file_name(item: str) -> str:
    """Return a file name for an item's page; a long id is cut to its end, which identifies the page."""
    # 60 characters are 240 bytes at most, and file systems allow 255.
    name = re.sub(r"[^\w.-]+", "-", item)[-60:].strip(".-")
    return f"{name or 'page'}.html"
