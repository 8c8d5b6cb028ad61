"""Integration tests that ``make e2e`` leaves out: on a real API server they would prove nothing that they do not prove
on the embedded one.

Both servers keep to the same rules, which the conformance suite shows (``tests/conformance``). So a test is played on a
real one as well only if its result depends on the server: on admission, versions and conflicts, lists and watches,
rights, controllers, deletion and finalizers. The tests named here depend on something else, which the reason says.
``make e2e`` plays every other test that can run on a real server; a new test is played there unless it is added here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

_PRESENTATION: Final = (
    "shows how a command presents objects that it has read; the commands of the tests beside it send the same requests"
)
_DECISION: Final = (
    "shows what the operator decides from definitions and settings before it writes; it reads them as the tests beside"
    " it do"
)
_CONTAINER: Final = (
    "shows how a container is started and how its result is read; other containers of the same module run on either"
    " server"
)
_COMMANDS: Final = (
    "shows commands whose writes other tests make on either server: decisions about gates, requests, runs that run"
    " again, claims (test_operator_families, test_operator_triggers, test_operator_effects, test_gate_decisions)"
)
_DEATHS: Final = (
    "kills the operator in this process at each of its writes; tests/e2e/test_faults_of_managers.py does that with real"
    " processes on a real server"
)
_NODE: Final = "shows what the node does by itself; it reports a Pod's status as in the tests beside it"
_STORE: Final = "shows what the operator does with an object store; the API server only stores the configuration"
_COLLECTOR: Final = (
    "a real garbage collector takes up to a minute to notice a new kind; the owners are checked on either server"
)
_DOUBLE: Final = "the test itself refuses the requests, in place of the server"

ONLY_EMBEDDED: Final[Mapping[str, Mapping[str, tuple[str, ...]]]] = {
    _PRESENTATION: {
        "test_command_line_runs": (
            "test_a_reader_that_goes_away_is_no_error",
            "test_a_terminal_gets_a_tree_that_is_redrawn_and_a_pipe_the_output",
            "test_ctrl_c_at_a_question_starts_nothing",
            "test_get_explains_one_run_and_gives_it_to_programs",
            "test_graph_draws_the_phases_of_a_run",
            "test_inputs_that_are_missing_are_asked_for_on_a_terminal_and_refused_in_a_pipe",
            "test_list_shows_runs_newest_first_and_narrows_them",
            "test_logs_of_an_attempt_before_the_only_one_are_missing",
            "test_outputs_are_json_whole_or_in_part",
            "test_outputs_can_be_saved_as_files",
            "test_versions_and_the_plugin_name",
            "test_watching_an_ended_run_tells_when_things_happened_and_how_it_ended",
        ),
        "test_command_line_waiting": (
            "test_a_pipeline_can_leave_when_a_person_is_asked",
            "test_a_timeline_shows_where_the_time_went",
            "test_each_value_of_a_step_is_explained_before_and_after_it_has_run",
            "test_gates_that_nobody_knows_are_named",
            "test_requests_are_listed_and_explained",
            "test_why_follows_a_run_into_the_one_it_waits_for",
            "test_why_names_what_a_step_that_has_not_begun_needs",
        ),
    },
    _DECISION: {
        "test_operator_access": (
            "test_a_name_that_cannot_be_one_names_nothing",
            "test_an_engram_that_is_missing_or_misconfigured_does_not_keep_others_from_their_rights",
            "test_beside_the_operator_nothing_is_copied",
            "test_credentials_of_other_providers_are_copied_without_the_rest_of_their_secret",
            "test_errors_never_hold_what_is_secret",
            "test_files_may_lack_keys",
            "test_only_the_operators_own_secret_is_ever_copied",
        ),
        "test_operator_binding": (
            "test_a_reference_that_can_never_be_met_has_its_reason",
            "test_a_step_is_bound_to_engram_template_and_policy",
            "test_an_invalid_policy_is_refused_with_everything_wrong_with_it",
            "test_the_known_definitions_say_how_long_the_others_are_awaited",
            "test_what_may_still_be_applied_is_awaited",
        ),
        "test_operator_children": ("test_what_was_pinned_is_given_back_without_asking_while_the_story_is_as_it_was",),
        "test_operator_executor": (
            "test_a_container_without_an_sdk_gets_no_credentials_of_the_store",
            "test_inputs_that_fit_no_variable_are_refused_before_a_job_is_made",
        ),
        "test_operator_housekeeping": (
            "test_a_finished_run_is_not_handed_over",
            "test_a_live_run_without_an_object_store_is_handed_over_without_a_write",
            "test_a_request_that_says_nothing_is_handed_over_and_keeps_nothing",
            "test_a_request_that_was_answered_keeps_nothing",
            "test_a_run_that_is_gone_needs_nothing",
            "test_a_run_to_be_kept_for_ever_asks_for_nothing",
            "test_however_a_run_ended_it_is_cleaned_and_removed",
            "test_what_is_at_work_of_a_finished_run_is_handed_over_with_it",
        ),
        "test_operator_poison": (
            "test_a_changed_limit_counts_from_the_next_evaluation",
            "test_an_evaluation_that_needs_much_memory_ends_at_its_limit",
            "test_poison_costs_its_own_step_and_nothing_else",
        ),
        "test_operator_registration": ("test_a_new_controller_needs_no_more_than_its_row",),
        "test_operator_scripts": ("test_an_image_that_the_platform_does_not_allow_is_refused",),
        "test_operator_tenancy": (
            "test_a_namespace_that_brings_its_own_secret_may_use_any_store",
            "test_a_secret_sets_no_variable_that_decides_what_a_program_runs",
            "test_a_step_has_nothing_read_that_only_another_steps_engram_may_read",
            "test_a_step_has_read_what_its_own_engram_asks_for",
            "test_a_story_of_another_namespace_gives_the_account_no_role_at_a_cloud_provider",
            "test_an_engram_of_another_namespace_gets_no_rights_on_secrets_of_this_one",
            "test_an_engram_of_another_namespace_mounts_no_secret_of_this_one",
            "test_the_operators_credentials_never_go_with_a_store_that_somebody_else_describes",
            "test_whatever_layer_describes_the_store",
        ),
    },
    _CONTAINER: {
        "test_operator_containers": (
            "test_arguments_variables_and_inputs_arrive_literally",
            "test_each_kind_of_result_becomes_the_output",
            "test_inputs_too_large_for_the_file_are_refused",
            "test_the_inputs_are_a_file_and_values_keep_their_json_form",
            "test_the_output_is_checked_against_the_schema_of_the_template",
            "test_what_cannot_work_fails_the_step_with_its_reason",
        ),
        "test_operator_scripts": ("test_a_script_is_retried_limited_and_run_again_like_any_step",),
    },
    _COMMANDS: {
        "test_command_line_waiting": (
            "test_a_failed_run_is_run_again_from_the_step_that_failed",
            "test_a_gate_that_is_rejected_early_fails_the_run",
            "test_a_request_starts_one_run_and_the_exit_code_says_what_was_decided",
            "test_a_run_goes_on_once_its_gates_are_approved",
            "test_a_run_that_goes_on_is_run_again_only_when_that_is_confirmed",
            "test_a_step_waits_for_a_claim_says_so_and_goes_on_when_it_is_created",
            "test_another_run_like_it_has_its_inputs_and_the_changes",
            "test_later_steps_read_what_is_given_with_an_approval",
        ),
    },
    _DEATHS: {
        "test_operator_runs": ("test_an_operator_that_dies_again_and_again_still_brings_a_run_to_its_end",),
    },
    _NODE: {
        "test_node_pods": (
            "test_a_container_that_keeps_crashing_is_held_back",
            "test_a_failing_init_container_keeps_the_others_from_starting",
            "test_a_probe_decides_when_the_pod_is_ready",
            "test_a_program_that_does_not_exist_fails_at_its_start",
            "test_a_run_before_the_first_is_refused_in_words",
            "test_an_unknown_image_waits_until_the_map_knows_it",
            "test_many_short_containers_end_as_themselves",
            "test_no_more_containers_run_than_allowed",
            "test_no_process_outlives_its_container",
            "test_the_end_of_the_log_explains_an_error_when_the_pod_asks_for_it",
            "test_what_the_node_cannot_do_it_refuses_by_name",
            "test_who_ignores_sigterm_is_killed_when_the_grace_is_over",
        ),
    },
    _STORE: {
        "test_operator_storage_outage": (
            "test_credentials_that_are_refused_are_read_again",
            "test_runs_that_need_a_store_that_hangs_say_so_and_no_other_waits",
        ),
        "test_operator_stored_data": (
            "test_a_change_of_the_configuration_counts_from_the_next_read",
            "test_a_secret_that_is_no_text_is_named_and_not_shown",
            "test_a_store_that_refuses_a_write_is_opened_again",
            "test_after_a_failure_the_secret_is_read_again",
            "test_an_object_that_was_changed_is_refused",
            "test_large_parts_are_written_where_they_are_read",
            "test_nothing_is_stored_without_a_store_or_for_a_value_without_json_form",
            "test_on_the_machine_of_the_volumes_each_namespace_has_its_own",
            "test_the_volume_of_a_claim_is_made_for_the_first_write",
            "test_what_may_not_be_read_or_is_not_there_is_refused",
            "test_without_a_secret_the_operator_has_the_credentials_of_its_environment",
        ),
    },
    _COLLECTOR: {
        "test_controllers_workloads": ("test_what_a_custom_resource_owns_goes_with_it_down_to_the_pod",),
        "test_operator_impulses": ("test_everything_goes_with_the_impulse",),
    },
    _DOUBLE: {
        "test_operator_access": ("test_a_server_that_is_away_is_told_as_one_error",),
    },
}
"""By reason, the functions of each module."""

_REASONS: Final = {
    (module, function): reason
    for reason, modules in ONLY_EMBEDDED.items()
    for module, functions in modules.items()
    for function in functions
}


def why_only_embedded(module: str, function: str) -> str | None:
    """Why a test of ``tests/integration`` is not played on a real server; None if it is.

    ``function`` is without the parameters of the test.
    """
    return _REASONS.get((module, function))
