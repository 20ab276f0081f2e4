"""Base of every stage's settings."""

from pydantic import BaseModel, BeforeValidator, ConfigDict

__all__ = ["Number", "Settings"]

Number = BeforeValidator(
    lambda value: int(value) if isinstance(value, str) and value.isdecimal() else value
)
"""Marks a Literal of numbers, which would else refuse the command line's words:
Annotated[Literal[1, 8], Number]."""


class Settings(BaseModel):
    """Base of every stage's settings: frozen, unknown keys refused, docstrings become the help."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)
