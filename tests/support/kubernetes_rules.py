"""Writes the PrometheusRule of `deploy/kubernetes/`: the rules of `deploy/prometheus/`, wrapped.

`python -m tests.support.kubernetes_rules` writes the file anew. Kustomize cannot wrap a file.
"""

from pathlib import Path

_DEPLOY = Path(__file__).parents[2] / "deploy"
WRITTEN = _DEPLOY / "kubernetes" / "prometheus-operator" / "prometheus-rule.yaml"
COMMAND = "python -m tests.support.kubernetes_rules"
_HEAD = f"""\
# Written by `{COMMAND}` from deploy/prometheus/rules/: change them there.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: quota
spec:
  groups:
"""


def prometheus_rule() -> str:
    """Return the text of the PrometheusRule."""
    text = _HEAD
    for file in rule_files():
        _, _, groups = file.read_text(encoding="utf-8").partition("\ngroups:\n")
        text += "".join(f"  {line}\n" if line else "\n" for line in groups.splitlines())
    return text


def rule_files() -> list[Path]:
    """Return the rules of `deploy/prometheus/`, in the order of their names."""
    return sorted((_DEPLOY / "prometheus" / "rules").glob("*.yml"))


if __name__ == "__main__":
    WRITTEN.write_text(prometheus_rule(), encoding="utf-8")
