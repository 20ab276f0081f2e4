"""Options that a user gave, by comparison of settings with their defaults."""

from ...storage import Settings

__all__ = ["changed_options"]


def changed_options(
    prefix: str, settings: Settings, allowed: frozenset[str] = frozenset()
) -> list[str]:
    """Return the options that are not at their defaults, but those allowed."""
    default = type(settings)(**{name: getattr(settings, name) for name in allowed})
    return [
        f"{prefix}{name.replace('_', '-')}"
        for name in type(settings).model_fields
        if name not in allowed and getattr(settings, name) != getattr(default, name)
    ]
