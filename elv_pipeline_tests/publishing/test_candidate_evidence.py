"""A candidate's files: named after their content, and the same evidence when read again."""

from __future__ import annotations

from elv_pipeline.publishing.registry.candidate_evidence import file_digest, save_candidate
from elv_pipeline_tests.decisions.explained import explained
from elv_pipeline_tests.learning.learning_data import make_table
from elv_pipeline_tests.publishing.registered import CONTEXT, ORIGIN, World


def test_a_candidate_lies_in_a_folder_named_after_its_content(world: World) -> None:
    assert world.path.parent.name == file_digest(world.path)[:12]
    assert world.path.parent.parent == world.home.models("leads") / ORIGIN
    assert not list(world.path.parent.parent.glob(".*"))


def test_saving_the_same_result_again_changes_nothing(world: World) -> None:
    before = {file: file.read_bytes() for file in sorted(world.path.parent.rglob("*")) if file.is_file()}
    path, digest = save_candidate(
        world.result, explained(world.result, make_table()[0]), home=world.home, name="leads", context=CONTEXT
    )
    assert (path, digest) == (world.path, world.handle.sha256)
    assert {file: file.read_bytes() for file in sorted(path.parent.rglob("*")) if file.is_file()} == before


def test_evidence_comes_back_as_it_was_saved(world: World) -> None:
    evidence = world.handle.evidence()
    assert evidence.metrics == world.result.metrics
    assert evidence.scored.equals(world.result.scored)
    assert evidence.gains.equals(world.result.proof.gains)
    assert evidence.context["origin"] == ORIGIN
