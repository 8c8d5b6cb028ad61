"""Named templates, which have what a single value cannot say, and the notes that ``helm install`` prints."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from core.api.resource import CUSTOM_RESOURCE_DEFINITION, REFERENCE_GRANT
from deployment import certmanager, workload
from deployment.chart.release import CHART, HUB, LONGEST_NAME, RELEASE, WORDS
from deployment.chart.values import EXTRA, SETTINGS, setting_keys
from deployment.chart.values_table import PASSED_ARGUMENTS
from deployment.permissions.names import CONFIG_NAME, DEFAULT_INSTALLATION, WEBHOOK_SERVICE

_SMALL: Final = f"{REFERENCE_GRANT.plural}.{REFERENCE_GRANT.group}"
"""A definition that is quickly read, on behalf of all."""
_NAMES: Final = "names.tpl"
_MORE_NAMES: Final = '{{ without (list $far $url) "" | join "," }}'


def partials_file() -> str:
    """The named templates."""
    names = Path(__file__).with_name(_NAMES).read_text(encoding="utf-8").replace("LONGEST_NAME", str(LONGEST_NAME))
    return f"{names}\n{_arguments()}\n{_settings()}"


def notes_file() -> str:
    """What ``helm install`` and ``helm upgrade`` print."""
    return """\
The operator starts in namespace {{ .Release.Namespace }}:

  kubectl -n {{ .Release.Namespace }} rollout status deployment/{{ include "bobrapet.fullname" . }}-controller-manager
{{- if not .Values.webhooks.enabled }}

Admission is off: the operator finds mistakes in Stories when it uses them, and serves no Stories in v1beta1.
{{- end }}
{{- if .Values.crds.keep }}

helm uninstall keeps the definitions and all Stories and runs. docs/helm.md says how to remove everything.
{{- end }}
"""


def extra_objects() -> str:
    """The objects that the values have, as they are; each is a template."""
    return """\
{{- range $.Values.extraObjects }}
---
{{ tpl (kindIs "string" . | ternary . (toYaml .)) $ }}
{{- end }}
"""


def _settings() -> str:
    """The data of the operator's ConfigMap: the keys that have a value, then those of ``extra``."""
    names = "\n".join(f'{{{{- $_ := set $keys "{name}" "{key}" }}}}' for name, key in setting_keys().items())
    return f"""\
{{{{- define "bobrapet.settings" -}}}}
{{{{- $keys := dict }}}}
{names}
{{{{- $data := dict }}}}
{{{{- range $name, $text := omit .Values.{SETTINGS} "{EXTRA}" }}}}
{{{{- $_ := set $data (get $keys $name) $text }}}}
{{{{- end }}}}
{{{{- toYaml (mergeOverwrite $data .Values.{SETTINGS}.{EXTRA}) }}}}
{{{{- end }}}}
"""


