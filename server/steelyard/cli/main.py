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
    "journal": ("steelyard.cli.journal:journal", "Look after what is kept of decisions."),
    "replay": (
        "steelyard.cli.replay:replay",
        "Run captured requests again, and compare the answers.",
    ),
    "feedback": (
        "steelyard.cli.feedback:feedback",
        "Say what became known of a decision later.",
    ),
    "decisions": ("steelyard.cli.decisions:decisions", "Search what was decided, the last first."),
    "sql": ("steelyard.cli.sql:sql", "Ask what was decided by SQL."),
    "explain": ("steelyard.cli.explain:explain", "Show all that is known of one decision."),
    "audit": ("steelyard.cli.audit:audit", "Verify what was recorded, and prove it to others."),
    "new": ("steelyard.cli.new:new", "Take an ONNX file to a governed, served model."),
    "add": ("steelyard.cli.add:add", "Put an ONNX file into a repository as a version of a model."),
    "check": ("steelyard.cli.check:check", "Find what a server would refuse in a repository."),
    "tune": ("steelyard.cli.tune:tune", "Find out how a model is served best on this machine."),
    "golden": ("steelyard.cli.golden:golden", "Keep examples with known answers beside a version."),
    "pipeline": (
        "steelyard.cli.pipeline:pipeline",
        "Make the steps from raw data to a model's tensors.",
    ),
    "contract": (
        "steelyard.cli.contract:contract",
        "Write a first contract and a training profile from data.",
    ),
    "gate": ("steelyard.cli.gate:gate", "Show what a gate promises."),
    "config": ("steelyard.cli.config:config", "Show the settings in force, and where each came from."),
    "demo": ("steelyard.cli.demo:demo", "Serve a real model and ask it about real files."),
}

DONE = 0
FOUND_WRONG = 1
WRONG_USAGE = 2
INTERRUPTED = 130

# What the caller has to change on the command line or in a file before the command can do its work.
_USAGE_ERRORS = (ConfigError, ManifestError, RepositoryError)


class Commands(click.Group):
    """The group of `COMMANDS`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def invoke(self, ctx: click.Context) -> object:
        try:
            code: object = super().invoke(ctx)
            sys.stdout.flush()
        except BrokenPipeError:
            # Whoever read the output has gone, as `head` does; Python's flush at exit must not fail on it again.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return DONE
        return code

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, purpose) for name, (_, purpose) in COMMANDS.items()])


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="\b\nExample:\n  steelyard add classifier.onnx --name classifier --repository models/\n"
    "  steelyard serve models/\n  steelyard infer classifier --input X=@x.npy --address 127.0.0.1:8001",
)
@click.version_option(__version__, message="steelyard %(version)s")
def commands() -> None:
    """A high-throughput inference server for ONNX models that can say why."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command that `arguments` (None: the process's) name; returns the exit code.

    0: done. 1: it found what it looks for to be wrong, or a server refused. 2: wrong usage. 3: of `audit
    verify` alone, right by a key of which nobody has said whose it is.
    """
    return status_of(commands, "steelyard", arguments)


def status_of(group: click.Group, name: str, arguments: Sequence[str] | None = None) -> int:
    """The exit code of `group`, called `name`; what is wrong is told in one line, which is JSON with --json."""
    args = list(sys.argv[1:] if arguments is None else arguments)
    as_json = "--json" in args
    try:
        # Without standalone mode click returns what the command returns, and raises what is wrong.
        code: int | None = group.main(args or ["--help"], prog_name=name, standalone_mode=False)
        return code or DONE
    except click.UsageError as exc:
        hint = f" (see {exc.ctx.command_path} --help)" if exc.ctx is not None else ""
        report_error(exc.format_message() + hint, as_json)
        return WRONG_USAGE
    except click.ClickException as exc:
        report_error(exc.format_message(), as_json)
        return exc.exit_code
    except SteelyardError as exc:
        report_error(str(exc), as_json)
        return WRONG_USAGE if isinstance(exc, _USAGE_ERRORS) else FOUND_WRONG
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
