"""What holds of every kind of job, so that all that is derived from its description works."""

import pytest

from contract.kinds import KINDS, job_parameters


@pytest.fixture(params=KINDS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_it_goes_by_its_modules_name(name: str) -> None:
    assert KINDS[name].name == name


def test_its_batch_tuning_and_aliases_are_parameters_of_its_own(name: str) -> None:
    kind = KINDS[name]

    assert {kind.batch, *kind.tuning, *kind.aliases.values()} <= set(kind.parameters.model_fields)
    assert set(kind.aliases).isdisjoint(kind.parameters.model_fields)


def test_its_lines_begin_with_id_and_name_and_have_room_for_label_and_note(name: str) -> None:
    fields = KINDS[name].line.__struct_fields__

    assert fields[:2] == ("id", "name")
    assert {"label", "note"} <= set(fields)


def test_its_answers_leave_out_only_fields_that_its_lines_have(name: str) -> None:
    kind = KINDS[name]

    assert kind.unanswered <= set(kind.line.__struct_fields__)


def test_a_parameter_that_it_shares_with_others_means_the_same(name: str) -> None:
    shared = job_parameters()

    for parameter, mine in KINDS[name].parameters.model_fields.items():
        theirs = shared[parameter]
        assert (mine.annotation, mine.default, mine.metadata, mine.description) == (
            theirs.annotation,
            theirs.default,
            theirs.metadata,
            theirs.description,
        )


def test_tuning_is_no_part_of_a_jobs_identity(name: str) -> None:
    kind = KINDS[name]

    assert set(kind.identity(kind.parameters())) == set(kind.parameters.model_fields) - kind.tuning
