"""A group of commands that lists them in the order in which one works."""

from __future__ import annotations

import click

__all__ = ["InWorkingOrder"]


class InWorkingOrder(click.Group):
    """A group that lists its commands in the order in which one works with a model."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The commands' names, first added first."""
        return list(self.commands)
