"""Settings of a run: one TOML file, dotted overrides on top, checked whole before anything starts.

Defaults are those of method.md's rules. Parts of the program take plain parameters; only `main.py` reads these models.
"""

from protocols.settings.publishing import EvaluateSettings, GateSettings, PublishSettings
from protocols.settings.reading import (
    default_settings,
    differing_keys,
    flatten_settings,
    load_settings,
    parse_settings,
    with_defaults,
)
from protocols.settings.refining import (
    ConsensusSettings,
    CritiqueSettings,
    CurateSettings,
    DecideSettings,
    GenerateSettings,
    JudgeSettings,
)
from protocols.settings.run import ModelSettings, RunSettings, TasksSettings
from protocols.settings.sandbox import SandboxSettings
from protocols.settings.section import EMBEDDED_MODEL, MANAGED, Positive, Role, Seconds, Share
from protocols.settings.serving import EndpointSettings, ServerSettings
from protocols.settings.training import TrainSettings
from protocols.settings.whole import Settings

__all__ = [
    "EMBEDDED_MODEL",
    "MANAGED",
    "ConsensusSettings",
    "CritiqueSettings",
    "CurateSettings",
    "DecideSettings",
    "EndpointSettings",
    "EvaluateSettings",
    "GateSettings",
    "GenerateSettings",
    "JudgeSettings",
    "ModelSettings",
    "Positive",
    "PublishSettings",
    "Role",
    "RunSettings",
    "SandboxSettings",
    "Seconds",
    "ServerSettings",
    "Settings",
    "Share",
    "TasksSettings",
    "TrainSettings",
    "default_settings",
    "differing_keys",
    "flatten_settings",
    "load_settings",
    "parse_settings",
    "with_defaults",
]
