"""What the commands that edit a file of people share."""

from __future__ import annotations

import click

from hoopproxy.wire.names import check_identity

__all__ = ["user_named"]


def user_named(user: str | None) -> str:
    """The USER of the command line. :raises click.UsageError: there is none, or nobody can have that name."""
    if user is None:
        raise click.UsageError("name a USER")
    problem = check_identity(user)
    if problem is not None or user.startswith("#"):  # which begins a comment
        raise click.UsageError(f"the user name {problem or 'begins with #'}")
    return user