def _arguments() -> str:
    """The flags of the manager: those among the values, with the names of the release, and those that belong to it.

    A path of a certificate as in the reference's values is left out, unless cert-manager issues the certificate.
    """
    default, release = (f"--config-name={each.named(CONFIG_NAME)}" for each in (DEFAULT_INSTALLATION, RELEASE))
    own = workload.arguments(RELEASE)
    leader, endpoint, prefix = own[PASSED_ARGUMENTS:]
    certificate = f"--webhook-cert-path={certmanager.CERTIFICATE_FOLDER}"
    flags = [
        *_flag("true", f"{leader}{{{{ if not .Values.controllerManager.leaderElection }}}}=false{{{{ end }}}}"),
        *_flag(HUB.text, endpoint),
        *_flag(f'ne (include "bobrapet.fullname" .) "{CHART}"', prefix),
        *_flag("and .Values.webhooks.enabled .Values.certificates.certManager.enabled", certificate),
        *_flag(
            "and .Values.webhooks.enabled (or $far $url)",
            '--webhook-names={{ without (list $far $url) "" | join "," }}',
        ),
    ]
    host = f"{RELEASE.named(WEBHOOK_SERVICE)}.{RELEASE.namespace}.svc."
    lines = [
        '{{- define "bobrapet.arguments" -}}',
        "{{- $args := list }}",
        '{{- $url := "" }}',
        "{{- with .Values.webhooks.url }}{{ $url = (urlParse .).hostname }}{{ end }}",
        '{{- $far := "" }}',
        '{{- if ne .Values.kubernetesClusterDomain "cluster.local" }}',
        f'{{{{- $far = printf "{_printed(host)}%s" {_words(host)} .Values.kubernetesClusterDomain }}}}',
        "{{- end }}",
        "{{- range .Values.controllerManager.manager.args }}",
        f'{{{{- if eq . "--config-namespace={DEFAULT_INSTALLATION.namespace}" }}}}',
        '{{- $args = append $args (printf "--config-namespace=%s" $.Release.Namespace) }}',
        f'{{{{- else if eq . "{default}" }}}}',
        f'{{{{- $args = append $args (printf "{_printed(release)}" {_words(release)}) }}}}',
        f'{{{{- else if ne . "{certificate}" }}}}',
        "{{- $args = append $args . }}",
        "{{- end }}",
        "{{- end }}",
        "{{- $given := list }}",
        "{{- range concat $args .Values.controllerManager.manager.extraArgs }}",
        '{{- $given = append $given (regexReplaceAll "^-+|=.*$" . "") }}',
        "{{- end }}",
        *_unelected(),
        *_deleting(),
        "{{- range $args }}",
        "- {{ . | quote }}",
        "{{- end }}",
        *flags,
        "{{- range .Values.controllerManager.manager.extraArgs }}",
        "- {{ . | quote }}",
        "{{- end }}",
        "{{- end }}",
    ]
    return "\n".join(lines) + "\n"


def _unelected() -> Iterator[str]:
    """Refuses several managers that would all work at once."""
    yield "{{- $elected := .Values.controllerManager.leaderElection }}"
    yield "{{- range concat $args .Values.controllerManager.manager.extraArgs }}"
    yield '{{- if regexMatch "^-+leader-elect(=.*)?$" . }}'
    yield '{{- $elected = not (regexMatch "=(?i:false|f|0)$" .) }}'
    yield "{{- end }}"
    yield "{{- end }}"
    yield "{{- if and (gt (int .Values.controllerManager.replicas) 1) (not $elected) }}"
    yield (
        '{{- fail "controllerManager.leaderElection: must be true with more than one replica: all of them would work '
        'at once (set it to true, or controllerManager.replicas to 1)" }}'
    )
    yield "{{- end }}"


def _deleting() -> Iterator[str]:
    """Refuses an upgrade in which Helm would delete definitions: it reads their annotation in the cluster."""
    yield "{{- if and .Release.IsUpgrade (not .Values.crds.install) }}"
    kind = CUSTOM_RESOURCE_DEFINITION
    yield f'{{{{- with lookup "{kind.api_version}" "{kind.kind}" "" "{_SMALL}" }}}}'
    yield "{{- $annotations := .metadata.annotations | default dict }}"
    yield '{{- $ours := eq (get $annotations "meta.helm.sh/release-name") $.Release.Name }}'
    yield '{{- if and $ours (ne (get $annotations "helm.sh/resource-policy") "keep") }}'
    yield (
        '{{- fail "crds.install: must be true after crds.keep was false: Helm would delete the definitions, with all '
        'Stories and runs (upgrade with crds.keep=true first)" }}'
    )
    yield "{{- end }}"
    yield "{{- end }}"
    yield "{{- end }}"


def _flag(condition: str, argument: str) -> Iterator[str]:
    """A flag, unless the values have it."""
    name = argument.partition("=")[0].partition("{")[0].lstrip("-")
    text = argument
    for word, expression in WORDS.items():
        text = text.replace(word, f"{{{{ {expression} }}}}")
    yield f'{{{{- if and ({condition}) (not (has "{name}" $given)) }}}}'
    yield f'- "{text}"'
    yield "{{- end }}"


def _printed(text: str) -> str:
    for word in WORDS:
        text = text.replace(word, "%s")
    return text


def _words(text: str) -> str:
    """The Go expressions of the words in ``text``, in their order."""
    found = sorted((text.index(word), expression) for word, expression in WORDS.items() if word in text)
    return " ".join(expression if expression.startswith("$") else f"({expression})" for _, expression in found)
