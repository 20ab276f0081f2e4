"""Reading anybody's predictions."""
