"""The files of `deploy/prometheus/` as tests look at them."""

from pathlib import Path
from typing import Any

import yaml

from quota_service.observability.metrics import Metrics, ServiceGauges

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy/prometheus"
RULES = FOLDER / "rules"


def read_yaml(path: Path) -> Any:
    """Return what a YAML file says."""
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def rules(kind: str) -> list[dict[str, Any]]:
    """Return the rules of one kind, `alert` or `record`, of all files."""
    groups = [group for path in sorted(RULES.glob("*.yml")) for group in read_yaml(path)["groups"]]
    return [rule for group in groups for rule in group["rules"] if kind in rule]


def alerts() -> dict[str, dict[str, Any]]:
    """Return the alerts by name."""
    return {rule["alert"]: rule for rule in rules("alert")}


def samples() -> set[str]:
    """Return the names of all samples that processes of the service can export."""
    families = [
        family
        for registry in (Metrics().registry, ServiceGauges().registry)
        for family in registry.collect()
    ]
    suffixes = {
        "counter": ("_total",),
        "info": ("_info",),
        "histogram": ("_bucket", "_count", "_sum"),
    }
    return {
        f"{family.name}{suffix}"
        for family in families
        for suffix in suffixes.get(family.type, ("",))
    }
