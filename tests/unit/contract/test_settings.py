"""Settings: where each value comes from, and what is said of one that is not allowed."""

from pathlib import Path

import pytest

from contract.errors import BrokerError, SettingsError, UsageError
from contract.kinds import KINDS
from contract.settings import environment_of, load_settings
from contract.tenants import Tenant, parse_tenants, tenant_of


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Given a working folder without a settings file."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def settings_file(empty_folder: Path) -> Path:
    return empty_folder / "trace-ocr.toml"


def test_defaults_are_those_of_the_contract() -> None:
    settings = load_settings()

    assert settings.recognition_model == "crnn_vgg16_bn"
    assert settings.recognition_batch_size == 128
    assert settings.chunk_size_of("recognition") == 1024
    assert settings.chunk_size_of("ocr") == 32
    assert settings.allowed_roots == ()


def test_the_settings_file_goes_before_the_defaults(settings_file: Path) -> None:
    settings_file.write_text("recognition_batch_size = 16")

    assert load_settings().recognition_batch_size == 16


def test_the_environment_goes_before_the_settings_file(
    settings_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings_file.write_text("recognition_batch_size = 16")
    monkeypatch.setenv("TRACE_OCR_RECOGNITION_BATCH_SIZE", "32")

    assert load_settings().recognition_batch_size == 32


def test_a_flag_goes_before_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACE_OCR_RECOGNITION_BATCH_SIZE", "32")

    assert load_settings(recognition_batch_size=64).recognition_batch_size == 64


def test_a_flag_that_is_not_given_leaves_the_word_to_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACE_OCR_RECOGNITION_BATCH_SIZE", "32")

    assert load_settings(recognition_batch_size=None).recognition_batch_size == 32


def test_a_boolean_flag_set_to_no_goes_before_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACE_OCR_S3_PATH_STYLE", "true")

    assert load_settings(s3_path_style=False).s3_path_style is False


def test_an_empty_variable_counts_as_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACE_OCR_CHUNK_SIZE", "")

    assert load_settings().chunk_size is None


def test_the_settings_file_may_lie_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cluster.toml").write_text('namespace = "night"')
    monkeypatch.setenv("TRACE_OCR_CONFIG", str(tmp_path / "cluster.toml"))

    assert load_settings().namespace == "night"


@pytest.mark.parametrize(
    ("variable", "value", "allowed"),
    [
        ("TRACE_OCR_RECOGNITION_MODEL", "parseq>master", "crnn_mobilenet_v3_small>parseq@0.93"),
        ("TRACE_OCR_RECOGNITION_BATCH_SIZE", "0", "greater than or equal to 1"),
        ("TRACE_OCR_RECOGNITION_BATCH_SIZE", "many", "valid integer"),
        ("TRACE_OCR_CHUNK_SIZE", "65537", "less than or equal to 65536"),
        ("TRACE_OCR_LOG_LEVEL", "loud", "'warning'"),
        ("TRACE_OCR_S3_PATH_STYLE", "perhaps", "valid boolean"),
        ("TRACE_OCR_NAMESPACE", "a b", "pattern"),
        ("TRACE_OCR_DETECTION_MODEL", "../fast_tiny", "pattern"),
        ("TRACE_OCR_CHARACTERS", "frensh", "[frensh]"),
        ("TRACE_OCR_MODELS", "parseq", "at least two different models"),
        ("TRACE_OCR_DETECTION_BATCH_SIZE", "257", "less than or equal to 256"),
        ("TRACE_OCR_BINARY_THRESHOLD", "2", "less than or equal to 1"),
        ("TRACE_OCR_BOX_THRESHOLD", "nan", "finite number"),
        ("TRACE_OCR_GROUP_LINES", "perhaps", "valid boolean"),
    ],
)
def test_a_value_that_is_not_allowed_is_named_with_its_variable_and_what_is(
    variable: str, value: str, allowed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)

    with pytest.raises(SettingsError) as raised:
        load_settings()

    assert variable in str(raised.value)
    assert allowed in str(raised.value)
    assert repr(value) in str(raised.value)


def test_all_that_is_wrong_is_said_at_once() -> None:
    with pytest.raises(SettingsError, match=r"TRACE_OCR_CHUNK_SIZE.*TRACE_OCR_LOG_LEVEL"):
        load_settings(chunk_size="none", log_level="loud")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('colour = "red"', "colour is not a setting"),
        ("chunk_size = ", r"the settings file trace-ocr\.toml cannot be read"),
        ("allowed_roots = 5", "TRACE_OCR_ALLOWED_ROOTS"),
    ],
)
def test_a_faulty_settings_file_is_a_usage_error(content: str, said: str, settings_file: Path) -> None:
    settings_file.write_text(content)

    with pytest.raises(SettingsError, match=said):
        load_settings()


