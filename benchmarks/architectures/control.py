"""Policies that choose what to do next."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from architectures.inputs import Input
from architectures.torch_export import Module


class DuelingQ(nn.Module):
    """The worth of a state and what each action adds to it, from four frames."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(4, 32, 8, 4),
            nn.ReLU(),
            nn.Conv2d(32, 64, 4, 2),
            nn.ReLU(),
            nn.Conv2d(64, 64, 3),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(3136, 128),
            nn.ReLU(),
        )
        self.value, self.advantage = nn.Linear(128, 1), nn.Linear(128, 6)

    def forward(self, x):
        y = self.features(x)
        advantage = self.advantage(y)
        return self.value(y) + advantage - advantage.mean(1, keepdim=True)


class Policy(nn.Module):
    """An action within its bounds, and the worth of the state."""

    def __init__(self) -> None:
        super().__init__()
        self.actor = nn.Sequential(
            nn.Linear(17, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 6)
        )
        self.critic = nn.Sequential(
            nn.Linear(17, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 1)
        )

    def forward(self, x):
        return torch.clamp(self.actor(x), -1, 1), self.critic(x)


NETWORKS: dict[str, Callable[[], Module]] = {
    "dqn_atari": lambda: Module(DuelingQ(), [Input((1, 4, 84, 84))]),
    "ppo_policy": lambda: Module(Policy(), [Input((1, 17), "noise")]),
}
