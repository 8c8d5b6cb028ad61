"""The acceptance checklist of Trigger contract 15, by number, and the tests that show each row.

A row that needs an API server is shown three times: on an API server in memory, on the embedded cluster and on a real
one. A scenario with the number of the row in its name runs on the rigs that no other test shows; in memory that is the
model, which is the evidence for all rows that it can show. The other tests are named here: in memory, they run the code
of production against a small server of their own. ``test_acceptance_coverage`` looks whether they exist and where they
run, and that no row is shown twice in memory or on a real server, where time is dear.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Row:
    """``alone``, ``model`` and ``servers`` are paths of tests, without their parameters."""

    says: str
    alone: tuple[str, ...] = ()
    """Tests of the SDK or of pure functions: the row needs no API server."""
    model: tuple[str, ...] = ()
    """Tests with an API server in memory, of what the model lacks."""
    servers: tuple[str, ...] = ()
    """Tests that run on the embedded cluster and on a real API server."""
    by_cases: bool = False
    """Whether the cases with this row in the tables of admission show it: as pure functions, in place of the model, and
    as requests to both servers.
    """


def _of(module: str, *names: str) -> tuple[str, ...]:
    return tuple(f"tests/{module}.py::test_{name}" for name in names)


def _requests(*names: str) -> tuple[str, ...]:
    return _of("unit/contract/test_contract_submission", *names)


def _sdk(module: str, *names: str) -> tuple[str, ...]:
    return _of(f"unit/sdk/test_sdk_{module}", *names)


def _resolution(*names: str) -> tuple[str, ...]:
    return _of("integration/test_operator_triggers", *names)


def _claims(*names: str) -> tuple[str, ...]:
    return _of("integration/test_operator_effects", *names)


def _memory(*names: str) -> tuple[str, ...]:
    return _of("unit/reconcilers/test_storytrigger", *names)


def _impulse(*names: str) -> tuple[str, ...]:
    return _of("unit/reconcilers/test_impulse", *names)


TABLE_ALONE: Final = _of(
    "unit/webhooks/validate/test_rules",
    "an_object_that_keeps_to_the_rule_is_admitted",
    "an_object_that_breaks_the_rule_is_told_where",
    "an_object_with_one_mistake_is_refused_for_that_alone",
)
"""What every case of the tables of admission goes through as a pure function."""
TABLE_ON_SERVERS: Final = _of(
    "integration/test_admission_rules",
    "every_rule_admits_what_keeps_to_it_and_names_the_place_in_what_breaks_it",
)
"""The same, as requests to an API server that asks admission."""

POLICIES: Final = _resolution("the_policy_for_other_namespaces_decides")
DIES: Final = _resolution("an_operator_that_dies_between_run_and_answer_is_continued")
CONFLICTS: Final = _resolution("equal_requests_share_a_run_and_others_are_in_conflict")
LATER_STORY: Final = _resolution("a_story_that_comes_later_is_waited_for_without_further_writes")

TRIGGER_ROWS: Final = {
    # Hashes and names.
    "15.1.1": Row(
        "hash of inputs: the table, which the operator and the SDK share",
        alone=_requests("equal_inputs_have_equal_hashes", "a_number_that_no_double_holds_has_no_hash"),
    ),
    "15.1.2": Row(
        "names of StoryTriggers and StoryRuns: the table, which the operator and the SDK share",
        alone=_requests("an_identity_names_its_trigger", "a_key_names_its_run"),
    ),
    "15.1.3": Row(
        "names of EffectClaims: the table, in the operator and in the SDK",
        alone=(*_requests("an_effect_names_its_claim"), *_sdk("effects", "claims_have_the_documented_names")),
    ),
    "15.1.4": Row(
        "the hash does not depend on the order of keys, white space and the spelling of numbers",
        alone=_requests("the_hash_does_not_depend_on_the_spelling", "other_inputs_have_another_hash"),
    ),
    # Admission of StoryTriggers, one row for each rule of section 3.1, then 3.2.
    "15.2.1": Row("the name of the Story is not blank (3.1, 1)", by_cases=True),
    "15.2.2": Row("the submission id is not blank (3.1, 2a)", by_cases=True),
    "15.2.3": Row("mode none has no key (3.1, 2b)", by_cases=True),
    "15.2.4": Row("modes token and key have a key (3.1, 2c)", by_cases=True),
    "15.2.5": Row("a key needs a hash (3.1, 2d)", by_cases=True),
    "15.2.6": Row(
        "a hash is that of the inputs (3.1, 3)",
        alone=_of("unit/webhooks/validate/test_storytrigger", "a_hash_of_inputs_that_have_none_is_refused"),
        by_cases=True,
    ),
    "15.2.7": Row("the name follows from Story and identity, without generateName (3.1, 4)", by_cases=True),
    "15.2.8": Row("a Story of another namespace, under each policy (3.1, 5)", by_cases=True),
    "15.2.9": Row("the Story exists and has the version (3.1, 6)", by_cases=True),
    "15.2.10": Row("an update does not change the spec (3.2)", by_cases=True),
    "15.2.11": Row("metadata may change after the Story is gone (3.2)", by_cases=True),
    # Admission of EffectClaims, one row for each rule of section 8.2.
    "15.2.12": Row("StepRun and effect key are not blank (8.2, 1)", by_cases=True),
    "15.2.13": Row("outcome and time of completion belong together (8.2, 2)", by_cases=True),
    "15.2.14": Row("acquired, renewed, completed in this order (8.2, 3)", by_cases=True),
    "15.2.15": Row("the name follows from StepRun and effect, without generateName (8.2, 4)", by_cases=True),
    "15.2.16": Row("the StepRun is in the namespace of the claim, under every policy (8.2, 5)", by_cases=True),
    "15.2.17": Row("the StepRun exists and has the UID (8.2, 6)", by_cases=True),
    "15.2.18": Row("StepRun, effect key and idempotency key stay (8.2, 7)", by_cases=True),
    "15.2.19": Row("the completion stays, with holder and lease (8.2, 8)", by_cases=True),
    # How StoryTriggers are answered.
    "15.3.1": Row("the run is created", servers=_resolution("a_request_starts_its_run")),
    "15.3.2": Row("the run of another request is reused", servers=CONFLICTS),
    "15.3.3": Row("the run of the same request is recovered", servers=DIES),
    "15.3.4": Row("conflict: other inputs", servers=CONFLICTS),
    "15.3.5": Row("conflict: another version", servers=CONFLICTS),
    "15.3.6": Row("conflict: another Impulse", servers=CONFLICTS),
    "15.3.7": Row(
        "a decision about an older generation is made again",
        servers=_resolution("an_answer_about_an_older_generation_is_given_again"),
    ),
    "15.3.8": Row(
        "a Story of another namespace: deny (the model has one namespace)",
        model=_memory("what_nothing_can_mend_is_rejected_without_a_story"),
        servers=POLICIES,
    ),
    "15.3.9": Row(
        "a Story of another namespace: grant (the model has one namespace)",
        model=_memory("a_missing_grant_is_waited_for_until_the_whole_path_is_granted"),
        servers=POLICIES,
    ),
    "15.3.10": Row(
        "a Story of another namespace: allow (the model has one namespace)",
        model=_memory("a_story_of_another_namespace_starts_in_that_of_the_request_if_the_policy_allows_it"),
        servers=POLICIES,
    ),
    "15.3.11": Row(
        "no such Story: waited for, in the end rejected",
        servers=(*LATER_STORY, *_resolution("a_request_that_has_waited_too_long_is_rejected")),
    ),
    "15.3.12": Row("another version of the Story: waited for, in the end rejected", servers=LATER_STORY),
    "15.3.13": Row(
        "another hash than that of the inputs",
        servers=_resolution("what_admission_would_refuse_is_rejected_where_there_is_none"),
    ),
    "15.3.14": Row("inputs above 1024 bytes are moved into the store, and the hash of the references counts"),
    "15.3.15": Row("death between run and answer: with a key", servers=DIES),
    "15.3.16": Row("death between run and answer: without a key", servers=DIES),
    "15.3.17": Row("death between run and answer: with a key, inputs in the store"),
    "15.3.18": Row("death between run and answer: without a key, inputs in the store"),
    "15.4.1": Row(
        "a run that admission refuses ends as Rejected, ValidationFailed, with at most 2048 characters "
        "(the model has no webhooks)",
        model=_memory("a_long_message_is_cut", "a_definite_refusal_of_the_run_is_an_answer"),
        servers=_resolution("a_run_that_admission_refuses_ends_as_a_rejection"),
    ),
    "15.5.1": Row(
        "two creations of one identity at once: one StoryTrigger, one run",
        servers=_resolution("two_clients_with_one_identity_get_one_run"),
    ),
    # The SDK.
    "15.6.1": Row(
        "mode and key give the identity: the table",
        alone=(
            *_sdk("delivery", "mode_and_key_give_the_identity", "a_request_without_a_usable_key_is_refused"),
            *_sdk("triggers", "a_request_becomes_a_storytrigger_of_the_impulse"),
            *_sdk("triggers", "a_request_without_a_key_has_an_id_of_its_own"),
            *_requests("a_key_longer_than_a_submission_id_is_hashed"),
        ),
    ),
    "15.6.2": Row(
        "the pauses between attempts, within a quarter",
        alone=_sdk(
            "delivery",
            "pauses_grow_as_chosen_and_vary_by_a_quarter",
            "the_pause_after_many_failures_is_the_longest_one",
        ),
    ),
    "15.6.3": Row(
        "the throttle holds calls up",
        alone=_sdk("throttle", "a_call_waits_for_a_slot_and_gets_it_in_order_of_arrival"),
    ),
    "15.6.4": Row(
        "a cancelled call gives its slot back",
        alone=_sdk(
            "throttle",
            "a_cancelled_call_leaves_the_queue_and_is_not_counted",
            "a_slot_that_is_granted_to_a_cancelled_call_is_given_back",
            "a_call_that_is_cancelled_while_the_rate_delays_it_gives_back_turn_and_slot",
        ),
    ),
    "15.6.5": Row(
        "no decision in time: another attempt may succeed",
        alone=_sdk(
            "triggers",
            "an_undecided_request_is_looked_at_less_and_less_often_until_the_time_is_up",
            "a_pending_request_is_retried_as_the_policy_says_and_stays_one_request",
        ),
    ),
    "15.6.6": Row("a rejection is final", alone=_sdk("triggers", "a_rejection_is_final_and_has_the_operators_words")),
    # Impulses. The model has no controller of Impulses; its place is taken by an API server in memory.
    "15.7.1": Row(
        "the rules of the Role, in order",
        model=_of("unit/core/workloads/test_impulse_access", "a_listener_gets_exactly_these_rules_in_this_order"),
    ),
    "15.7.2": Row(
        "the ServiceAccount of somebody else is not adopted",
        model=_impulse("an_object_that_the_impulse_does_not_control_is_never_adopted"),
    ),
    "15.7.3": Row(
        "the environment, in order",
        model=_of("unit/core/workloads/test_impulse_environment", "everything_stands_in_the_order_of_the_contract"),
    ),
    "15.7.4": Row(
        "the same template of the Pod in a hundred builds with several Secrets",
        alone=_of(
            "unit/core/workloads/test_impulse_pod",
            "the_template_is_the_same_in_a_hundred_builds_whatever_the_order_of_its_parts",
        ),
    ),
    "15.7.5": Row(
        "another mode ends the workload of the old one",
        model=_impulse("another_mode_ends_the_pods_of_the_old_workload_before_the_new_one_starts"),
        servers=_of("integration/test_operator_impulses", "another_mode_ends_the_old_workload_before_the_new_one"),
    ),
    "15.7.6": Row("phase and Ready by the replicas: the table", model=_impulse("the_phase_follows_the_pods")),
    # EffectClaims.
    "15.8.1": Row("the Go SDK creates a claim", by_cases=True),
    "15.8.2": Row("the Go SDK renews a claim", by_cases=True),
    "15.8.3": Row("the Go SDK completes a claim, in whole seconds", by_cases=True),
    "15.8.4": Row("the Go SDK releases a claim, without a time", by_cases=True),
    "15.8.5": Row("the Go SDK takes a released claim again, and completes it", by_cases=True),
    "15.8.6": Row("the Go SDK takes over a claim whose lease has expired", by_cases=True),
    "15.8.7": Row(
        "completed is final",
        alone=_of("unit/webhooks/validate/test_effectclaim", "a_completed_claim_is_final_and_times_count_as_instants"),
        by_cases=True,
    ),
    "15.8.8": Row(
        "a claim without its StepRun is deleted",
        servers=_claims("a_claim_whose_step_run_is_gone_is_deleted"),
    ),
    "15.8.9": Row(
        "a claim on an earlier StepRun of that name is deleted",
        servers=_claims("a_claim_of_a_step_run_that_was_replaced_is_deleted"),
    ),
    "15.8.10": Row(
        "a claim on a StepRun of another namespace is deleted",
        servers=_claims("a_claim_on_a_step_run_in_another_namespace_is_deleted"),
    ),
    "15.8.11": Row(
        "a claim on a StepRun that the cache lacks is kept",
        servers=_claims("a_claim_of_a_step_run_that_the_watch_has_not_brought_is_not_deleted"),
    ),
    # Effects and signals.
    "15.9.1": Row(
        "large values are replaced by a summary",
        alone=(
            *_sdk("effects", "large_details_are_summarised"),
            *_sdk("signals", "the_example_of_the_contract", "an_envelope_above_the_limit_is_a_summary"),
            *_sdk("signals", "a_summary_has_size_hash_and_type_and_for_some_types_a_length"),
        ),
    ),
    "15.9.2": Row(
        "256 events and 256 effects are kept",
        alone=_sdk("status", "only_the_newest_256_events_are_kept", "only_the_newest_256_effects_are_kept"),
    ),
    "15.9.3": Row(
        "a key or a number that is there already",
        alone=_sdk(
            "status",
            "an_event_that_is_there_already_is_dropped",
            "an_effect_is_recorded_once_per_key",
            "an_effect_with_a_number_that_is_there_already_is_dropped",
        ),
    ),
    "15.9.4": Row(
        "the StepRun of another Pod is left alone", alone=_sdk("steprun", "another_pods_step_run_is_not_touched")
    ),
    "15.9.5": Row(
        "signals show small values, and neither secrets nor names with them",
        alone=_sdk(
            "signals",
            "neither_secrets_nor_names_with_them_reach_the_status",
            "what_only_looks_like_an_envelope_is_a_value",
        ),
    ),
    # Stopping a run.
    "15.10.1": Row(
        "a run that has ended, in each phase",
        alone=_sdk(
            "sessions",
            "a_run_that_has_ended_is_not_stopped",
            "the_phases_of_runs_that_have_ended_are_those_of_the_operator",
        ),
    ),
    "15.10.2": Row("a second stop does nothing"),
    "15.10.3": Row(
        "the patch has cancelRequested and nothing else",
        alone=_sdk("sessions", "a_stop_asks_once_and_changes_nothing_else"),
    ),
}
"""``alone`` of a row that scenarios or cases show, too, is an addition."""