def test_a_settings_file_that_is_named_must_be_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACE_OCR_CONFIG", "/nowhere/trace-ocr.toml")

    with pytest.raises(SettingsError, match=r"TRACE_OCR_CONFIG names /nowhere/trace-ocr\.toml"):
        load_settings()


@pytest.mark.parametrize(
    ("value", "roots"),
    [
        ("/a", ("/a",)),
        ("/a, s3://bucket/b ,", ("/a", "s3://bucket/b")),
        ('["/with,comma", "/b"]', ("/with,comma", "/b")),
        ("[broken", None),
    ],
)
def test_allowed_roots_are_separated_by_commas_or_a_json_list(
    value: str, roots: tuple[str, ...] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRACE_OCR_ALLOWED_ROOTS", value)

    if roots is None:
        with pytest.raises(SettingsError, match="TRACE_OCR_ALLOWED_ROOTS"):
            load_settings()
    else:
        assert load_settings().allowed_roots == roots


@pytest.mark.parametrize("value", ["ticket=OCR-12, by=a=b", '{"ticket": "OCR-12", "by": "a=b"}'])
def test_metadata_is_pairs_or_a_json_object(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACE_OCR_METADATA", value)

    assert load_settings().metadata == {"ticket": "OCR-12", "by": "a=b"}


def test_metadata_without_a_value_is_refused() -> None:
    with pytest.raises(SettingsError, match="KEY=VALUE"):
        load_settings(metadata="ticket")


def test_allowed_roots_are_a_list_in_the_settings_file(settings_file: Path) -> None:
    settings_file.write_text('allowed_roots = ["/a", "s3://bucket/b"]')

    assert load_settings().allowed_roots == ("/a", "s3://bucket/b")


def test_a_local_model_store_is_made_absolute(tmp_path: Path) -> None:
    assert load_settings(model_store="weights").model_store == str(tmp_path / "weights")


def test_a_model_store_in_a_storage_that_there_is_not_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"model_store.*ftp:// is no storage"):
        load_settings(model_store="ftp://bucket/weights")


def test_a_model_store_on_s3_stays_as_it_is() -> None:
    assert load_settings(model_store="s3://bucket/weights").model_store == "s3://bucket/weights"


def test_without_a_broker_the_error_says_what_to_set() -> None:
    with pytest.raises(BrokerError, match="TRACE_OCR_REDIS_URL"):
        load_settings().broker_url()


def test_the_redis_url_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACE_OCR_REDIS_URL", "redis://user:hunter2@host/0")

    settings = load_settings()

    assert "hunter2" not in repr(settings)
    assert settings.broker_url() == "redis://user:hunter2@host/0"


def test_a_child_process_sees_the_same_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    ours = load_settings(
        redis_url="redis://user:hunter2@host/0",
        allowed_roots=("/with,comma", "s3://bucket/b"),
        recognition_model="parseq",
        metadata={"ticket": "a,b"},
        s3_path_style=True,
        reconcile_seconds=0.5,
    )

    for name, value in environment_of(ours).items():
        monkeypatch.setenv(name, value)

    assert load_settings().model_dump() == ours.model_dump()


def test_a_child_process_is_told_only_what_was_set() -> None:
    assert environment_of(load_settings(chunk_size=7)) == {"TRACE_OCR_CHUNK_SIZE": "7"}


def test_a_job_takes_its_parameters_from_the_settings() -> None:
    parameters = load_settings(recognition_model="parseq", chunk_size=7).parameters_of("recognition")

    assert parameters.model_dump() == {
        "recognition_model": "parseq",
        "recognition_batch_size": 128,
        "characters": None,
        "detect_orientation": False,
        "padding": 0.0,
        "pdf_resolution": 144,
        "pdf_forms": True,
    }


@pytest.mark.parametrize("kind", KINDS)
def test_a_job_of_each_kind_takes_its_own_parameters_and_no_others(kind: str) -> None:
    assert load_settings().parameters_of(kind) == KINDS[kind].parameters()


def test_a_page_job_takes_its_parameters_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACE_OCR_DETECTION_MODEL", "fast_tiny")
    monkeypatch.setenv("TRACE_OCR_ASSUME_STRAIGHT_PAGES", "false")

    assert load_settings().parameters_of("detection") == KINDS["detection"].parameters(
        detection_model="fast_tiny", assume_straight_pages=False
    )


def test_what_is_given_goes_before_the_settings() -> None:
    settings = load_settings(detection_model="fast_tiny", box_threshold=0.5, group_lines=True)

    found = settings.parameters_of("ocr", {"box_threshold": 0.0, "group_lines": False})

    assert found == KINDS["ocr"].parameters(detection_model="fast_tiny", box_threshold=0.0, group_lines=False)


@pytest.mark.parametrize(
    ("kind", "strange"),
    [
        ("recognition", "detection_model"),
        ("detection", "recognition_batch_size"),
        ("detection", "detect_language"),
        ("kie", "paragraph_break"),
        ("ocr", "colour"),
    ],
)
def test_a_parameter_that_means_nothing_to_the_kind_is_a_usage_error_that_names_those_that_do(
    kind: str, strange: str
) -> None:
    with pytest.raises(UsageError) as raised:
        load_settings().parameters_of(kind, {strange: 1})

    allowed = ", ".join(KINDS[kind].parameters.model_fields)
    assert str(raised.value) == f"{strange}: not a parameter of {kind} jobs, which take {allowed}"


def test_all_that_mean_nothing_are_named_at_once() -> None:
    given = {"group_lines": True, "detection_model": "fast_tiny", "group_blocks": True}

    with pytest.raises(UsageError, match=r"^group_lines, group_blocks: not a parameter of detection jobs"):
        load_settings().parameters_of("detection", given)


@pytest.mark.parametrize("kind", KINDS)
def test_a_chunk_size_that_is_set_is_that_of_every_kind(kind: str) -> None:
    assert load_settings(chunk_size=7).chunk_size_of(kind) == 7


@pytest.mark.parametrize(
    ("kind", "size"), [("recognition", 1024), ("ocr", 32), ("detection", 32), ("kie", 32)]
)
def test_a_chunk_size_that_is_not_set_is_the_kinds_own(kind: str, size: int) -> None:
    assert load_settings().chunk_size_of(kind) == size


@pytest.mark.parametrize("tenants", ["lab", "lab:0", "lab:1001", "lab:x", "a b:1", "lab:1:-2", "lab:1,lab:2"])
def test_tenants_of_another_form_are_refused(tenants: str) -> None:
    with pytest.raises(SettingsError, match="tenants"):
        load_settings(tenants=tenants)


def test_tenants_with_and_without_limits() -> None:
    tenants = parse_tenants(load_settings(tenants="a:5,b:3:64,c:2::1000000").tenants)

    assert tenants == {"a": Tenant("a", 5), "b": Tenant("b", 3, 64), "c": Tenant("c", 2, None, 1_000_000)}
    assert tenant_of("d", tenants) == Tenant("d", 1)


def test_a_time_zone_that_there_is_not_is_refused() -> None:
    with pytest.raises(SettingsError, match="timezone"):
        load_settings(timezone="Europe/Atlantis")
