"""The card of an exported version, as Markdown with the front matter that model hubs read.

It says what the journal and the settings say, and no more: what is not known is named as not known.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec

from evals.version_record import VersionRecord
from protocols.records import PolicyVersion

_HUB_NAME = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")


Form = Literal["adapter", "merged", "trained"]
"""An adapter alone, a whole model with the adapter merged in, or one of which all weights were trained."""
_FORMS: Mapping[Form, str] = {
    "adapter": "The adapter (PEFT form)",
    "merged": "The whole model, with the adapter merged in (bfloat16),",
    "trained": "The whole model, of which all weights were trained (bfloat16),",
}


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """What is exported."""

    run: str
    """Name of the run."""
    record: VersionRecord
    form: Form
    base_model: str
    """Its name in the settings, or that of its folder: a card travels, and a path does not."""
    base_is_local: bool
    licence: str | None
    """Of the base model, in words; None: its folder does not tell."""
    licence_identifier: str | None
    training: Mapping[str, Any]
    """Settings of training."""


def model_card(subject: Subject) -> str:
    """Return the card's text."""
    version = subject.record.version
    parts = (
        _front_matter(subject),
        f"# {version.name} of run {subject.run}",
        f"{_FORMS[subject.form]} of policy version {version.number}, trained by Adaptive Critique Refinement.",
        _warning(version),
        _table(("what", "value"), _origin(subject)),
        "## Data",
        _data(subject.record),
        "## Evaluation",
        _evaluation(subject.record),
        "## Settings of training",
        "```toml\n" + "\n".join(_setting(key, value) for key, value in subject.training.items()) + "\n```",
    )
    return "\n\n".join(part for part in parts if part) + "\n"


def _front_matter(subject: Subject) -> str:
    lines = [f"library_name: {'peft' if subject.form == 'adapter' else 'transformers'}"]
    if not subject.base_is_local and _HUB_NAME.fullmatch(subject.base_model):
        lines.append(f"base_model: {subject.base_model}")
    if subject.licence_identifier is not None:
        lines.append(f"license: {subject.licence_identifier}")
    return "\n".join(("---", *lines, "---"))


def _warning(version: PolicyVersion) -> str:
    if version.state == "promoted":
        return ""
    return f"**This version was {version.state}, and did not become the run's policy: {_line(version.reason)}**"


def _origin(subject: Subject) -> list[tuple[str, str]]:
    version = subject.record.version
    parent = "not known" if version.parent is None else f"{version.parent}{' (base model)' * (version.parent == 0)}"
    canary = "not known" if version.canary is None else f"{version.canary:.5f} nats"
    return [
        ("run", subject.run),
        ("version", f"{version.number} (`{version.name}`)"),
        ("state", f"{version.state}: {_line(version.reason)}"),
        ("parent version", parent),
        ("base model", f"{subject.base_model}{' (a local folder)' * subject.base_is_local}"),
        ("licence of the base model", subject.licence or "its folder does not tell; look where it was published"),
        ("SHA-256 of the trained weights", version.content_hash or "not known"),
        ("served against trained log-probabilities", canary),
    ]


def _data(record: VersionRecord) -> str:
    rows = [(origin, kind, str(count)) for (origin, kind), count in sorted(record.examples.items())]
    total = sum(record.examples.values())
    sentences = [f"Examples of its batch: {total}, {record.replayed} of them replayed."]
    if (done := record.training) is not None:
        sentences.append(
            f"Trained on {done.examples} (left out: {done.dropped}), {done.steps} steps, {done.tokens} tokens, "
            f"{done.loss_tokens} of them with loss; mean loss {_loss(done.losses[:1])} at the first step, "
            f"{_loss(done.losses[-1:])} at the last."
        )
    table = _table(("written by", "kind", "examples"), rows) if rows else ""
    return "\n\n".join(part for part in (table, " ".join(sentences)) if part)


def _evaluation(record: VersionRecord) -> str:
    if not record.evaluations:
        return "This version was not evaluated."
    rows = [
        (
            str(one.version),
            one.purpose.replace("_", "-"),
            str(len(one.results)),
            f"{_percent(one.pass_at_1)} [{_percent(one.low)}–{_percent(one.high)}]",
            ", ".join(f"pass@{k} {_percent(share)}" for k, share in sorted(one.pass_at_k.items()) if k > 1) or "–",
        )
        for one in record.evaluations
    ]
    return (
        "In percent; in brackets the 95 % interval, by a bootstrap over tasks. Version 0 is the base model.\n\n"
        + _table(("version", "set", "tasks", "pass@1", "others"), rows)
    )


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _line(text: str) -> str:
    return " ".join(text.split())


def _loss(losses: Sequence[float]) -> str:
    return ", ".join(f"{loss:.3f}" for loss in losses) or "not known"


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"


def _setting(key: str, value: Any) -> str:
    """Return a setting in TOML's notation, which has none for what is not set."""
    return f"# {key} is not set" if value is None else f"{key} = {msgspec.json.encode(value).decode()}"
