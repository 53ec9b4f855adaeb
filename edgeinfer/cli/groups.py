"""A group of commands that lists them in the order in which one works; what is wrong in a call."""

from __future__ import annotations

from typing import Any

import click

from edgeinfer.cli.output import cleaned_usage

__all__ = ["InWorkingOrder"]


class InWorkingOrder(click.Group):
    """A group that lists its commands in the order in which one works with a model."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The commands' names, first added first."""
        return list(self.commands)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """The arguments that are left for a command."""
        with cleaned_usage():
            return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command that is asked for."""
        with cleaned_usage():
            return super().invoke(ctx)
