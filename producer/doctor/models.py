"""Models: the default model of each kind of job can be loaded on this machine, and its weights are whole."""

from collections.abc import Iterator, Mapping

from contract.errors import TraceOcrError
from contract.kinds import KINDS
from contract.model_store import ModelStore
from contract.settings import Settings
from producer.catalogue import CatalogueEntry, list_models
from producer.doctor.finding import Finding, bad, doubtful, good


def check_models(settings: Settings, store: ModelStore | None) -> Iterator[Finding]:
    """Yield a finding for each model that jobs use by default; weights in the store are verified."""
    where = f"the model store {store.root}" if store else "docTR's cache; no model store is set"
    try:
        entries = {entry.name: entry for entry in list_models(store)}
    except TraceOcrError as error:
        yield bad("models", str(error), "correct TRACE_OCR_MODEL_STORE or what is in it")
        return
    yield good("models", f"looked for in {where}")
    for name in _default_models(settings):
        yield _check_model(name, entries, store)


def _default_models(settings: Settings) -> list[str]:
    wanted = (model.name for kind in KINDS for model in settings.parameters_of(kind).wanted_models())
    return sorted(set(wanted))


def _check_model(name: str, entries: Mapping[str, CatalogueEntry], store: ModelStore | None) -> Finding:
    entry = entries.get(name)
    check = f"models: {name}"
    if entry is None:
        return bad(check, "it is no architecture, and not in the model store", "see trace-ocr models list")
    if entry.weights == "download":
        return doubtful(
            check,
            "workers will download it from docTR's hub before the first job",
            "copy it into a model store where machines have no internet",
        )
    if not store or entry.weights != "model store":
        return good(check, f"in {entry.source}")
    try:
        card = store.card(name)
        assert card
        store.weights(name, card)
    except TraceOcrError as error:
        return bad(check, str(error), "copy the weights and their card again")
    return good(check, f"in {store.root}, checksum verified")
