"""The operator's settings, live: one ConfigMap, watched on every replica.

A ConfigMap that is invalid changes nothing: the last good snapshot stays in force. The log, an Event on the ConfigMap
and ``problem`` (which readiness shows) say why. Source: operator contract 2.1.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import trio

from core.api.resource import CONFIG_MAP
from core.api.unreadable import why_unreadable
from core.engine.ports import EventType
from core.kube.client import KubeClient
from core.kube.events import EventRecorder
from core.kube.informer import Change, Informer
from core.policy.config import parse_config
from core.policy.settings import OperatorSettings
from core.telemetry import logs, metrics


class ConfigSource:
    """Holds the settings; ``current()`` returns those in force."""

    def __init__(self, client: KubeClient, namespace: str, name: str, events: EventRecorder) -> None:
        this_one = f"metadata.name={name}"
        self._informer = Informer(client.for_itself(), CONFIG_MAP, namespace=namespace, field_selector=this_one)
        self._informer.add_handler(self._changed)
        self._events = events
        self._log = logs.get_logger("setup")
        self._settings = OperatorSettings()
        self.listeners: list[Callable[[], None]] = []
        """Called after new settings have come into force."""
        self.problem = ""
        """Why the newest ConfigMap is not in force; empty when it is."""

    def current(self) -> OperatorSettings:
        return self._settings

    @property
    def trouble(self) -> str:
        """Why the ConfigMap cannot be read at the moment; empty when it can."""
        return str(self._informer.last_error or "")

    def why_not_in_force(self) -> str:
        """Empty when the newest ConfigMap is in force, or the built-in settings if there is none."""
        return self.problem if self._informer.has_synced else self.trouble or "has not been read yet"

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Watch; started once the ConfigMap, or its absence, is known."""
        await self._informer.run(task_status=task_status)

    def _changed(self, change: Change) -> None:
        config_map: dict[str, Any] = change.new or {}
        if why := why_unreadable(config_map):
            self._refuse(config_map, f"the ConfigMap cannot be read: {why}")
            return
        parsed = parse_config(config_map.get("data") or {})
        for warning in parsed.warnings:
            self._log.warning("operator configuration", key=warning.key, warning=warning.message)
        if parsed.settings is None:
            self._refuse(config_map, "; ".join(str(error) for error in parsed.errors))
            return
        self.problem = ""
        if parsed.settings != self._settings:
            self._settings = parsed.settings
            logs.set_level("debug" if parsed.settings.verbose_logging else "info")
            metrics.set_enabled(parsed.settings.metrics_enabled)
            metrics.set_most_label_sets(parsed.settings.most_label_sets)
            self._log.info("operator configuration is in force", keys=len(config_map.get("data") or {}))
            for listener in self.listeners:
                listener()

    def _refuse(self, config_map: dict[str, Any], problem: str) -> None:
        self.problem = problem
        self._log.warning("operator configuration is invalid; the previous one stays in force", cause=problem)
        if config_map:
            self._events.record(config_map, EventType.WARNING.value, "ConfigurationRejected", problem)
