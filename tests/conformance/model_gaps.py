"""Which modules also run against the fuzz suite's model of an API server, and which tests need what it does not have.

These are left out completely: access (users, rights), admission, conversion and policies (nobody is asked),
definitions, schema, conditions and rules (the model has no schemas), apply, strategic patches, dry runs and tables
(nothing behind the engine's ports uses them).
"""

from __future__ import annotations

from typing import Final

MODULES: Final = frozenset(
    f"test_conformance_{name}" for name in ("deletion", "histories", "lists", "patches", "status", "watches", "writes")
)

_GAPS: Final[dict[str, frozenset[str]]] = {
    "JSON and strategic patches": frozenset(
        {
            "test_a_json_patch_of_a_list_counts_from_zero_and_dash_is_the_end",
            "test_a_patch_of_nothing_is_not_found",
            "test_a_patched_object_is_validated",
            "test_fields_given_twice_in_patches_are_refused_or_warned_of",
            "test_json_patches",
            "test_the_last_of_several_finalizers_lets_go",
            "test_the_name_cannot_be_patched",
            "test_which_kinds_take_which_patch_types",
        }
    ),
    "foreground deletion and orphans": frozenset(
        {
            "test_a_dependent_that_does_not_block_is_not_waited_for",
            "test_delete_options_that_cannot_be_are_refused",
            "test_in_the_foreground_dependents_go_first",
            "test_orphans_stay_and_forget_their_owner",
        }
    ),
    "workloads that controllers and nodes take": frozenset(
        {
            "test_a_deployment_is_scaled",
            "test_a_deployment_is_told_apart_from_a_number",
            "test_a_deployments_replica_set_follows",
            "test_a_negative_grace_is_the_pods_own_or_one",
            "test_a_pod_nobody_runs_goes_at_once",
            "test_a_pod_on_a_node_gets_its_grace",
            "test_a_pods_status_is_written_apart",
            "test_workloads_have_a_generation",
        }
    ),
    "namespaces as objects": frozenset(
        {
            "test_a_list_over_all_namespaces_is_ordered_by_namespace_and_name",
            "test_a_namespace_must_exist",
            "test_a_namespace_takes_everything_along",
            "test_a_new_namespace_is_active_and_labelled",
            "test_every_namespace_gets_its_account_and_authority",
            "test_nothing_new_comes_into_a_dying_namespace",
            "test_the_default_namespace_stays",
        }
    ),
    "schemas and their defaults": frozenset(
        {
            "test_a_map_larger_than_a_mebibyte_is_refused",
            "test_a_status_is_validated",
            "test_an_update_of_the_status_replaces_it",
            "test_a_patch_of_the_status_reaches_the_status_alone",
            "test_immutable_fields_stay",
            "test_malformed_objects_are_refused",
            "test_merge_patches",
            "test_versions_in_a_watch_rise",
            "test_unknown_fields_are_refused_warned_of_or_ignored",
            "test_unknown_fields_in_patches_are_refused_warned_of_or_ignored",
            "test_an_unknown_validation_mode_is_refused",
            "test_duplicate_fields_are_refused_or_warned_of",
        }
    ),
    "the scale subresource": frozenset(
        {
            "test_a_negative_scale_is_refused",
            "test_a_patch_of_a_scale_that_does_not_fit_is_refused",
            "test_a_scale_is_updated_with_its_version",
            "test_a_scale_shows_the_declared_paths",
            "test_a_scale_that_was_never_set_can_be_set_but_not_read",
            "test_generation_rises_with_the_spec_alone",
        }
    ),
    "checks of options that the engine's clients never send": frozenset(
        {
            "test_a_body_in_an_unknown_format_is_refused",
            "test_a_body_that_is_too_large_is_refused",
            "test_a_status_is_neither_created_nor_deleted",
            "test_a_kind_without_status_has_none",
            "test_a_token_nobody_gave_is_refused",
            "test_an_answer_in_an_unknown_format_is_refused",
            "test_an_empty_body_is_an_empty_object",
            "test_contradicting_list_options_are_refused",
            "test_the_future_cannot_be_listed",
            "test_the_future_cannot_be_read",
            "test_the_token_of_a_page_belongs_to_its_list",
            "test_what_is_no_merge_patch_is_refused",
            "test_what_is_not_served_is_refused_with_a_status",
            "test_yaml_bodies_are_read",
        }
    ),
    "generated names": frozenset(
        {
            "test_a_generated_name_is_cut_to_fit",
            "test_a_name_wins_over_a_generated_one",
            "test_generated_names_differ",
        }
    ),
    "pages that outlive a forgotten history": frozenset(
        {"test_a_page_of_a_forgotten_state_can_be_continued_inconsistently"}
    ),
    "bookmarks, initial events and other forms of a watch": frozenset(
        {
            "test_a_bookmark_comes_before_a_watch_ends",
            "test_a_watch_in_another_version_shows_that_version",
            "test_a_watch_of_the_future_waits_or_is_refused",
            "test_initial_events_end_with_a_bookmark",
            "test_metadata_alone_can_be_watched",
            "test_tables_can_be_watched",
        }
    ),
    "kinds that an update creates": frozenset({"test_an_object_can_be_created_by_update_only_where_its_kind_says_so"}),
}


def why_not_modelled(test: str) -> str | None:
    """What a test needs that the model does not have. None if the test must pass."""
    return next((reason for reason, tests in _GAPS.items() if test in tests), None)
