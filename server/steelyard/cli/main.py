"""The command line's entry: which commands there are, and how each ends."""

import importlib
import os
import sys
from collections.abc import Sequence

import click

from steelyard import __version__
from steelyard.cli.output import report_error
from steelyard.errors import ConfigError, ManifestError, RepositoryError, SteelyardError

# Where each command is, and what it does in a line: the list of commands is printed without importing any.
COMMANDS: dict[str, tuple[str, str]] = {
    "serve": ("steelyard.cli.serve:serve", "Serve a model repository."),
    "restart": (
        "steelyard.cli.restart:restart",
        "Replace a server's worker processes, one after the other.",
    ),
    "infer": ("steelyard.cli.infer:infer", "Ask a server for one inference."),
    "models": ("steelyard.cli.models:models", "Show the models of a server, running or stopped."),
    "label": ("steelyard.cli.label:label", "Show and move the labels of models."),
    "rollback": ("steelyard.cli.rollback:rollback", "Go back to the version that a label stood for before."),
    "shadow": ("steelyard.cli.shadow:shadow", "Run a candidate beside production, and weigh its answers."),
    "canary": ("steelyard.cli.canary:canary", "Let a candidate answer a share of the requests."),
    "approve": ("steelyard.cli.approve:approve", "Say that a version may be used."),
    "owner": ("steelyard.cli.owner:owner", "Show and set who answers for a model."),
    "retire": ("steelyard.cli.retire:retire", "Take a model or a version out of service, or put that off."),
    "retirements": ("steelyard.cli.retirements:retirements", "Show when models go out of service."),
    "inventory": (
        "steelyard.cli.inventory:inventory",
        "List models, their versions and who answers for them.",
    ),
    "history": ("steelyard.cli.history:history", "Show what happened to models, by whom and why."),
    "new": (
        "steelyard.cli.new:new",
        "Take an ONNX file to a model that is governed, golden-tested and served.",
    ),
